"""Everything that can go wrong in a handler's use of lambdallm, as one tree.

    LambdaLLMError                 code                HTTP status of the function's response
    ├── InvalidRequestError        invalid_request     400  the event, or what was asked, is wrong
    ├── UnauthorizedError          unauthorized        401  AuthMiddleware let nobody in
    ├── DeadlineExceededError      deadline_exceeded   408  too little of the invocation is left
    ├── BudgetExceededError        budget_exceeded     429  the money is spent
    ├── RateLimitedError           rate_limited        429  ask more slowly
    ├── ConfigurationError         configuration       500  somebody must change a setting
    ├── SidecarError               sidecar             500  the engine could not do its own work
    ├── StateError                 state               500  the store refused or did not answer;
    │                                                  503  it says when to ask again
    ├── ModelInvocationError       model_invocation    502  a model's API refused or failed
    ├── ProviderError              model_invocation    502  the same, from a provider of one's own
    ├── OutputError                output              502  the model's answer is not usable
    └── ToolError                  tool                502  a tool failed

Catch at a branch. What the sidecar reports arrives as a problem (`lambdallm_wire.errors`) and is
rebuilt here from a closed table.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class LambdaLLMError(Exception):
    """Root of the tree.

    Attributes:
        code: One of a closed list; what programs look at.
        retryable: Whether the same call may succeed later.
        retry_after_seconds: How long to wait at least, where somebody said so.
        request_id: Of the party that failed, where it has one.
        source: Who failed: `lambdallm`, `store`, or a provider's name.
        partial_text: What a model had said when its stream failed.
    """

    code = "sidecar"
    status = 500
    partial_text = ""

    def __init__(
        self,
        message: str = "",
        *,
        retryable: bool = False,
        retry_after_seconds: float | None = None,
        request_id: str | None = None,
        source: str = "lambdallm",
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_seconds = retry_after_seconds
        self.request_id = request_id
        self.source = source

    @property
    def detail(self) -> str:
        """What happened and what to do."""
        return str(self.args[0]) if self.args else ""


class InvalidRequestError(LambdaLLMError):
    """The event or the call is not what it has to be. Nothing was asked and nothing was spent.

    Attributes:
        errors: One entry per field at fault: `{"field": "body.message", "detail": "is missing"}`.
    """

    code = "invalid_request"
    status = 400

    def __init__(
        self, message: str = "", *, errors: list[dict[str, str]] | None = None, **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.errors = errors or []


class UnauthorizedError(LambdaLLMError):
    """The event carries nothing that lets it in."""

    code = "unauthorized"
    status = 401


class DeadlineExceededError(LambdaLLMError):
    """Too little of the invocation is left. Raised before anything is spent where that is known."""

    code = "deadline_exceeded"
    status = 408


class BudgetExceededError(LambdaLLMError):
    """The money that was allowed is spent."""

    code = "budget_exceeded"
    status = 429


class RateLimitedError(LambdaLLMError):
    """More was asked in a time than was allowed."""

    code = "rate_limited"
    status = 429


class ConfigurationError(LambdaLLMError):
    """A setting is missing or wrong; the message names it."""

    code = "configuration"


class SidecarError(LambdaLLMError):
    """The sidecar went away or failed at its own work. A call that was sent may have happened."""


class StateError(LambdaLLMError):
    """The store refused or did not answer; the message says whether anything was written."""

    code = "state"

    @property
    def status(self) -> int:  # type: ignore[override]  # of each error, not of all
        """503 where waiting is known to help, 500 elsewhere."""
        return 500 if self.retry_after_seconds is None else 503


class ModelInvocationError(LambdaLLMError):
    """A model's API refused or failed, after every retry and the fallback."""

    code = "model_invocation"
    status = 502

    def __init__(self, message: str = "", retryable: bool = True, **facts: Any) -> None:
        super().__init__(message, retryable=retryable, **facts)


class ProviderError(LambdaLLMError):
    """A provider that the user's own code supplies has failed."""

    code = "model_invocation"
    status = 502


class OutputError(LambdaLLMError):
    """The model's answer is not what was asked for. It is paid for.

    Attributes:
        raw_text: The answer as it came.
        errors: One entry per field at fault, as of `InvalidRequestError`; what a class of the
            user's own has said of it under `said`.
        finish_reason: `content_filter` where the model refused, `length` where its answer was cut.
    """

    code = "output"
    status = 502

    def __init__(
        self,
        message: str = "",
        *,
        raw_text: str = "",
        errors: list[dict[str, str]] | None = None,
        finish_reason: str = "",
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.raw_text = self.partial_text = raw_text
        self.errors = errors or []
        self.finish_reason = finish_reason


class ToolError(LambdaLLMError):
    """A tool that the model called has failed."""

    code = "tool"
    status = 502


TimeoutError = DeadlineExceededError  # noqa: A001 - the earlier package's name
"""The earlier package's name of `DeadlineExceededError`."""

CLASSES: dict[str, type[LambdaLLMError]] = {
    "configuration": ConfigurationError,
    "invalid_request": InvalidRequestError,
    "unauthorized": SidecarError,
    "forbidden": SidecarError,
    "not_found": SidecarError,
    "too_large": InvalidRequestError,
    "sidecar": SidecarError,
    "model_invocation": ModelInvocationError,
    "budget_exceeded": BudgetExceededError,
    "rate_limited": RateLimitedError,
    "state": StateError,
    "output": OutputError,
    "tool": ToolError,
    "deadline_exceeded": DeadlineExceededError,
}
"""A problem's code to the class it becomes.

`unauthorized`, `forbidden` and `not_found` are said by the sidecar to the SDK, never to the
function's own caller, so they must not become a 401, 403 or 404 of the function.
"""


def from_problem(problem: Mapping[str, Any]) -> LambdaLLMError:
    """Rebuild an error from what travelled; an unknown code becomes a `SidecarError`."""
    kind = CLASSES.get(str(problem.get("code")), SidecarError)
    return kind(
        str(problem.get("detail") or "The sidecar gave no reason."),
        retryable=bool(problem.get("retryable", False)),
        retry_after_seconds=problem.get("retry_after_seconds"),
        request_id=problem.get("request_id"),
        source=str(problem.get("source") or "lambdallm"),
    )
