"""Owners of runs: each an environment with a clock of its own, over one store and one model.

The model counts what it is asked and bills it; an owner checks at each question that the run is
still its own in the store, which is what an intent stands for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fakes.clocks import HandClock
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Item, Key
from lambdallm_extension.services.open_streams import OpenStreams
from lambdallm_extension.services.run_archive import RunArchive
from lambdallm_extension.services.runs import Runs
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.services.works import Work

if TYPE_CHECKING:
    from lambdallm_extension.ports import Store
    from lambdallm_extension.services.run_calls import RunCall
    from lambdallm_extension.services.run_heartbeat import Heartbeat
    from lambdallm_extension.services.run_work import RunWork

RUN_ID = "r"
PK = keys.run_pk(RUN_ID)
MOST, COST = 100, 70
LASTS_MS = 30_000
MODEL = "scripted/a"


class OwnClock(HandClock):
    """Another clock that is off by some milliseconds."""

    def __init__(self, of: HandClock) -> None:
        super().__init__()
        self._of = of
        self.off_ms = 0

    def epoch_ms(self) -> int:
        return self._of.now_ms + self.off_ms

    def monotonic(self) -> float:
        return self._of.now_ms / 1_000

    def boottime(self) -> float:
        return self._of.now_ms / 1_000


class Model:
    """Bills each question, and knows by which step it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @property
    def billed(self) -> int:
        return COST * len(self.asked)


class Asked(NamedTuple):
    """A question whose answer is on its way."""

    step: str
    call: RunCall


class Owner:
    """One environment. Its units of work are opened by number."""

    def __init__(
        self, store: Any, clock: Any, model: Model, name: str = "e1",
        heartbeat: Heartbeat | None = None, reading: Any = None,
    ) -> None:  # fmt: skip
        self.clock = clock
        self.model = model
        self.logged: list[str] = []
        self.streams = OpenStreams()
        self._store = store
        self._reading: Store = reading or store
        self._name = name
        self._works = 0
        self.runs = Runs(
            lambda: store, Workers(), clock, lambda: name, self.streams,
            log=self.logged.append, resumer=_none, heartbeat=heartbeat,
        )  # fmt: skip

    def work(self, lasts_ms: int = LASTS_MS) -> Work:
        self._works += 1
        name = f"{self._name}-{self._works}"
        deadline_ms = self.clock.epoch_ms() + lasts_ms
        begin: Any = {"work_id": name, "request_id": name, "deadline_epoch_ms": deadline_ms}
        return Work(begin, 1, self.clock)

    def open(self, work: Work | None = None, **message: Any) -> tuple[RunWork, Any]:
        """Open the run in a unit of work, and return both sides of it."""
        work = work or self.work()
        opened = self.runs.open(opening(work, **message), work)
        return work.runs.get(RUN_ID), opened  # type: ignore[return-value]  # for what ended: None

    def call(self, work_or_run: Any, step: str, number: int = 0, **more: Any) -> RunCall:
        """Return a question of a run, which is asked by `ask`."""
        from lambdallm_extension.services.run_calls import RunCall

        finished = more.pop("finished", ())
        request: Any = {"messages": [{"role": "user", "content": f"do {step}"}], **more}
        place = (step, work_or_run.terms.attempt, number)
        return RunCall(work_or_run, place, finished, request, Workers())

    def ask(self, run: RunWork, step: str, number: int = 0, **more: Any) -> Asked | Any:
        """Ask the model, or return the answer that an earlier attempt was given."""
        call = self.call(run, step, number, **more)
        stored = call.stored_answer()
        if stored is not None:
            return stored
        call.intend(MODEL, MOST, record(call.call_id))
        head = self._reading.get(Key(PK, keys.HEAD), deadline_ms=self.clock.epoch_ms() + 9_999)
        assert head is not None
        assert head.attributes["attempt"] == run.terms.attempt
        assert head.attributes["life"] == run.terms.life
        self.model.asked.append(step)
        return Asked(step, call)

    def archive(self) -> RunArchive:
        return self.runs.archive(9_999)

    def read(self) -> Any:
        return self.archive().read(RUN_ID, "")


def opening(work: Work, **message: Any) -> Any:
    return {
        "work_id": work.work_id, "run_id": RUN_ID, "name": "report", "input": '"in"',
        "declared": declared("a", "b", "c"), **message,
    }  # fmt: skip


def declared(*names: str) -> list[dict[str, str]]:
    return [{"key": name, "fingerprint": f"of-{name}"} for name in names]


def reply(call: RunCall, text: str = "said") -> dict[str, Any]:
    """Return what the model says, as `ChatResponse`."""
    return {"call_id": call.call_id, "text": text, "cost_pico_usd": COST}


def done(step: str, *replies: Any, output: str = '"out"') -> Any:
    return {
        "key": step, "output": output, "fingerprint": f"of-{step}",
        "calls": [each["call_id"] for each in replies],
        "cost_pico_usd": sum(each["cost_pico_usd"] for each in replies),
    }  # fmt: skip


def record(call_id: str) -> Item:
    return Item(Key(keys.call_pk(call_id), keys.CALL), {"schema": 1, "state": "intent"})


def _none() -> Any:
    message = "Nobody resumes here."
    raise errors.SettingError(message)
