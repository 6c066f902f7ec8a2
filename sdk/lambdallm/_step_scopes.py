"""The step that is being done: what it asks, what that comes to, and what is named within it.

A model call that is made while a step runs belongs to it, wherever in the code it is made: the
context variable `_here` says so, in this thread.
"""

from __future__ import annotations

from _thread import allocate_lock
from contextvars import ContextVar

from lambdallm import _settings
from lambdallm._numbered_names import Names
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Token
    from typing import Any, TypeVar

    from lambdallm._messages import ChatResponse
    from lambdallm._runs import Run

    T = TypeVar("T")


class StepScope:
    """A step that is being done: what its model calls come to."""

    def __init__(self, run: Run, key: str, *, goes_on: bool = False) -> None:
        """Begin it.

        Args:
            run: It belongs to.
            key: Its name within the run.
            goes_on: Whether a cut answer is gone on with.
        """
        self.run = run
        self.key = key
        self.goes_on = goes_on
        self.calls: list[str] = []
        self.usage: dict[str, int] = {**NO_USAGE}  # type: ignore[dict-item]  # of whole numbers
        self.cost_pico_usd = 0
        self.model = ""
        self.names = Names()
        self._number = 0
        self._lock = allocate_lock()
        self._began = _settings.monotonic()

    def mark(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        """Say in a question which run asks; return the finished steps that travel with it."""
        with self._lock:
            number, self._number = self._number, self._number + 1
        finished = self.run.take_pending()
        request["run"] = {
            "run_id": self.run.run_id,
            "step": self.key,
            "number": number,
            "finished": finished,
            "goes_on": self.goes_on,
        }
        return finished

    def ask(self, request: dict[str, Any], send: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Send a question as this step's, and book its answer.

        Args:
            request: The question.
            send: Sends it.
        """
        reply = self.send(request, send)
        self.book(reply)
        return reply

    def send(self, request: dict[str, Any], send: Callable[[], T]) -> T:
        """Send a question as this step's; what was to be stored with it is kept where it failed."""
        finished = self.mark(request)
        try:
            return self.run.ask(request, send)
        except BaseException:
            self.run.give_back(finished)
            raise

    def ask_replaced(self, ask: Callable[[], ChatResponse]) -> ChatResponse:
        """Ask a model that a test has put in the place of all: no engine knows of it."""
        self.run.refuse_spent()
        response = ask()
        self.book(
            {
                "call_id": response.call_id,
                "cost_pico_usd": response.cost_pico_usd,
                "model": response.model,
                "usage": response.usage,
            }
        )
        return response

    def book(self, reply: Mapping[str, Any]) -> None:
        """Add what an answer came to."""
        with self._lock:
            self.calls.append(reply["call_id"])
            self.cost_pico_usd += reply["cost_pico_usd"] or 0
            self.model = reply["model"]
            for kind, tokens in reply["usage"].items():
                self.usage[kind] = self.usage.get(kind, 0) + tokens

    def child(self, name: str) -> str:
        """Return the key of a step within this one; the second one of a name has a number.

        Raises:
            ConfigurationError: See `Names.place`.
        """
        return self.key_of(self.names.place(name))

    def key_of(self, place: str) -> str:
        """Return the key of a step that its names have given a place."""
        return f"{self.key}/{place}" if self.key else place

    def begin_again(self) -> None:
        """Do it once more: what it has named before is called the same again."""
        self.names = Names()

    def to_step(self, output: str, fingerprint: str) -> dict[str, Any]:
        """Return the finished step (`lambdallm_wire.runs.FinishedStep`)."""
        return {
            "key": self.key,
            "output": output,
            "fingerprint": fingerprint,
            "calls": self.calls,
            "usage": self.usage,
            "cost_pico_usd": self.cost_pico_usd,
            "model": self.model,
            "latency_ms": round((_settings.monotonic() - self._began) * 1_000),
        }


_here: ContextVar[StepScope | None] = ContextVar("lambdallm_step", default=None)


def here() -> StepScope | None:
    """Return the step that is being done here."""
    return _here.get()


class within:  # noqa: N801 - used as a statement
    """Do something as a step, in this thread, while the context lasts."""

    def __init__(self, scope: StepScope) -> None:
        self._scope = scope
        self._token: Token[StepScope | None] | None = None

    def __enter__(self) -> StepScope:
        self._token = _here.set(self._scope)
        return self._scope

    def __exit__(self, *_: object) -> None:
        assert self._token is not None  # noqa: S101 - entered
        _here.reset(self._token)
