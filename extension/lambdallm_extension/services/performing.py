"""Calls that are left to their callers, whose own providers are classes in the function's package.

candidate ──► one without a provider ──► PerformNeeded ──► leave ──► Perform, to the caller
Performed ──► performed ──► it answered: `book`
                       └──► it failed: `go_on`, with the same one again or with who is next
"""

from __future__ import annotations

from threading import Lock

from lambda_runtime_api.declarations import NamedTuple, cast
from lambdallm_extension import errors
from lambdallm_extension.services.model_health import Candidate
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from lambdallm_extension.configuration import Configuration
    from lambdallm_extension.domain.routing import Wanted
    from lambdallm_extension.model_ports import Models
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.services.attempts import Attempts
    from lambdallm_extension.services.calls import Call
    from lambdallm_wire.chat import Perform, Performed, Usage

OWN = "own"
"""The kind of a provider that is a class in the function's package."""

PENDING_MAX = 256
"""Calls that a caller's own providers are answering; the oldest makes way."""

ANSWERED_BY_ITSELF = 200

NOT_PERFORMED = "NotPerformed"
"""How a call ends whose caller was to ask its own provider, and never said what came of it."""


class PerformNeeded(BaseException):
    """The caller itself has to ask the candidate. No failure, so nobody catches it as one."""


class Left(NamedTuple):
    """A call that waits for its caller.

    Attributes:
        call: In the books.
        attempts: Whose candidate the caller is to ask.
        deadline_ms: No use for an answer after this (epoch milliseconds).
        read: Makes an answer of the caller's message; raises ProviderError where it is none.
        book: Books that answer, and returns the reply to the caller.
        go_on: Asks on after a failure, until this deadline, and returns the reply to the caller.
    """

    call: Call
    attempts: Attempts
    deadline_ms: int
    read: Callable[[Performed], Any]
    book: Callable[[Any], Any]
    go_on: Callable[[int], Any]


class Performing:
    """Knows who is asked by the caller, and which calls wait for that. Threads share it."""

    def __init__(self, models: Models, clock: Clock, configuration: Configuration) -> None:
        """Stand on these; see `services.chat.Chat`."""
        self._models = models
        self._clock = clock
        self._configuration = configuration
        self._lock = Lock()
        self._left: dict[str, Left] = {}

    def candidate(self, wanted: Wanted, own_providers: Iterable[str] | None) -> Candidate:
        """Return who answers for a model, without a provider where the caller itself does.

        Args:
            wanted: The model.
            own_providers: Names that the caller has registered.

        Raises:
            SettingError: Nobody answers for it.
        """
        name, slash, model_id = wanted.model.partition("/")
        configured = self._configuration.providers.get(name)
        own = name in (own_providers or ()) or (configured is not None and configured.kind == OWN)
        if slash and own:
            return Candidate(wanted.model, model_id, None, name, wanted.region, wanted.parameters)
        provider, model_id = self._models.find(wanted.model)
        return Candidate(
            wanted.model, model_id, provider, provider.name, wanted.region, wanted.parameters
        )

    def leave(self, left: Left, asked: Perform) -> dict[str, Perform]:
        """Keep a call until its caller comes back, and return what the caller is to do.

        Args:
            left: The call.
            asked: What the caller has to know beyond whom to ask, and until when.
        """
        candidate = left.attempts.candidate
        self._give_up(self._keep(left))
        configured = self._configuration.providers.get(candidate.provider_name)
        perform: Perform = {
            "call_id": left.call.call_id,
            "provider": candidate.provider_name,
            "model_id": candidate.model_id,
            "class_name": configured.class_name if configured is not None else "",
            "deadline_epoch_ms": left.deadline_ms,
            **asked,
        }
        return {"perform": perform}

    def performed(self, message: Performed, *, deadline_ms: int) -> Any:
        """Take what a caller's own provider has answered, or go on where it failed.

        Returns:
            The reply to what the caller has asked first, or the next `Perform`.

        Raises:
            InvalidRequestError: Nobody was asked to perform this call.
            ProviderError: It failed, and there is no other to ask.
        """
        with self._lock:
            left = self._left.pop(message["call_id"], None)
        if left is None:
            reason = f"No call {message['call_id']!r} waits for its own provider."
            raise errors.InvalidRequestError(reason)
        try:
            answer = _read(left, message)
        except errors.ProviderError as error:
            try:
                left.attempts.failed(error)
            except errors.ProviderError as hopeless:
                left.call.fail(left.attempts.candidate.model, hopeless)
                raise
            return left.go_on(min(left.deadline_ms, deadline_ms))
        left.attempts.succeeded()
        return left.book(answer)

    def give_up(self, *, all_: bool) -> None:
        """Book the calls that nobody will come back for: what they have reserved is let go."""
        now_ms = self._clock.epoch_ms()
        with self._lock:
            gone = [name for name, each in self._left.items() if all_ or each.deadline_ms < now_ms]
            given_up = [self._left.pop(name) for name in gone]
        self._give_up(given_up)

    def _give_up(self, calls: Iterable[Left]) -> None:
        for left in calls:
            lost = errors.ProviderError("Nobody said what came of it.", kind=NOT_PERFORMED)
            left.call.fail(left.attempts.candidate.model, lost)

    def _keep(self, left: Left) -> list[Left]:
        """Keep a call; return those that nobody will come back for."""
        now_ms = self._clock.epoch_ms()
        with self._lock:
            gone = [name for name, each in self._left.items() if each.deadline_ms < now_ms]
            if len(self._left) - len(gone) >= PENDING_MAX:
                gone.append(next(name for name in self._left if name not in gone))
            given_up = [self._left.pop(name) for name in gone]
            self._left[left.call.call_id] = left
        return given_up


def usage_of(message: Performed) -> Usage:
    """Return the counts that a caller has said; those that nobody knows here are left out."""
    said = cast("dict[str, int]", message.get("usage") or {})
    return cast("Usage", {kind: said.get(kind, 0) for kind in NO_USAGE})


def _read(left: Left, message: Performed) -> Any:
    problem = message.get("problem")
    if problem is None:
        return left.read(message)
    sent = bool(cast("dict[str, Any]", problem).get("sent", False))
    raise errors.ProviderError(
        str(problem.get("detail", "The provider failed.")),
        status=ANSWERED_BY_ITSELF if sent else int(problem.get("status", 500)),
        kind=str(problem.get("title") or "OwnProviderError"),
        retryable=problem.get("retryable") is True,
        retry_after_seconds=problem.get("retry_after_seconds"),
        sent=sent,
        source=left.attempts.candidate.provider_name,
    )
