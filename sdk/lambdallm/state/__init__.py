"""The earlier package's import paths for sessions."""

from lambdallm._session import MemoryStrategy, Session

__all__ = ["MemoryStrategy", "Session"]
