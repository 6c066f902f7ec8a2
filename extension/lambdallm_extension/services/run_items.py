"""The stored form of a run: what its items hold.

Shapes (attributes beside the keys of `domain.keys` and `expires_at`, epoch seconds):
    HEAD    {"schema": 1, "life": "…", "name": "report", "version": "1.0.0",
             "declared": "[[key, hash], …]", "status": "running", "attempt": 2, "claim": "…",
             "leased_until": epoch ms, 0: free, "environment": "…", "work": "…",
             "steps": 3 finished, "seen_steps": 3 and "stalls": 0 as the attempt began,
             "waited": 0 attempts that do not count, "error": "…", "begun": epoch ms,
             "at": epoch ms}
    INPUT   {"schema": 1, "life": "…", "value": "JSON"}   OUTPUT, EVENT  the same
    STEP    {"schema": 1, "life": "…", "output": "JSON", "fingerprint": "…", "attempt": 2,
             "calls": [call ids], "usage": "JSON", "cost_pico_usd": 14750000, "model": "…",
             "latency_ms": 812, "skipped": true if it was, "at": epoch ms,
             "moved": "version that gave it its name"};
             or {"schema": 1, "life": "…", "moved": "…", "gone": true} where that took it away
    DROPPED as STEP, what the versions of a chain have left out: it was paid
    CALL    {"schema": 1, "life": "…", "call": "id of its record", "model": "…", "state": "intent",
             "asked": hash of the question, "reserved_pico_usd": …, "at": epoch ms,
             "answer": "JSON: what came of it", "cost_pico_usd": …,
             "again": true if an earlier attempt had it generated already,
             "written": how often it was written since its intent}
    WAIT    {"schema": 1, "life": "…", "kind": "approval", "message": "…", "expires": epoch ms,
             "hash": "…"}

The head's expiry rules; everything else is kept up to twice as long. So a run that is begun anew
meets what an earlier one of its id has left: what is of another `life` than the head is not there.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple, cast
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import ABSENT, PRESENT, Condition, Item, Key, Put
from lambdallm_wire import names, plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from lambdallm_extension.ports import Action, Value
    from lambdallm_wire.runs import FinishedStep, RunStatus, Wait

SCHEMA: dict[str, Value] = {"schema": names.ITEM_SCHEMA_VERSION}


class RunHead(NamedTuple):
    """A run's head; see the module."""

    life: str
    name: str
    version: str
    declared: tuple[tuple[str, str], ...]
    status: RunStatus
    attempt: int
    claim: str
    leased_until_ms: int
    environment: str
    work: str
    steps: int
    seen_steps: int
    stalls: int
    waited: int
    error: str
    begun_ms: int
    at_ms: int

    def to_item(self, key: Key, expires_at: int) -> Item:
        """Make what the store takes."""
        attributes: dict[str, Value] = {
            **SCHEMA,
            "life": self.life,
            "name": self.name,
            "version": self.version,
            "declared": plain_json.dumps(self.declared),
            "status": self.status,
            "attempt": self.attempt,
            "claim": self.claim,
            "leased_until": self.leased_until_ms,
            "environment": self.environment,
            "work": self.work,
            "steps": self.steps,
            "seen_steps": self.seen_steps,
            "stalls": self.stalls,
            "waited": self.waited,
            "error": self.error,
            "begun": self.begun_ms,
            "at": self.at_ms,
        }
        return Item(key, attributes, expires_at)

    @classmethod
    def of(cls, item: Item) -> RunHead:
        """Read a head.

        Raises:
            StoreRefusedError: It is newer than this reader, or damaged.
        """
        check_schema(item)
        found = item.attributes
        try:
            declared = plain_json.loads(cast("str", found["declared"]))
            return cls(
                _text(found, "life"),
                _text(found, "name"),
                _text(found, "version"),
                tuple([(str(key), str(fingerprint)) for key, fingerprint in declared]),
                cast("RunStatus", _text(found, "status")),
                _number(found, "attempt"),
                _text(found, "claim"),
                _number(found, "leased_until"),
                _text(found, "environment"),
                _text(found, "work"),
                _number(found, "steps"),
                _number(found, "seen_steps"),
                _number(found, "stalls"),
                _number(found, "waited"),
                _text(found, "error"),
                _number(found, "begun"),
                _number(found, "at"),
            )
        except (KeyError, TypeError, ValueError):
            raise _damaged(item) from None


