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
    from lambdallm._async_streaming import AsyncChatStream
    from lambdallm._callbacks import approve, complete_callback, reject
    from lambdallm._chain import Chain
    from lambdallm._chain_parts import Loop, Map, Parallel, Step
    from lambdallm._chain_results import ChainResult, StepResult
    from lambdallm._chain_waits import Approval, Callback
    from lambdallm._chunks import StreamingResponse
    from lambdallm._context import LambdaLLMContext
    from lambdallm._embeddings import Embeddings
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
    from lambdallm._idempotent import idempotent
    from lambdallm._memory import MemoryStrategy
    from lambdallm._messages import ChatResponse, Message, ToolCall
    from lambdallm._middleware import Middleware
    from lambdallm._models import Model, ModelConfig, ModelResponse
    from lambdallm._prompt import Prompt
    from lambdallm._session import Session
    from lambdallm._sse import sse
    from lambdallm._stream_handler import stream_handler
    from lambdallm._streaming import ChatStream

__version__ = "0.1.0"

_MODULES = {
    "Approval": "_chain_waits",
    "AsyncChatStream": "_async_streaming",
    "BudgetExceededError": "_errors",
    "Callback": "_chain_waits",
    "Chain": "_chain",
    "ChainResult": "_chain_results",
    "ChatResponse": "_messages",
    "ChatStream": "_streaming",
    "ConfigurationError": "_errors",
    "DeadlineExceededError": "_errors",
    "Embeddings": "_embeddings",
    "InvalidRequestError": "_errors",
    "LambdaLLMContext": "_context",
    "LambdaLLMError": "_errors",
    "Loop": "_chain_parts",
    "Map": "_chain_parts",
    "MemoryStrategy": "_memory",
    "Message": "_messages",
    "Middleware": "_middleware",
    "Model": "_models",
    "ModelConfig": "_models",
    "ModelInvocationError": "_errors",
    "ModelResponse": "_models",
    "OutputError": "_errors",
    "Parallel": "_chain_parts",
    "Prompt": "_prompt",
    "ProviderError": "_errors",
    "RateLimitedError": "_errors",
    "Session": "_session",
    "SidecarError": "_errors",
    "StateError": "_errors",
    "Step": "_chain_parts",
    "StepResult": "_chain_results",
    "StreamingResponse": "_chunks",
    "TimeoutError": "_errors",
    "ToolCall": "_messages",
    "ToolError": "_errors",
    "UnauthorizedError": "_errors",
    "approve": "_callbacks",
    "complete_callback": "_callbacks",
    "handler": "_handler",
    "idempotent": "_idempotent",
    "reject": "_callbacks",
    "sse": "_sse",
    "stream_handler": "_stream_handler",
}
"""Public name to the module that holds it."""

__all__ = [
    "Approval",
    "AsyncChatStream",
    "BudgetExceededError",
    "Callback",
    "Chain",
    "ChainResult",
    "ChatResponse",
    "ChatStream",
    "ConfigurationError",
    "DeadlineExceededError",
    "Embeddings",
    "InvalidRequestError",
    "LambdaLLMContext",
    "LambdaLLMError",
    "Loop",
    "Map",
    "MemoryStrategy",
    "Message",
    "Middleware",
    "Model",
    "ModelConfig",
    "ModelInvocationError",
    "ModelResponse",
    "OutputError",
    "Parallel",
    "Prompt",
    "ProviderError",
    "RateLimitedError",
    "Session",
    "SidecarError",
    "StateError",
    "Step",
    "StepResult",
    "StreamingResponse",
    "TimeoutError",
    "ToolCall",
    "ToolError",
    "UnauthorizedError",
    "__version__",
    "approve",
    "complete_callback",
    "handler",
    "idempotent",
    "reject",
    "sse",
    "stream_handler",
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
