"""`lambdallm.middleware.base` of the earlier package."""

from lambdallm._middleware import Middleware

__all__ = ["Middleware"]
