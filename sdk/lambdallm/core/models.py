"""`lambdallm.core.models` of the earlier package."""

from lambdallm._models import Model, ModelConfig, ModelResponse

__all__ = ["Model", "ModelConfig", "ModelResponse"]
