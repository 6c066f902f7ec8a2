"""The gateway's use cases over played models, a memory store and a clock set by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakes.clocks import HandClock
from lambdallm_extension import errors
from lambdallm_extension.configuration import Configuration, Resilience
from lambdallm_extension.domain.answers import AnswerSoFar, ChatAnswer, EmbedAnswer
from lambdallm_extension.ports import Key
from lambdallm_extension.services.calls import Books, Call
from lambdallm_extension.services.chat import Chat
from lambdallm_extension.services.metering import Recorder, Totals
from lambdallm_extension.services.model_health import Candidate, Health
from lambdallm_extension.services.open_streams import OpenStreams
from lambdallm_extension.services.performing import Performing
from lambdallm_extension.services.store_health import StoreHealth
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.stores.memory import MemoryStore
from lambdallm_wire import codec
from lambdallm_wire.tokens import NO_USAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

USAGE: Any = {**NO_USAGE, "uncached_input_tokens": 14, "output_tokens": 9}
ANSWER = ChatAnswer("Hi", [{"text": "Hi"}], "stop", USAGE, "m", "req-1")


def refused(status: int = 429, **facts: Any) -> errors.ProviderError:
    facts = {"retryable": True, "kind": "ThrottlingException", **facts}
    return errors.ProviderError("No.", status=status, **facts)


def lost() -> errors.ProviderError:
    return errors.ProviderError("No answer came.", kind="AnswerLost")


class Middle:
    """`ports.Random` without chance."""

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


class PlayedStream:
    """`ports.ChatStream` that plays steps, and has its usage at the end.

    A text is a piece, `[]` is none yet, an error is raised, a function is called on the way.
    """

    def __init__(self, *steps: Any, usage: Any = USAGE) -> None:
        self.answer = AnswerSoFar(model="m", provider_request_id="req-1")
        self.limits: list[tuple[int, float]] = []
        self.reads = 0
        self.closed = 0
        self._steps = list(steps)
        self._usage = usage

    def read(self) -> list[Any] | None:
        self.reads += 1
        while self._steps:
            step = self._steps.pop(0)
            if isinstance(step, BaseException):
                raise step
            if callable(step):
                step()
                continue
            return [self.answer.add_text(0, step)] if step else []
        self.answer.usage, self.answer.ended = self._usage, True
        self.answer.finish_reason = "stop"
        return None

    def extend(self, deadline_ms: int, read_seconds: float) -> None:
        self.limits.append((deadline_ms, read_seconds))

    def close(self) -> None:
        self.closed += 1


class PlayedReply:
    """`ports.RawReply`: bytes are a piece, an error is raised, a function is called on the way."""

    def __init__(
        self, *steps: Any, status: int = 200, headers: list[tuple[str, str]] | None = None
    ) -> None:
        self.status = status
        self.headers = headers or [("content-type", "text/event-stream")]
        self.limits: list[tuple[int, float]] = []
        self.reads = 0
        self.closed = 0
        self._steps = list(steps)

    def read(self) -> bytes:
        self.reads += 1
        while self._steps:
            step = self._steps.pop(0)
            if isinstance(step, BaseException):
                raise step
            if callable(step):
                step()
                continue
            assert isinstance(step, bytes)
            return step
        return b""

    def extend(self, deadline_ms: int, read_seconds: float) -> None:
        self.limits.append((deadline_ms, read_seconds))

    def close(self) -> None:
        self.closed += 1


class Player:
    """`ports.Provider` that plays outcomes, one a call, and `ports.Models` that finds it alone."""

    name = "script"

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[str] = []
        self.requests: list[Any] = []

    def find(self, model: str) -> tuple[Player, str]:
        return self, model

    def chat(self, model_id: str, request: Any, *, deadline_ms: int) -> ChatAnswer:
        outcome: ChatAnswer = self._next(model_id, request)
        return outcome

    def stream(self, model_id: str, request: Any, *, deadline_ms: int) -> PlayedStream:
        outcome: PlayedStream = self._next(model_id, request)
        return outcome

    def embed(self, model_id: str, request: Any, *, deadline_ms: int) -> EmbedAnswer:
        outcome: EmbedAnswer = self._next(model_id, request)
        return outcome

    def forward(self, request: Any, *, deadline_ms: int) -> PlayedReply:
        outcome: PlayedReply = self._next("", request)
        return outcome

    def reopen(self) -> None:
        """There is nothing to open."""

    def close(self) -> None:
        """There is nothing open."""

    def _next(self, model_id: str, request: Any) -> Any:
        self.asked.append(model_id)
        self.requests.append(request)
        outcome = self.outcomes.pop(0)
        if callable(outcome):
            outcome = outcome(request)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class Gateway:
    """One environment's use cases, and the books that they keep."""

    def __init__(
        self, *, cost: int | None = 100, retry_share: float = 0.1, **configured: Any
    ) -> None:
        self.cost = cost
        self.clock = HandClock()
        self.store = MemoryStore(self.clock)
        self.totals = Totals()
        self.streams = OpenStreams()
        self.waits: list[float] = []
        self.recorder = Recorder(self.store, Workers(), self.clock, StoreHealth(self.clock))
        self.books = Books(self.recorder, self, self.clock, lambda: "env")
        self.health = Health(self.clock, Middle(), self._sleep, retry_share=retry_share)
        resilience = {
            name: configured.pop(name) for name in Resilience._fields if name in configured
        }
        self.configuration = Configuration(resilience=Resilience(**resilience), **configured)

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.now_ms += round(seconds * 1_000)

    def prepare(self, model: str) -> None:
        """Know every price."""

    def cost_pico_usd(
        self, model: str, answering: str, used: Any, *, epoch_ms: int, region: str
    ) -> int | None:
        """Cost a hundred pico-USD a call, or what a test says."""
        return self.cost

    def pass_ms(self, milliseconds: int) -> Callable[[], None]:
        """Return a step of a played answer that takes so long."""

        def step() -> None:
            self.clock.now_ms += milliseconds

        return step

    def perform(self, models: Any) -> Performing:
        """Return who knows what callers perform; `performed` tells the last one."""
        self.performing = Performing(models, self.clock, self.configuration)
        return self.performing

    def performed(self, **message: Any) -> Any:
        """Tell what a caller's own provider has answered."""
        told: Any = {"work_id": "w", "call_id": "c", **message}
        return self.performing.performed(told, deadline_ms=self.deadline_ms())

    def chat(self, models: Any) -> Chat:
        return Chat(
            self.perform(models), self.books, self.health, self.streams,
            default_model="default", configuration=self.configuration,
        )  # fmt: skip

    def call(self, call_id: str = "c") -> Call:
        return self.books.open(
            call_id, "w", self.totals, deadline_ms=self.deadline_ms(), operation="chat"
        )

    def candidates(self, *models: str) -> list[Candidate]:
        return [Candidate(model, model, None, "script") for model in models]

    def deadline_ms(self, left_ms: int = 60_000) -> int:
        return self.clock.now_ms + left_ms

    def request(self, **more: Any) -> Any:
        return {"work_id": "w", "call_id": "c", "messages": [], "model": "m", **more}

    def record(self, call_id: str = "c") -> Mapping[str, Any]:
        """Return a call's record, as it stands in the store."""
        assert self.recorder.wait(5)
        item = self.store.get(Key(f"CALL#{call_id}", "CALL"), deadline_ms=0)
        assert item is not None
        return item.attributes

    def check_books(self, **expected: Any) -> Mapping[str, Any]:
        """Check that the call is booked once, and that nothing is open any more.

        Its record and the totals must say the same. Returns the record.
        """
        record = self.record()
        assert {name: record.get(name) for name in expected} == expected
        settled = record["state"] == "settled"
        lost = record["state"] == "unknown"
        assert self.totals.calls == (settled or lost)
        if settled:
            assert {kind: record[kind] for kind in NO_USAGE} == self.totals.usage
            assert self.totals.cost_pico_usd == (record["cost_pico_usd"] or 0)
            assert self.totals.unpriced_calls == (record["cost_pico_usd"] is None)
        else:
            assert (self.totals.usage, self.totals.cost_pico_usd) == (NO_USAGE, 0)
            assert self.totals.unpriced_calls == lost, "what it cost is unknown, never 0"
        assert self.streams.of("w") == []
        assert self.streams.wait_for_none(0)
        return record


def lines(reply: Any) -> list[Any]:
    """Read a streamed reply to its end."""
    received = b""
    while piece := reply.read():
        received += piece
    return [codec.decode(line) for line in received.splitlines()]
