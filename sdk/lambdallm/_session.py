"""A conversation that outlives the function: as it is declared, and as a handler holds it.

declared   Session(ttl_hours=24)            once, at the top of a module; never changed
live       context.session                  one per invocation, bound to its unit of work
by hand    Session().load("id") … save()    in a script, with a unit of work of its own
"""

from __future__ import annotations

import json
from enum import Enum

from lambdallm import _errors, _events, _log, _settings
from lambdallm._messages import History, Message
from lambdallm._work import Work
from lambdallm_wire import turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_wire.sessions import Memory, SessionRule

DURABILITIES = ("before_response", "after_response")

SCRIPT_SECONDS = 900
"""Time allowed to a session used by hand: as long as the longest invocation."""

_warned_of_memory = False


class MemoryStrategy(Enum):
    """Which messages of a long conversation a handler sees."""

    FULL_HISTORY = "full_history"
    SLIDING_WINDOW = "sliding_window"
    SUMMARY = "summary"
    SEMANTIC = "semantic"

    @classmethod
    def SLIDING_WINDOW_N(cls, max_messages: int = 20) -> SlidingWindow:  # noqa: N802 - the earlier package's name
        """Return a sliding window of that many messages."""
        return SlidingWindow(max_messages)


class SlidingWindow:
    """The last `max_messages` messages."""

    def __init__(self, max_messages: int = 20) -> None:
        self.max_messages = max_messages
        self.strategy = "sliding_window"


