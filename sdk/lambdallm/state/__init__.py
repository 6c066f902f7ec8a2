"""The earlier package's import paths for sessions."""

from lambdallm._memory import MemoryStrategy
from lambdallm._session import Session

__all__ = ["MemoryStrategy", "Session"]
