"""Steps of a handler's own: what a context can do once, however often its event comes.

The run is found by the event's identity: an idempotency key, the id of an SQS message, or else the
request's, which Lambda keeps for its own retries of asynchronous events.
"""

from __future__ import annotations

from _thread import allocate_lock

from lambdallm import _errors, _handled, _owners, _settings
from lambdallm._numbered_names import Names
from lambdallm_wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from lambdallm._runs import Run, StepScope
    from lambdallm._work import Work

    T = TypeVar("T")

ID_MAX = 168
"""Of an identity within a run's id, which has 256 characters: a name of 80, and a number behind it,
have room. A longer one is hashed."""


class HasSteps:
    """The part of a context that is about runs.

    Attributes:
        identity: What makes its event the same event when it comes again; "": the request id.
        asked_run_id: The run that its caller wants to go on with; "" for none.
        identity_fault: What is wrong with what its caller says of it; None where nothing is.
        original_event: As Lambda has handed it over.
        names: Of its own steps.
    """

    work: Work

    def __init__(self) -> None:
        """Open nothing yet."""
        self.identity = ""
        self.asked_run_id = ""
        self.identity_fault: Exception | None = None
        self.original_event: Any = None
        self._run: Run | None = None
        self._named = Names()
        self.names = Names()
        self._opening = allocate_lock()

    def step(self, name: str, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Do something once, however often this event comes, and return its result.

            receipt = context.step("charge", charge, order_id)

        What it returned before a kill, a timeout or a retry is returned again, and nothing is
        done; its model calls are not paid twice. Steps may be within steps. Order them by
        nothing but what other steps have returned.

        Args:
            name: Of letters, digits, `_` and `-`; a second step of a name is another one.
            function: Does it; what it returns has to be JSON, and comes back as JSON gives it.
            *args: For the function.
            **kwargs: For the function.

        Raises:
            StateError: The run is another invocation's (it says when to ask again), or the store
                failed.
            TypeError: What it returned is no JSON.
        """
        from lambdallm import _chain_templates, _runs

        _chain_templates.check_name(name)
        return _runs.step(self, name, lambda: function(*args, **kwargs))

    async def astep(
        self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Do as `step`, of a coroutine function too, while other coroutines run."""
        from lambdallm import _async_steps, _chain_templates

        _chain_templates.check_name(name)
        return await _async_steps.step(self, name, lambda: function(*args, **kwargs))

    def open_run(self) -> Run:
        """Return the run of this event's own steps, opened at the first of them.

        Raises:
            StateError: It was stopped, or given up; or as `Run.open`.
        """
        from lambdallm import _runs

        with self._opening:
            if self._run is None:
                function = _settings.function_name() or "handler"
                opening = {"run_id": self._name_event_run(function), "name": function}
                owner = self.owner_by(_owners.AUTHORIZER)
                run = _runs.make(self.work, {**opening, "owner": owner} if owner else opening)
                run.open()
                if run.status not in ("running", "completed"):
                    message = f"Run {run.run_id!r} has {run.status}: {run.opened.get('error', '')}"
                    raise _errors.StateError(message)
                run.root.names = self.names
                self._run = run
        return self._run

    def read_run(self, run_id: str) -> dict[str, Any]:
        """Return how a run of this event's owner stands (`lambdallm_wire.runs.StoredRun`)."""
        message = {"run_id": run_id, "owner": self.owner_by(_owners.AUTHORIZER)}
        return self.work.control(routes.READ_RUN, message)

    def close_run(self, outcome: str, error: str) -> None:
        """End the run of this event's own steps.

        Raises:
            StateError: Not all of it is known to be stored.
        """
        run = self._run
        if run is not None and run.status == "running":
            run.close("completed" if outcome == "ok" else "failed", error=error)

    def name_run(self, name: str) -> str:
        """Return what a run is found by that its code has given no id: a second one has its own.

        One within a step is named after the step: when that is finished, and left out, the runs
        behind it are called as before.
        """
        scope = scope_here()
        if scope is None:
            return self._name_event_run(name)
        identity = f"{scope.run.run_id}/{scope.child(f'{name}.run')}"
        return f"{name}/{_shortened(identity)}"

    def _name_event_run(self, name: str) -> str:
        place = self._named.place(name)
        of_asked = self.asked_run_id.startswith(f"{name}/")
        identity = _shortened(_identity_in(self.asked_run_id) if of_asked else self.event_identity)
        return f"{name}/{identity}{place.removeprefix(name)}"

    @property
    def event_identity(self) -> str:
        """What its event is known by when it comes again: all its runs are named after it.

        A caller that goes on with one run, and says nothing else, goes on with all of its event.

        Raises:
            InvalidRequestError: Its caller says what cannot be part of a key. To do without it
                would be to do everything a second time.
        """
        if self.identity_fault is not None and not self.identity:
            raise self.identity_fault
        return self.identity or _identity_in(self.asked_run_id) or self.work.work_id

    def owner_by(self, rule: Any) -> str:
        """Return whose this event's runs are, by what `Session(owner=…)` takes."""
        handled = next((each for each in _handled.here() if each.context is self), None)
        return _owners.owner_of(rule, None if handled is None else handled.event, self)


def _identity_in(run_id: str) -> str:
    """Return the identity of `name/identity`, or of `name/identity~2`."""
    return run_id.partition("/")[2].partition("~")[0]


def _shortened(identity: str) -> str:
    if len(identity) <= ID_MAX and "~" not in identity:
        return identity
    import hashlib

    return hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()


def scope_here() -> StepScope | None:
    """Return the step that is being done here; nobody loads its module without need."""
    import sys

    runs = sys.modules.get("lambdallm._runs")
    return None if runs is None else runs.here()
