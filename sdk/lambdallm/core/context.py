"""`lambdallm.core.context` of the earlier package."""

from lambdallm._context import LambdaLLMContext
from lambdallm._metrics import Metrics

__all__ = ["LambdaLLMContext", "Metrics"]
