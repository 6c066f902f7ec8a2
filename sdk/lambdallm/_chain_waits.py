"""Steps that somebody else finishes: a person, or a program that was given a token."""

from __future__ import annotations

from lambdallm import _errors
from lambdallm._chain_parts import Part, fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DAY_SECONDS = 86_400
EXPIRES_MAX_SECONDS = 366 * DAY_SECONDS
"""A run is kept as long as its wait: for good would be for nobody to delete."""


class Callback(Part):
    """A wait for somebody else's answer, which becomes its output; the function ends meanwhile.

    `ChainResult.waits` has a token, with which `lambdallm.complete_callback` finishes it.
    """

    kind = "callback"

    def __init__(
        self,
        name: str,
        message: str = "",
        expires_in: float = DAY_SECONDS,
        notify: Callable[[str, dict[str, Any]], Any] | None = None,
        condition: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        """Declare it.

        Args:
            name: As of a `Step`.
            message: A template, as a prompt: what is to be done.
            expires_in: Seconds; nobody can finish it later, and the chain fails there.
            notify: Called once with the token and what a `func` gets: sends it to whom it concerns.
            condition: As of a `Step`.
        """
        super().__init__(name, condition)
        given: Any = expires_in
        if not (isinstance(given, (int, float)) and 0 < given <= EXPIRES_MAX_SECONDS):
            message = (
                f"{type(self).__name__} {name!r}: expires_in={expires_in!r} is no number of "
                f"seconds from 0 to {EXPIRES_MAX_SECONDS:,}, a year."
            )
            raise fault(message)
        self.message = message
        self.expires_in = expires_in
        self.notify = notify

    def definition(self) -> dict[str, Any]:
        """Return what makes its output what it is, as JSON."""
        return {**super().definition(), "message": self.message}

    def check(self, answer: Any) -> None:
        """Take any answer."""


class Approval(Callback):
    """A wait for a person's yes or no: its output is `{"approved": …, "by": …, "comment": …}`.

    A no ends the chain as failed, unless `on_rejection="continue"`.
    """

    kind = "approval"

    def __init__(
        self,
        name: str,
        message: str = "",
        expires_in: float = DAY_SECONDS,
        notify: Callable[[str, dict[str, Any]], Any] | None = None,
        condition: Callable[[dict[str, Any]], Any] | None = None,
        *,
        on_rejection: str = "fail",
    ) -> None:
        """Declare it; see `Callback`."""
        super().__init__(name, message, expires_in, notify, condition)
        if on_rejection not in ("fail", "continue"):
            message = f"Approval {name!r}: on_rejection={on_rejection!r} is fail or continue."
            raise fault(message)
        self.on_rejection = on_rejection

    def check(self, answer: Any) -> None:
        """Raise what a no is for the chain.

        Raises:
            StateError: Somebody has said no, and the chain ends with it.
        """
        if self.on_rejection == "fail" and not answer["approved"]:
            said = f": {answer['comment']}" if answer.get("comment") else "."
            message = f"{answer.get('by') or 'Somebody'} has said no{said}"
            raise _errors.StateError(message)
