"""Runs as the function's process sees them: what is finished, and which step asks a model now.

    open ─► finished("draft")? ─► its output, and nothing is done
                └── no ─► do it, as its step ─► finish ─► travels with the next question, or `flush`

A model call that is made while a step runs belongs to it, wherever in the code it is made: the
context variable `_here` says so, in this thread.
"""

from __future__ import annotations

from _thread import allocate_lock
from contextvars import ContextVar

from lambdallm import _errors, _log, _settings
from lambdallm_wire import plain_json, routes
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextvars import Token
    from typing import Any, TypeVar

    from lambdallm._work import Work

    T = TypeVar("T")

_told_without_store = False


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
        self.names: dict[str, int] = {}
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

    def book(self, reply: Mapping[str, Any]) -> None:
        """Add what an answer came to."""
        with self._lock:
            self.calls.append(reply["call_id"])
            self.cost_pico_usd += reply["cost_pico_usd"] or 0
            self.model = reply["model"]
            for kind, tokens in reply["usage"].items():
                self.usage[kind] = self.usage.get(kind, 0) + tokens

    def child(self, name: str) -> str:
        """Return the key of a step within this one; the second one of a name has a number."""
        with self._lock:
            self.names[name] = seen = self.names.get(name, 0) + 1
        key = f"{self.key}/{name}" if self.key else name
        return key if seen == 1 else f"{key}~{seen}"

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


class Run:
    """A run that this unit of work has open. Threads share it.

    Attributes:
        run_id: What it is found by.
        status: Of `lambdallm_wire.runs.RunStatus`; only of one that is `running` steps are done.
        steps: What is finished, by key.
        opened: What the engine has said of it (`lambdallm_wire.runs.OpenedRun`).
    """

    def __init__(self, work: Work, opening: Mapping[str, Any]) -> None:
        """Describe it (`lambdallm_wire.runs.OpenRun`); nothing is sent yet."""
        self.run_id: str = opening["run_id"]
        self.steps: dict[str, dict[str, Any]] = {}
        self.opened: dict[str, Any] = {}
        self.status = "running"
        self.attempt = 1
        self.root = StepScope(self, "")
        self._work = work
        self._opening = {**opening, "claim": _settings.random_id()}
        self._pending: list[dict[str, Any]] = []
        self._lock = allocate_lock()
        self._engine: object = None

    def open(self) -> None:
        """Begin it, or go on with it.

        Raises:
            StateError: Another invocation is at it (it says when to ask again), its chain is
                another one now (it names the difference), or the store did not answer.
        """
        self.opened = self._work.control(routes.OPEN_RUN, dict(self._opening))
        self._engine = self._work.engine
        self.status, self.attempt = self.opened["status"], self.opened["attempt"]
        self.steps = {step["key"]: step for step in self.opened["steps"]}

    def ask(self, request: dict[str, Any], send: Callable[[], T]) -> T:
        """Send a question that this step has marked; open the run anew where its engine is lost.

        Args:
            request: The question.
            send: Sends it.
        """
        try:
            return send()
        except _errors.InvalidRequestError:
            if self._work.engine is self._engine:
                raise
        self._open_again()
        return send()

    def _open_again(self) -> None:
        """Go on under another engine: the one that had the run is lost."""
        before = self.steps
        self.open()
        self.steps = {**self.steps, **before}

    def finish(self, step: dict[str, Any]) -> None:
        """Take a finished step; it is stored with the next question, by `flush`, or at the end."""
        with self._lock:
            self.steps[step["key"]] = step
            self._pending.append(step)

    def take_pending(self) -> list[dict[str, Any]]:
        """Return the steps that are to be stored; `give_back` what was not."""
        with self._lock:
            pending, self._pending = self._pending, []
        return pending

    def give_back(self, steps: Sequence[dict[str, Any]]) -> None:
        """Store them with something else: nobody knows whether they are."""
        with self._lock:
            self._pending = [*steps, *self._pending]

    def flush(self, waits: Sequence[dict[str, Any]] = ()) -> None:
        """Store what is finished, before something is begun that asks no model at once.

        Raises:
            StateError: It is not known to be stored; nothing more is to be begun.
        """
        pending = self.take_pending()
        if not (pending or waits):
            return
        try:
            self._control(routes.STORE_STEPS, {"finished": pending, "waits": [*waits]})
        except BaseException:
            self.give_back(pending)
            raise

    def close(
        self, status: str, output: str | None = None, error: str = "", waits: Sequence[Any] = ()
    ) -> dict[str, Any]:
        """End the attempt, and return what the run has come to (`lambdallm_wire.runs.RunCosts`).

        Raises:
            StateError: Not all of it is known to be stored.
        """
        message: dict[str, Any] = {"finished": self.take_pending(), "status": status}
        if output is not None:
            message["output"] = output
        if error:
            message["error"] = error
        if waits:
            message["waits"] = [*waits]
        self.status = status
        return self._control(routes.CLOSE_RUN, message)

    def _control(self, route: routes.Route, message: dict[str, Any]) -> dict[str, Any]:
        message["run_id"] = self.run_id
        try:
            return self._work.control(route, message)
        except _errors.InvalidRequestError:
            if self._work.engine is self._engine:
                raise
        self._open_again()
        return self._work.control(route, message)


