"""One line per invocation, for people: how it went, how long it took, what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdallm import _events, _log, _settings
from lambdallm._middleware import Middleware

if TYPE_CHECKING:
    from typing import Any

_LEVELS = ((40, "ERROR"), (30, "WARNING"), (20, "INFO"), (0, "DEBUG"))


class LoggingMiddleware(Middleware):
    """Writes one JSON line to stderr when a handler has ended. Never prompt or answer text."""

    def __init__(self, log_prompts: bool = False, log_level: int = 20) -> None:
        """Set it up.

        Args:
            log_prompts: Add the SHA-256 of the request's body, which finds the same request
                again; the text itself is never written.
            log_level: Of the line, in the numbers of `logging`. Failures are at least ERROR.
        """
        self.log_prompts = log_prompts
        self.log_level = log_level

    def before_invoke(self, event: Any, context: Any) -> Any:
        """Note the time."""
        context.metrics.record("logging.started_s", _settings.monotonic())
        return event

    def after_invoke(self, event: Any, result: Any, context: Any) -> Any:
        """Write the line of an invocation that went well."""
        self._write(self.log_level, "The handler has answered.", event, context)
        return result

    def on_error(self, event: Any, error: Exception, context: Any) -> None:
        """Write the line of one that failed."""
        facts = {"error": type(error).__name__, "code": getattr(error, "code", None)}
        self._write(max(40, self.log_level), "The handler has failed.", event, context, **facts)

    def _write(self, level: int, message: str, event: Any, context: Any, **facts: Any) -> None:
        started = context.metrics.get("logging.started_s")
        elapsed = 0.0 if started is None else _settings.monotonic() - started
        if self.log_prompts:
            facts["body_sha256"] = _fingerprint(event, context)
        _log.write(
            next(name for least, name in _LEVELS if level >= least),
            message,
            function=getattr(context, "function_name", None),
            request_id=context.work.request_id,
            duration_ms=round(elapsed * 1_000, 1),
            model_calls=context.metrics.get("model.invocations") or 0,
            cost_usd=context.total_cost,
            unpriced_calls=context.unpriced_calls,
            **facts,
        )


def _fingerprint(event: Any, context: Any) -> str | None:
    from hashlib import sha256

    text = context.raw_body
    if text is None and isinstance(event, dict):
        text = event.get("body")
    if isinstance(text, (_events.JsonObject, _events.JsonArray)):
        text = text.text
    return sha256(text.encode()).hexdigest() if isinstance(text, str) else None
