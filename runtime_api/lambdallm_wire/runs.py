"""Runs of chains: work that is checkpointed step by step, and goes on after its function's death.

    open ──► chat with `run` ──► chat with `run` ──► … ──► close
               │ carries the step before it              the rest, and how it ended
               └ or `steps`, before a function that is to run next

A step is named by its key: `summarise`, or `translate/0003/draft` within a map. Money is in whole
pico-USD (1e-12 USD). Texts called JSON are kept as they are, so that no store rounds a number.
"""

from __future__ import annotations

from typing import Literal, TypedDict

RunStatus = Literal["running", "waiting", "interrupted", "failed", "stopped", "completed"]

RUN_ID_MAX = 256
"""Printable ASCII without `#`, as a session's."""

STEP_KEY_MAX = 256
"""Printable ASCII without `#`: a sort key holds 1,024 bytes."""

STEPS_MAX = 1_000
"""Of one definition. A run holds more where maps and loops make them; all are read at once."""

DECLARED_MAX_BYTES = 262_144
"""Of a definition, which lies in the run's head."""


class FinishedStep(TypedDict, total=False):
    """A step that is done, or was left out. `key` and `output` are always there.

    Args:
        key: Its name within the run.
        output: JSON.
        fingerprint: Of its declaration.
        calls: Ids of the model calls that it made.
        usage: Of these, together; see `lambdallm_wire.chat.Usage`.
        cost_pico_usd: Of these, as far as it is known; what has no price is left out.
        model: That answered last.
        latency_ms: It took so long.
        skipped: Its condition did not hold.
        attempt: The attempt that finished it; set by the engine.
    """

    key: str
    output: str
    fingerprint: str
    calls: list[str]
    usage: dict[str, int]
    cost_pico_usd: int
    model: str
    latency_ms: int
    skipped: bool
    attempt: int


class DeclaredStep(TypedDict):
    """A step as its chain declares it: its key, and a hash of what makes its output what it is."""

    key: str
    fingerprint: str


class Wait(TypedDict, total=False):
    """A step that is finished from outside: by a person, or by whoever was given its token.

    Args:
        step: Its key.
        kind: `approval` or `callback`.
        message: For whom it may concern.
        expires_epoch_ms: Nobody can finish it from then on; absent: as long as the run is kept.
        secret: Part of the token; the engine keeps a hash of it, and never tells it again.
    """

    step: str
    kind: str
    message: str
    expires_epoch_ms: int
    secret: str


class ResumeRun(TypedDict, total=False):
    """How a run is gone on with when an attempt has not finished it.

    Args:
        via: `self`, `sqs` or `schedule`.
        target: ARN of the function.
        queue_url: For `sqs`.
        role_arn: For `schedule`.
        delay_seconds: Between the attempts, for `sqs` and `schedule`.
        event: JSON that the function is invoked with.
    """

    via: str
    target: str
    queue_url: str
    role_arn: str
    delay_seconds: int
    event: str


class OpenRun(TypedDict, total=False):
    """Begins a run, or goes on with it. `work_id`, `run_id` and `name` are always there.

    Args:
        work_id: The unit of work that goes on with it.
        run_id: What it is found by.
        owner: Whose it is; a run of the same id that is somebody else's is another one.
        name, version: Of its chain.
        declared: The chain's steps; empty where code makes them as it goes.
        migrations: Versions that this one can go on with: each says what became of a step, "" for
            nothing. What they finished is taken over, whatever its fingerprint.
        input: JSON; absent where a run is only gone on with.
        claim: Made by the caller for one attempt: with it, it opens the same attempt again.
        max_cost_pico_usd: All attempts together may cost so much.
        attempts_max: So often it is opened at most.
        ttl_seconds: So long after the last attempt it is kept.
        event: JSON of the event that has begun it, for whoever wants to begin it again.
        resume: How it is gone on with; absent: its caller comes again.
    """

    work_id: str
    run_id: str
    owner: str
    name: str
    version: str
    declared: list[DeclaredStep]
    migrations: dict[str, dict[str, str]]
    input: str
    claim: str
    max_cost_pico_usd: int
    attempts_max: int
    ttl_seconds: int
    event: str
    resume: ResumeRun


class _Resumed(TypedDict, total=False):
    """Only of an attempt that has ended: whether somebody goes on with the run."""

    resumed: bool


class OpenedRun(_Resumed, total=False):
    """A run as it stands.

    Args:
        status: `running`: it is the caller's. Otherwise nothing was opened, and `output` or
            `error` tell how it ended.
        attempt: Which one this is, from 1 on.
        input: JSON, as it was given first.
        steps: What is finished.
        waits: What is waited for, or was until its time was over.
        output: JSON, of one that is completed.
        error: Why it failed, or who stopped it.
        cost_pico_usd: Of everything so far, of what came to nothing too.
        lost_pico_usd: What is in it of generations that came to nothing, or to nobody knows what.
        unknown_calls: Calls that may have been billed, and of which nothing is known.
        regenerated: Generations that an earlier one had been made for already.
    """

    status: RunStatus
    attempt: int
    input: str
    steps: list[FinishedStep]
    waits: list[Wait]
    output: str
    error: str
    cost_pico_usd: int
    lost_pico_usd: int
    unknown_calls: int
    regenerated: int