class Generation(NamedTuple):
    """One call of a step, as it stands in the store; see the module.

    Attributes:
        before: Text that its answer goes on from: in `answer`, not in what the model says now.
    """

    call_id: str
    model: str
    state: str
    asked: str
    reserved_pico_usd: int
    cost_pico_usd: int | None = None
    answer: str = ""
    again: bool = False
    written: int = 0
    before: str = ""

    def to_item(self, key: Key, life: str, at_ms: int, expires_at: int) -> Item:
        """Make what the store takes."""
        attributes: dict[str, Value] = {
            **SCHEMA,
            "life": life,
            "call": self.call_id,
            "model": self.model,
            "state": self.state,
            "asked": self.asked,
            "reserved_pico_usd": self.reserved_pico_usd,
            "at": at_ms,
            "written": self.written,
        }
        if self.again:
            attributes["again"] = True
        if self.answer:
            attributes["answer"] = self.answer
        if self.cost_pico_usd is not None:
            attributes["cost_pico_usd"] = self.cost_pico_usd
        return Item(key, attributes, expires_at)

    @classmethod
    def of(cls, item: Item) -> Generation:
        """Read one.

        Raises:
            StoreRefusedError: It is newer than this reader, or damaged.
        """
        check_schema(item)
        found = item.attributes
        try:
            cost = found.get("cost_pico_usd")
            return cls(
                _text(found, "call"),
                _text(found, "model"),
                _text(found, "state"),
                _text(found, "asked"),
                _number(found, "reserved_pico_usd"),
                None if cost is None else _number(found, "cost_pico_usd"),
                str(found.get("answer", "")),
                found.get("again") is True,
                _number(found, "written"),
            )
        except (KeyError, TypeError):
            raise _damaged(item) from None


class Writing(NamedTuple):
    """What everything of a run has in common that is written at one moment."""

    pk: str
    life: str
    at_ms: int
    expires_at: int


def put_step(writing: Writing, step: FinishedStep, attempt: int) -> Put:
    """Return what writes a finished step, once."""
    key = Key(writing.pk, keys.step_sk(step["key"]))
    return Put(Item(key, _step(writing, step, attempt), writing.expires_at), ABSENT)


def put_moved(writing: Writing, step: FinishedStep, version: str) -> Put:
    """Return what writes a step under the name that a version of its chain gives it."""
    attributes = {**_step(writing, step, step["attempt"]), "moved": version}
    key = Key(writing.pk, keys.step_sk(step["key"]))
    return Put(Item(key, attributes, writing.expires_at))


def put_gone(writing: Writing, key: str, version: str) -> Put:
    """Return what writes that nothing is finished under a name any more."""
    attributes: dict[str, Value] = {**SCHEMA, "life": writing.life, "moved": version, "gone": True}
    return Put(Item(Key(writing.pk, keys.step_sk(key)), attributes, writing.expires_at))


def put_dropped(writing: Writing, step: FinishedStep) -> Put:
    """Return what writes what was paid for a step that its chain has left out."""
    attributes = _step(writing, {**step, "output": "null"}, step["attempt"])
    key = Key(writing.pk, keys.DROPPED_PREFIX + step["key"])
    return Put(Item(key, attributes, writing.expires_at))


def put_over(put: Put, standing: Item, life: str) -> Put | None:
    """Return what writes a step over what stands in its place and is none; None if it is one."""
    found = standing.attributes
    if found.get("gone") is True:
        return put._replace(condition=Condition(equals={"gone": True}))
    left = found.get("life", "")
    if left == life:
        return None
    left_by_another = Condition(equals={"life": left}) if "life" in found else PRESENT
    return put._replace(condition=left_by_another)


def what_is_left(
    actions: Sequence[Action], standing: Sequence[Item | None], life: str
) -> tuple[list[Action], dict[str, FinishedStep]]:
    """Return what is still to be written after a refusal, and the steps that stand there already.

    Args:
        actions: That were refused.
        standing: What stands where the condition of one failed.
        life: Of the run.

    Raises:
        StoreRefusedError: What stands there is newer than this reader, or damaged.
    """
    left: list[Action] = []
    stored: dict[str, FinishedStep] = {}
    for action, item in zip(actions, standing, strict=True):
        over: Action | None = action
        if item is not None and isinstance(action, Put):
            over = put_over(action, item, life)
            if over is None:
                step = read_step(item)
                stored[step["key"]] = step
        if over is not None:
            left.append(over)
    return left, stored


