"""`lambdallm.state.session` of the earlier package."""

from lambdallm._messages import Message
from lambdallm._session import MemoryStrategy, Session

__all__ = ["MemoryStrategy", "Message", "Session"]
