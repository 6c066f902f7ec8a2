"""Who may call: an API key, or an authorizer in front that has said yes."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from lambdallm import _errors
from lambdallm._middleware import Middleware

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class AuthMiddleware(Middleware):
    """Refuses HTTP events that bring neither a known key nor an authorizer's word (401).

    Events of other kinds pass: whoever may invoke the function is decided by its policy.
    """

    def __init__(
        self,
        api_keys: Sequence[str] = (),
        *,
        header: str = "x-api-key",
        accept_authorizer: bool = False,
    ) -> None:
        """Set it up.

        Args:
            api_keys: Any of these lets a caller in; compared in constant time.
            header: Where the key is looked for; `authorization` may have `Bearer ` before it.
            accept_authorizer: Whether an authorizer's entry in the request context is enough.

        Raises:
            ConfigurationError: Nobody could ever come in.
        """
        if isinstance(api_keys, str) or not all(api_keys) or not (api_keys or accept_authorizer):
            message = "AuthMiddleware needs a list of api_keys, none empty, or accept_authorizer."
            raise _errors.ConfigurationError(message)
        self._keys = [key.encode() for key in api_keys]
        self._header = header.lower()
        self._accept_authorizer = accept_authorizer

    def before_invoke(self, event: Any, context: Any) -> Any:
        """Let the event pass, or refuse it.

        Raises:
            UnauthorizedError: Nothing in the event lets it in.
        """
        if not isinstance(event, dict) or not ("headers" in event or "requestContext" in event):
            return event
        if self._has_key(event) or (self._accept_authorizer and _authorizer(event)):
            return event
        message = f"No valid key came in {self._header!r}."
        raise _errors.UnauthorizedError(message)

    def _has_key(self, event: dict[str, Any]) -> bool:
        given = _header(event, self._header)
        if self._header == "authorization":
            given = given.removeprefix("Bearer ")
        # Every key is compared, so that the time taken does not tell which one was close.
        matches = [hmac.compare_digest(given.encode(), key) for key in self._keys]
        return any(matches)


def _header(event: dict[str, Any], wanted: str) -> str:
    for name, value in (event.get("headers") or {}).items():
        if str(name).lower() == wanted and value is not None:
            return str(value)
    for name, values in (event.get("multiValueHeaders") or {}).items():
        if str(name).lower() == wanted and values:
            return str(values[0])
    return ""


def _authorizer(event: dict[str, Any]) -> bool:
    request = event.get("requestContext")
    return isinstance(request, dict) and bool(request.get("authorizer"))
