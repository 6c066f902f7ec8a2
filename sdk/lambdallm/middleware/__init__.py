"""What may run around a handler."""

from __future__ import annotations

from lambdallm._middleware import Middleware
from lambdallm.middleware.auth import AuthMiddleware
from lambdallm.middleware.cost import CostTrackingMiddleware
from lambdallm.middleware.logging import LoggingMiddleware

__all__ = ["AuthMiddleware", "CostTrackingMiddleware", "LoggingMiddleware", "Middleware"]
