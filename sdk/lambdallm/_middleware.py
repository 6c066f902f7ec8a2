"""What may run around every handler."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Middleware:
    """Runs around a handler: `before_invoke` in the order given, the others in reverse.

    Each method may be overridden. An error in `before_invoke` or `after_invoke` becomes the
    invocation's; one in `on_error` is logged.
    """

    def before_invoke(self, event: Any, context: Any) -> Any:
        """Return the event that the handler gets; None leaves it as it is."""
        return event

    def after_invoke(self, event: Any, result: Any, context: Any) -> Any:
        """Return what the handler's result becomes."""
        return result

    def on_error(self, event: Any, error: Exception, context: Any) -> None:
        """Hear that the handler, or another middleware, raised."""
