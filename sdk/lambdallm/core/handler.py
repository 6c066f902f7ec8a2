"""`lambdallm.core.handler` of the earlier package."""

from lambdallm._handler import handler

__all__ = ["handler"]
