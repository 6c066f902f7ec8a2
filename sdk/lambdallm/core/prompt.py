"""`lambdallm.core.prompt` of the earlier package."""

from lambdallm._prompt import Prompt

__all__ = ["Prompt"]