class RunCall(TypedDict, total=False):
    """What a question to a model says of the run it belongs to.

    Args:
        run_id: Of a run that the unit of work has opened.
        step: Key of the step that asks.
        number: Which of the step's calls it is, from 0 on.
        finished: What is done and not stored yet. It is stored together with the intent to ask.
        goes_on: Whether an answer that was cut is gone on with, by models that can.
    """

    run_id: str
    step: str
    number: int
    finished: list[FinishedStep]
    goes_on: bool


class StoreSteps(TypedDict, total=False):
    """Stores what is done before something else is begun, or what is waited for."""

    work_id: str
    run_id: str
    finished: list[FinishedStep]
    waits: list[Wait]


class CloseRun(TypedDict, total=False):
    """Ends an attempt.

    Args:
        finished: What is done and not stored yet.
        status: How it ended; `completed` has an `output`, the others may have an `error`.
        output: JSON.
        waits: Of one that is `waiting`: for what.
    """

    work_id: str
    run_id: str
    finished: list[FinishedStep]
    status: RunStatus
    output: str
    error: str
    waits: list[Wait]


class RunCosts(_Resumed):
    """What a run has come to, once what was sent is stored; see `OpenedRun`."""

    cost_pico_usd: int
    lost_pico_usd: int
    unknown_calls: int
    regenerated: int


class ReadRun(TypedDict, total=False):
    """Asks for a run, without opening it. `run_id` is always there.

    Args:
        run_id, owner: Which one.
        without_texts: What users have said stays where it is: no input, output or event; outputs
            of its steps and messages of its waits are "".
    """

    run_id: str
    owner: str
    without_texts: bool


class StoredCall(TypedDict, total=False):
    """One generation that a run has intended.

    Args:
        call_id: Key of its record.
        step, number, attempt: Whose it is.
        model: That was asked.
        state: `intent` (it may have been billed, and nothing more is known), `partial`,
            `answered`, `failed`.
        reserved_pico_usd: The most that it can have cost.
        cost_pico_usd: What it has cost, where that is known.
        characters: Of its answer, as far as it was kept.
    """

    call_id: str
    step: str
    number: int
    attempt: int
    model: str
    state: str
    reserved_pico_usd: int
    cost_pico_usd: int
    characters: int


class StoredRun(OpenedRun, total=False):
    """A run as it stands in the store, for people.

    Args:
        found: Whether there is one. Without it, nothing else is there.
        run_id, owner, name, version: As it was opened.
        begun_epoch_ms, at_epoch_ms: When it began, and when it was last opened or closed.
        leased_until_epoch_ms: Nobody else opens it until then; 0 when it is free.
        expires_epoch_ms: When it is gone, unless it is opened before.
        calls: All that it has intended.
        event: JSON, with which it was begun, where that was kept.
    """

    found: bool
    run_id: str
    owner: str
    name: str
    version: str
    begun_epoch_ms: int
    at_epoch_ms: int
    leased_until_epoch_ms: int
    expires_epoch_ms: int
    calls: list[StoredCall]
    event: str


class ListRuns(TypedDict, total=False):
    """Asks for a page of all runs; `cursor` is that of the page before."""

    cursor: str


class ListedRuns(TypedDict):
    """A page of runs, without their steps; `cursor` is "" behind the last one."""

    runs: list[StoredRun]
    cursor: str


class StopRun(TypedDict, total=False):
    """Stops a run for good: whoever has it open is refused its next step, and its next call."""

    run_id: str
    owner: str
    reason: str


class StoppedRun(TypedDict):
    """Whether there was such a run, and how it stands."""

    found: bool
    status: str


class DeleteRun(TypedDict, total=False):
    """Deletes a run for good, with the records of its model calls. `run_id` is always there."""

    run_id: str
    owner: str


class DeletedRun(TypedDict):
    """Whether there was anything of it, and how many items and calls' records are gone."""

    found: bool
    items: int
    calls: int


class FinishStep(TypedDict, total=False):
    """Finishes a step that waits.

    Args:
        run_id, owner, step: Which one.
        secret: As its token says it; whoever looks after runs (`lambdallm runs approve`) has none.
        output: JSON.
    """

    run_id: str
    owner: str
    step: str
    secret: str
    output: str


class FinishedWait(TypedDict):
    """What came of it: `finished`, `already` (somebody was first), `expired`, or `unknown`."""

    outcome: str
