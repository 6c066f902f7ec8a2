"""What a coroutine calls of a session: each does as its twin, while other coroutines run."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from typing_extensions import Self

    from lambdallm._messages import Message

    T = TypeVar("T")


class AsyncTwins:
    """The asynchronous part of `Session`."""

    async def aload(
        self,
        session_id: str | None = None,
        *,
        owner: str | None = None,
        after: str | None = None,
    ) -> Self:
        """Do as `load`, while other coroutines run."""
        session: Any = self
        await _in_thread(lambda: session.load(session_id, owner=owner, after=after))
        return self

    async def amessages(self: Any) -> list[Message]:
        """Return `messages`, while other coroutines run: the first look waits for the store."""
        return await _in_thread(lambda: self.messages)

    async def asave(self: Any) -> None:
        """Do as `save`, while other coroutines run."""
        await _in_thread(self.save)

    async def aclose(self: Any) -> None:
        """Do as `close`, while other coroutines run."""
        await _in_thread(self.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self: Any, *error: Any) -> None:
        await _in_thread(lambda: self.__exit__(*error))


async def _in_thread(call: Callable[[], T]) -> T:
    from lambdallm import _async

    return await _async.in_thread(call)