class UnkeptRun(Run):
    """A run without a store: its steps are done in order, and nothing outlives the process."""

    def open(self) -> None:
        """Begin it."""
        global _told_without_store  # noqa: PLW0603 - it is a fact about the process
        self.opened = {"input": self._opening.get("input", "null"), "waits": [], "attempt": 1}
        if not _told_without_store:
            _told_without_store = True
            _log.write("WARNING", _NOT_KEPT)

    def ask(self, request: dict[str, Any], send: Callable[[], T]) -> T:
        """Send a question as one that belongs to no run."""
        request.pop("run", None)
        return send()

    def flush(self, waits: Sequence[dict[str, Any]] = ()) -> None:
        """Store nothing.

        Raises:
            ConfigurationError: Something is waited for that could not be found again.
        """
        if waits:
            raise _errors.ConfigurationError(_NEEDS_STORE.format("A step that waits"))
        self.take_pending()

    def close(
        self, status: str, output: str | None = None, error: str = "", waits: Sequence[Any] = ()
    ) -> dict[str, Any]:
        """End it, and return what its steps have come to."""
        del output, error
        self.flush(waits)
        self.status = status
        cost = sum([step["cost_pico_usd"] for step in self.steps.values()])
        return {"cost_pico_usd": cost, "lost_pico_usd": 0, "unknown_calls": 0, "regenerated": 0}


_NOT_KEPT = (
    "lambdallm: LAMBDALLM_STORE names no store, so that runs are not checkpointed: a killed "
    "function begins anew. Name a table, as LAMBDALLM_STORE=dynamodb://TABLE."
)
_NEEDS_STORE = "{} needs a store: set LAMBDALLM_STORE, as to dynamodb://TABLE."


def needs_store(what: str) -> _errors.ConfigurationError:
    """Make the error of something that cannot be without a store."""
    return _errors.ConfigurationError(_NEEDS_STORE.format(what))


def make(work: Work, opening: Mapping[str, Any]) -> Run:
    """Describe a run, kept where there is a store."""
    return Run(work, opening) if _settings.store_url() else UnkeptRun(work, opening)


def step(context: Any, name: str, function: Callable[[], T]) -> T:
    """Do something once in a run; see `LambdaLLMContext.step`."""
    parent = _here.get()
    run = context.open_run() if parent is None else parent.run
    key = (run.root if parent is None else parent).child(name)
    return do(run, key, function)  # type: ignore[no-any-return]  # as JSON gives it back


def do(
    run: Run,
    key: str,
    function: Callable[[], Any],
    *,
    fingerprint: str = "",
    goes_on: bool = False,
    asks: bool = False,
) -> Any:
    """Do a step unless it is finished, and return its output as JSON gives it back.

    Args:
        run: It belongs to.
        key: Its name within the run.
        function: Does it.
        fingerprint: Of its declaration.
        goes_on: See `StepScope`.
        asks: It begins by asking a model, with which the steps before are stored.

    Raises:
        TypeError: What the function returned is no JSON.
    """
    done = run.steps.get(key)
    if done is not None:
        return plain_json.loads(done["output"])
    if not asks:
        run.flush()
    scope = StepScope(run, key, goes_on=goes_on)
    with within(scope):
        value = function()
    output = encode(value, f"Step {key!r}")
    run.finish(scope.to_step(output, fingerprint))
    return plain_json.loads(output)


def encode(value: Any, what: str) -> str:
    """Return a value as JSON.

    Raises:
        TypeError: It is none.
    """
    try:
        return plain_json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        message = f"{what} has to be kept as JSON: {error}."
        raise TypeError(message) from error
