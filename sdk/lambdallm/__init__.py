"""LLM handlers on AWS Lambda: what the function's code says.

    from lambdallm import handler, Session

    @handler(session=Session(ttl_hours=24))
    def chat(event, context):
        session = context.session
        session.add_message("user", event["body"]["message"])
        reply = context.invoke(session.format_history())
        session.add_message("assistant", reply)
        return {"reply": reply}

Importing this package loads nothing but itself; every name is loaded when it is first used.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm._context import LambdaLLMContext
    from lambdallm._errors import (
        BudgetExceededError,
        ConfigurationError,
        DeadlineExceededError,
        InvalidRequestError,
        LambdaLLMError,
        ModelInvocationError,
        OutputError,
        ProviderError,
        RateLimitedError,
        SidecarError,
        StateError,
        TimeoutError,  # noqa: A004 - the earlier package's name
        ToolError,
        UnauthorizedError,
    )
    from lambdallm._handler import handler
    from lambdallm._messages import ChatResponse, Message
    from lambdallm._middleware import Middleware
    from lambdallm._models import Model, ModelConfig, ModelResponse
    from lambdallm._session import MemoryStrategy, Session

__version__ = "0.1.0"

_MODULES = {
    "BudgetExceededError": "_errors",
    "ChatResponse": "_messages",
    "ConfigurationError": "_errors",
    "DeadlineExceededError": "_errors",
    "InvalidRequestError": "_errors",
    "LambdaLLMContext": "_context",
    "LambdaLLMError": "_errors",
    "MemoryStrategy": "_session",
    "Message": "_messages",
    "Middleware": "_middleware",
    "Model": "_models",
    "ModelConfig": "_models",
    "ModelInvocationError": "_errors",
    "ModelResponse": "_models",
    "OutputError": "_errors",
    "ProviderError": "_errors",
    "RateLimitedError": "_errors",
    "Session": "_session",
    "SidecarError": "_errors",
    "StateError": "_errors",
    "TimeoutError": "_errors",
    "ToolError": "_errors",
    "UnauthorizedError": "_errors",
    "handler": "_handler",
}
"""Public name to the module that holds it."""

__all__ = [
    "BudgetExceededError",
    "ChatResponse",
    "ConfigurationError",
    "DeadlineExceededError",
    "InvalidRequestError",
    "LambdaLLMContext",
    "LambdaLLMError",
    "MemoryStrategy",
    "Message",
    "Middleware",
    "Model",
    "ModelConfig",
    "ModelInvocationError",
    "ModelResponse",
    "OutputError",
    "ProviderError",
    "RateLimitedError",
    "Session",
    "SidecarError",
    "StateError",
    "TimeoutError",
    "ToolError",
    "UnauthorizedError",
    "__version__",
    "handler",
]


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        message = f"module 'lambdallm' has no attribute {name!r}"
        raise AttributeError(message)
    import importlib

    value = getattr(importlib.import_module(f"lambdallm.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
