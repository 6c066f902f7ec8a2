"""`lambdallm.core.context` of the earlier package."""

from lambdallm._context import LambdaLLMContext, Metrics

__all__ = ["LambdaLLMContext", "Metrics"]