def _step(writing: Writing, step: FinishedStep, attempt: int) -> dict[str, Value]:
    attributes: dict[str, Value] = {
        **SCHEMA,
        "life": writing.life,
        "output": step["output"],
        "fingerprint": step.get("fingerprint", ""),
        "attempt": attempt,
        "calls": step.get("calls", []),
        "usage": plain_json.dumps(step.get("usage", {})),
        "cost_pico_usd": step.get("cost_pico_usd", 0),
        "model": step.get("model", ""),
        "latency_ms": step.get("latency_ms", 0),
        "at": writing.at_ms,
    }
    if step.get("skipped"):
        attributes["skipped"] = True
    return attributes


def read_step(item: Item) -> FinishedStep:
    """Read a finished step.

    Raises:
        StoreRefusedError: It is newer than this reader, or damaged.
    """
    check_schema(item)
    found = item.attributes
    try:
        step: FinishedStep = {
            "key": item.key.sk.partition("#")[2],
            "output": _text(found, "output"),
            "fingerprint": _text(found, "fingerprint"),
            "attempt": _number(found, "attempt"),
            "calls": [str(call) for call in cast("list[Any]", found["calls"])],
            "usage": plain_json.loads(_text(found, "usage")),
            "cost_pico_usd": _number(found, "cost_pico_usd"),
            "model": _text(found, "model"),
            "latency_ms": _number(found, "latency_ms"),
        }
    except (KeyError, TypeError, ValueError):
        raise _damaged(item) from None
    if found.get("skipped"):
        step["skipped"] = True
    return step


def put_value(writing: Writing, sk: str, value: str) -> Put:
    """Return what writes a run's input, or its output."""
    attributes: dict[str, Value] = {**SCHEMA, "life": writing.life, "value": value}
    return Put(Item(Key(writing.pk, sk), attributes, writing.expires_at))


def read_value(item: Item | None) -> str:
    """Read a run's input or output, "null" where it has none."""
    if item is None:
        return "null"
    check_schema(item)
    return str(item.attributes.get("value", "null"))


def put_wait(writing: Writing, wait: Wait, hashed: str) -> Put:
    """Return what writes that a step is finished from outside."""
    attributes: dict[str, Value] = {
        **SCHEMA,
        "life": writing.life,
        "kind": wait.get("kind", "callback"),
        "message": wait.get("message", ""),
        "expires": wait.get("expires_epoch_ms", 0),
        "hash": hashed,
    }
    key = Key(writing.pk, keys.wait_sk(wait["step"]))
    return Put(Item(key, attributes, writing.expires_at))


def read_wait(item: Item) -> Wait:
    """Read what is waited for, without its secret."""
    check_schema(item)
    found = item.attributes
    wait: Wait = {
        "step": item.key.sk.removeprefix(keys.WAIT_PREFIX),
        "kind": str(found.get("kind", "")),
        "message": str(found.get("message", "")),
    }
    expires = found.get("expires")
    if type(expires) is int and expires:
        wait["expires_epoch_ms"] = expires
    return wait


def check_schema(item: Item) -> None:
    """Refuse an item that a newer version wrote, or somebody else, rather than misread it.

    Raises:
        StoreRefusedError: It is newer than this reader, or damaged.
    """
    schema = item.attributes.get("schema")
    if type(schema) is not int or schema < 1:
        raise _damaged(item)
    if schema > names.ITEM_SCHEMA_VERSION:
        message = (
            f"An item {item.key.sk} of a run has schema {schema}; this sidecar reads up to "
            f"{names.ITEM_SCHEMA_VERSION}. Update the layer of this function."
        )
        raise errors.StoreRefusedError(message)


def _damaged(item: Item) -> errors.StoreRefusedError:
    run_id, _ = keys.parse_run_pk(item.key.pk)
    return errors.StoreRefusedError(
        f"The item {item.key.sk} of run {run_id!r} is damaged. Begin the work anew under another "
        "run id."
    )


def _text(found: Mapping[str, Value], name: str) -> str:
    value = found[name]
    if isinstance(value, str):
        return value
    raise TypeError(name)


def _number(found: Mapping[str, Value], name: str) -> int:
    value = found[name]
    if type(value) is int:
        return value
    raise TypeError(name)
