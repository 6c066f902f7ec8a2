"""`lambdallm.core.exceptions` of the earlier package."""

from lambdallm._errors import (
    BudgetExceededError,
    ConfigurationError,
    LambdaLLMError,
    ModelInvocationError,
    ProviderError,
    StateError,
    TimeoutError,  # noqa: A004 - the earlier package's name
)

__all__ = [
    "BudgetExceededError",
    "ConfigurationError",
    "LambdaLLMError",
    "ModelInvocationError",
    "ProviderError",
    "StateError",
    "TimeoutError",
]