class Session:
    """A conversation.

    Outside an invocation it keeps messages in this object; `load` and `save` go to the store.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the earlier package's signature
        self,
        store: str = "dynamodb",
        ttl_hours: float = 24,
        memory: MemoryStrategy | SlidingWindow = MemoryStrategy.SLIDING_WINDOW,
        max_messages: int = 20,
        session_id: str | None = None,
        messages: list[Message] | None = None,
        metadata: dict[str, Any] | None = None,
        durability: str = "before_response",
    ) -> None:
        """Declare it.

        Args:
            store: What the session was written for. Where it lies is said by LAMBDALLM_STORE.
            ttl_hours: From its last message until it is unreadable.
            memory: Which messages come back. SUMMARY and SEMANTIC are a sliding window for now.
            max_messages: Length of the sliding window.
            session_id: For events that name none.
            messages: To begin with; they are not stored.
            metadata: To begin with; a stored session's own takes its place.
            durability: `before_response` waits for the store before the response leaves,
                `after_response` does not.
        """
        if durability not in DURABILITIES:
            message = f"durability={durability!r}: use {' or '.join(map(repr, DURABILITIES))}."
            raise _errors.ConfigurationError(message)
        self.store = store
        self.ttl_hours = ttl_hours
        self.memory = memory
        self.max_messages = max_messages
        self.session_id = session_id
        self.durability = durability
        self._messages = list(messages or [])
        self._metadata = {} if metadata is None else metadata
        self._metadata_stored = _canonical(self._metadata)
        self._unsent: list[Message] = []
        self._work: Work | None = None
        self._owns_work = False
        self._slid = False
        self._read = True

    def open(self, work: Work, session_id: str) -> Session:
        """Return a live copy, bound to a unit of work that was begun with its rule."""
        live = Session(
            self.store,
            self.ttl_hours,
            self.memory,
            self.max_messages,
            session_id,
            [Message.from_dict(_copied(each.to_dict())) for each in self._messages],
            _copied(self._metadata),
            self.durability,
        )
        live._work = work
        live._read = False
        return live

    def rule(self, session_id: str, identity: str) -> SessionRule:
        """Return what `begin` is told of it (`lambdallm_wire.sessions.SessionRule`)."""
        return {
            "session_id": session_id,
            "identity": identity,
            "ttl_seconds": max(1, round(self.ttl_hours * 3_600)),
            "memory": self._memory(),
            "durability": self.durability,  # type: ignore[typeddict-item]  # checked in __init__
        }

    # Reading

    @property
    def messages(self) -> list[Message]:
        """What this handler sees of the conversation, its own messages last."""
        self._ensure_read()
        return self._messages

    @property
    def metadata(self) -> dict[str, Any]:
        """What is kept beside the messages. Changes in it are noticed and saved."""
        self._ensure_read()
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: dict[str, Any]) -> None:
        self._ensure_read()
        self._metadata = metadata

    @property
    def message_count(self) -> int:
        """How many messages `messages` holds."""
        return len(self.messages)

    @property
    def last_message(self) -> Message | None:
        """The newest message, None without any."""
        return self.messages[-1] if self.messages else None

    def get_history(self) -> list[dict[str, Any]]:
        """Return the messages as `{"role": …, "content": …}`."""
        return [{"role": each.role, "content": each.content} for each in self.messages]

    def format_history(self) -> History:
        """Return the conversation as text; `context.invoke` takes it with its roles."""
        return History(self.get_history())

    def load(self, session_id: str) -> Session:
        """Read the session of that id; one that does not exist is empty.

        In a handler whose event named the same session this reads nothing again.

        Raises:
            InvalidRequestError: It is no id.
            StateError: The store did not answer. Nothing is known about the session.
        """
        if self._work is None or self._owns_work or session_id != self.session_id:
            self._begin_own_work(session_id)
        self._ensure_read()
        return self

    # Writing

    def add_message(self, role: str, content: Any, **metadata: Any) -> None:
        """Add a message. In a handler it is on its way to the store when this returns.

        Args:
            role: `user`, `assistant` or `system`.
            content: Text, or a list of blocks in the form of Bedrock's Converse.
            **metadata: Stored beside it.

        Raises:
            InvalidRequestError: It is none of this, no JSON, or too long to be kept. It was not
                added.
        """
        message = Message(role, content, metadata=metadata)
        fault = turns.fault_of(message.to_turn())
        if fault is not None:
            raise _errors.InvalidRequestError(fault)
        self._messages.append(message)
        self._unsent.append(message)
        if self._read:
            self._slide()
        if self._work is not None:
            self._send()

    def clear(self) -> None:
        """Forget all messages, the stored ones too."""
        self._messages, self._unsent, self._read = [], [], True
        if self._work is not None:
            self._work.append([], metadata=None, clear=True)

    def save(self) -> None:
        """Wait until the store has confirmed every message.

        Raises:
            ConfigurationError: It has no id, so that nobody could find it again.
            StateError: The store did not confirm; the message says what is known.
        """
        if self._work is None:
            if not self.session_id:
                message = "This session has no id: load(id) it, or set session_id."
                raise _errors.ConfigurationError(message)
            self._begin_own_work(self.session_id, keep=True)
        self.send_changes()
        assert self._work is not None  # noqa: S101 - _begin_own_work has set it or raised
        self._work.save()

    def send_changes(self) -> None:
        """Hand over what was not yet: changed metadata, messages of before the first `save`."""
        if self._unsent or (self._read and _canonical(self._metadata) != self._metadata_stored):
            self._send()

    def finish(self, outcome: str) -> None:
        """At the end of a handler: hand over the changes, and end what was loaded beside.

        Raises:
            StateError: The store did not confirm what this session wrote under its own work.
        """
        if outcome == "ok":
            self.send_changes()
        if self._work is not None and self._owns_work:
            self._work.end(outcome, "", 0.0)

    def _begin_own_work(self, session_id: str, *, keep: bool = False) -> None:
        if not _events.is_id(session_id):
            message = "A session id is 1 to 256 printable ASCII characters without '#'."
            raise _errors.InvalidRequestError(message)
        deadline = _settings.epoch_ms() + SCRIPT_SECONDS * 1_000
        if self._work is not None and not self._owns_work:
            deadline = self._work.deadline_epoch_ms
        if self._work is not None and self._owns_work:
            work, self._work = self._work, None
            work.end("ok", "", 0.0)
        work_id = f"session-{_settings.random_id()}"
        work = Work(work_id, work_id, deadline)
        work.begin(self.rule(session_id, work_id))
        self.session_id = session_id
        self._work, self._owns_work = work, True
        if not keep:
            self._messages, self._unsent, self._metadata = [], [], {}
        self._read = keep

    def _ensure_read(self) -> None:
        if self._read or self._work is None:
            return
        window = self._work.window()
        self._messages[:0] = [Message.from_turn(turn) for turn in window["turns"]]
        if window["version"]:
            self._metadata = window["metadata"]
        self._metadata_stored = _canonical(window["metadata"])
        self._read = True
        self._slide()

    def _send(self) -> None:
        assert self._work is not None  # noqa: S101 - callers have looked
        metadata = None
        if self._read:
            canonical = _canonical(self._metadata)
            if canonical != self._metadata_stored:
                metadata, self._metadata_stored = self._metadata, canonical
        unsent = [message.to_turn() for message in self._unsent]
        self._work.append(unsent, metadata=metadata, clear=False)
        self._unsent = []

    def _memory(self) -> Memory:
        if self.memory == MemoryStrategy.FULL_HISTORY:
            return {"strategy": "full_history"}
        if self.memory in (MemoryStrategy.SUMMARY, MemoryStrategy.SEMANTIC):
            _warn_of_memory(self.memory)
        return {"strategy": "sliding_window", "max_messages": self._window_length()}

    def _window_length(self) -> int:
        if isinstance(self.memory, SlidingWindow):
            return self.memory.max_messages
        return self.max_messages

    def _slide(self) -> None:
        """Keep the newest messages and every system message.

        Once something was dropped, a question is never preceded by an answer without its own
        question: models refuse a conversation that begins with an answer.
        """
        if self.memory == MemoryStrategy.FULL_HISTORY:
            return
        first = max(0, len(self._messages) - self._window_length())
        self._slid = self._slid or first > 0
        if self._slid and self._messages and self._messages[-1].role == "user":
            while self._messages[first].role != "user":
                first += 1
        if first:
            dropped = self._messages[:first]
            self._messages[:first] = [each for each in dropped if each.role == "system"]

    def __repr__(self) -> str:
        return f"Session(session_id={self.session_id!r}, ttl_hours={self.ttl_hours})"


def _canonical(metadata: object) -> str:
    """Return it as JSON, by which a change is noticed; keys become strings as they do there.

    Raises:
        TypeError: It is no dict, or holds what JSON cannot.
    """
    if not isinstance(metadata, dict):
        message = f"session.metadata is a dict, not {type(metadata).__name__}."
        raise TypeError(message)
    try:
        try:
            return json.dumps(metadata, sort_keys=True, allow_nan=False)
        except TypeError:  # keys of several types have no order before they are strings
            strings = json.loads(json.dumps(metadata, allow_nan=False))
            return json.dumps(strings, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"session.metadata holds what JSON cannot: {error}."
        raise TypeError(message) from error


def _copied(value: Any) -> Any:
    """Copy through JSON, which is how it would come back from the store."""
    return json.loads(json.dumps(value)) if value else type(value)()


def _warn_of_memory(memory: Any) -> None:
    global _warned_of_memory  # noqa: PLW0603 - once per process
    if not _warned_of_memory:
        _warned_of_memory = True
        _log.write("WARNING", f"MemoryStrategy.{memory.name} is a sliding window in this version.")
