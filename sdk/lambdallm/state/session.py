"""`lambdallm.state.session` of the earlier package."""

from lambdallm._memory import MemoryStrategy
from lambdallm._messages import Message
from lambdallm._session import Session

__all__ = ["MemoryStrategy", "Message", "Session"]
