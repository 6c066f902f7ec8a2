"""What a session's object has and its engine has not: messages, metadata, that all is forgotten."""

from __future__ import annotations

from _thread import allocate_lock

from lambdallm import _errors
from lambdallm._forked_locks import ForkedLock
from lambdallm._metadata import Metadata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm._messages import Message
    from lambdallm._work import Work


class Outbox:
    """Outgoing changes of one session. Threads may share it.

    Attributes:
        work: The unit of work that takes them, None before there is one.
        asking: The unit whose model calls lead to what is said; by default the same.
        metadata: The session's.
    """

    def __init__(self, metadata: dict[str, Any] | None = None) -> None:
        """Begin with metadata that nobody has handed over."""
        self.work: Work | None = None
        self.asking: Work | None = None
        self.metadata = Metadata(metadata)
        self._messages: list[Message] = []
        self._clear = False
        self._lock = ForkedLock(allocate_lock)

    def add(self, message: Message) -> None:
        """Hand a message over, or keep it until there is somebody to take it.

        Raises:
            InvalidRequestError: It was refused, and is not kept.
            TypeError: The metadata is no dict, or holds what JSON cannot; the same.
        """
        with self._lock:
            keys = self.metadata.to_send()
            self._messages.append(message)
            if self.work is None:
                return
            try:
                self._send(self.work, keys)
            except _errors.InvalidRequestError:
                self._messages.remove(message)
                raise

    def clear(self) -> None:
        """Forget what was said, here and in the store."""
        with self._lock:
            self._messages, self._clear = [], True
            if self.work is not None:
                self._send(self.work, [])

    def found(self, stored: dict[str, Any], *, exists: bool) -> None:
        """Take in a stored session's metadata, see `Metadata.found`."""
        with self._lock:
            self.metadata.found(stored, exists=exists)

    def send_changes(self, work: Work) -> None:
        """Hand over what was not yet, if there is any.

        Raises:
            InvalidRequestError: It was refused.
            TypeError: The metadata is no dict, or holds what JSON cannot.
        """
        with self._lock:
            keys = self.metadata.to_send()
            if self._messages or self._clear or keys:
                self._send(work, keys)

    def _send(self, work: Work, keys: list[str]) -> None:
        said = [message.to_turn() for message in self._messages]
        self._name_calls(said, self.asking or work)
        named = {"metadata_keys": keys}
        defaults = self.metadata.defaults_of(keys)
        if defaults:
            named["metadata_defaults"] = defaults
        metadata = self.metadata.value if keys else None
        work.append(said, metadata=metadata, clear=self._clear, **named)
        self._messages, self._clear = [], False
        if keys:
            self.metadata.handed_over()

    def _name_calls(self, said: list[dict[str, Any]], asking: Work) -> None:
        """Write down which model calls led to an answer, so that they can be deleted with it."""
        if not said or said[-1]["role"] != "assistant":
            return
        said[-1].update(asking.lengths.of(said[-1]["content"]))
        said[-1].update(asking.lengths.take_ids())
