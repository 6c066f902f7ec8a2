"""Runs as the function's process sees them: what is finished, and which step asks a model now.

open ─► finished("draft")? ─► its output, and nothing is done
└── no ─► do it, as its step ─► finish ─► travels with the next question, or `flush`
"""

from __future__ import annotations

from _thread import allocate_lock
from types import CoroutineType

from lambdallm import _errors, _log, _settings
from lambdallm._step_scopes import StepScope, here, within
from lambdallm_wire import plain_json, routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeVar

    from lambdallm._work import Work

    T = TypeVar("T")

__all__ = [
    "Run", "StepScope", "UnkeptRun", "do", "encode", "here", "make", "needs_store", "step",
    "within",
]  # fmt: skip

_told_without_store = False


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
        if self.status == "completed":  # what is done now is done beside it
            del request["run"]
            return send()
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

    def refuse_spent(self) -> None:
        """Refuse to ask a model of which no engine can say what it will cost.

        Raises:
            BudgetExceededError: The run has cost as much as it may.
        """
        limit = self._opening.get("max_cost_pico_usd")
        if limit is None:
            return
        with self._lock:
            spent = sum([step.get("cost_pico_usd", 0) for step in self.steps.values()])
        if spent >= limit:
            message = f"Run {self.run_id!r} has cost what it may. The model was not asked."
            raise _errors.BudgetExceededError(message, source="run")

    def finish(self, step: dict[str, Any]) -> None:
        """Take a finished step; it is stored with the next question, by `flush`, or at the end."""
        with self._lock:
            self.steps[step["key"]] = step
            self._pending.append(step)

    def steps_under(self, key: str) -> list[dict[str, Any]]:
        """Return what is finished of the steps within one."""
        with self._lock:
            return [step for name, step in self.steps.items() if name.startswith(f"{key}/")]

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
            message["error"] = error.encode(
                "utf-8", "replace"
            ).decode()  # no JSON: it has no escapes
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
        """Send a question as one that belongs to no run.

        Raises:
            BudgetExceededError: The run has cost as much as it may.
        """
        del request["run"]
        self.refuse_spent()
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
    """Do something once in a run; see `LambdaLLMContext.step`.

    Where the event comes again after its handler has returned, what had failed then is done again,
    beside the run, which is over: its handler has gone on without it once.
    """
    parent = here()
    run = context.open_run() if parent is None else parent.run
    key = (run.root if parent is None else parent).child(name)
    done, over = key in run.steps, run.status == "completed"
    output: T = do(run, key, function, beside=over)
    if not (done or over):
        run.flush()  # what the handler does next is no step, so that nothing carries this one
    return output


def do(  # noqa: PLR0913 - what a step is
    run: Run,
    key: str,
    function: Callable[[], Any],
    *,
    fingerprint: str = "",
    goes_on: bool = False,
    asks: bool = False,
    beside: bool = False,
) -> Any:
    """Do a step unless it is finished, and return its output as JSON gives it back.

    Args:
        run: It belongs to.
        key: Its name within the run.
        function: Does it.
        fingerprint: Of its declaration.
        goes_on: See `StepScope`.
        asks: It begins by asking a model, with which the steps before are stored.
        beside: Nothing of it is kept.

    Raises:
        StateError: It is not finished, and the run has ended. Nothing was done.
        TypeError: What the function returned is no JSON.
    """
    done = run.steps.get(key)
    if done is not None:
        return plain_json.loads(done["output"])
    if run.status != "running" and not beside:
        message = f"Run {run.run_id!r} has {run.status} without step {key!r}, which is not done."
        raise _errors.StateError(message)
    if not (asks or beside):
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
    if isinstance(value, CoroutineType):
        value.close()
        message = f"{what} has to be kept as JSON, and is a coroutine: nobody has awaited it."
        raise TypeError(message)
    try:
        return plain_json.dumps_whole(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        message = f"{what} has to be kept as JSON: {error}."
        raise TypeError(message) from error
