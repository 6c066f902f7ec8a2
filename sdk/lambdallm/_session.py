"""A conversation that outlives the function: as it is declared, and as a handler holds it.

declared   Session(ttl_hours=24)            once, at the top of a module; never changed
live       context.session                  one per invocation, bound to its unit of work
by hand    Session().load("id") … save()    in a script, with a unit of work of its own
"""

from __future__ import annotations

from _thread import RLock

from lambdallm import _by_hand, _errors, _events, _handled, _memory, _owners, _settings
from lambdallm._async_session import AsyncTwins
from lambdallm._declarations import Declaration
from lambdallm._forked_locks import ForkedLock
from lambdallm._memory import MemoryStrategy
from lambdallm._messages import History, Message
from lambdallm._metadata import copied
from lambdallm._outbox import Outbox
from lambdallm._work import Work
from lambdallm_wire import turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambdallm_wire.sessions import Receipt

SCRIPT_SECONDS = 900
"""Time allowed to a session used in a script: as long as the longest invocation."""


_OF_ANOTHER_EVENT = (
    "This session is in use since another event, whose user is not this one's. Call load(id) in "
    "each event, before you use it."
)


class Session(Declaration, AsyncTwins):
    """A conversation.

    Outside an invocation it keeps messages in this object; `load` and `save` go to the store.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the earlier package's signature
        self,
        store: str = "dynamodb",
        ttl_hours: float = 24,
        memory: _memory.AnyMemory = MemoryStrategy.SLIDING_WINDOW,
        max_messages: int = 20,
        session_id: str | None = None,
        messages: list[Message] | None = None,
        metadata: dict[str, Any] | None = None,
        durability: str = "before_response",
        owner: str | Callable[[Any, Any], str] | None = "authorizer",
    ) -> None:
        """Declare it.

        Args:
            store: A store's URL, or its kind; by default where LAMBDALLM_STORE says.
            ttl_hours: From its last message until it is unreadable.
            memory: Which messages come back: a `MemoryStrategy`, or a function that gets all
                messages and returns those to send.
            max_messages: Of strategies that have no number of their own.
            session_id: For events that name none.
            messages: To begin with; they are not stored.
            metadata: To begin with; a stored session's own takes its place.
            durability: `before_response` waits for the store before the response leaves,
                `after_response` does not.
            owner: Whose it is, besides its id: "authorizer" is the principal that an authorizer
                in front of the function names, if there is one; "required" the same, and an event
                that has none is refused; a function of the event and the context that returns
                it; None for one session for all who know its id.
        """
        super().__init__(
            store=store,
            ttl_hours=ttl_hours,
            memory=memory,
            max_messages=max_messages,
            session_id=session_id,
            durability=durability,
            owner=owner,
        )
        self._owned_by = ""
        self._messages = list(messages or [])
        self._outbox = Outbox(metadata)
        self._owns_work = False
        self._loaded_in: int | None = None
        self._told_owner: str | None = None
        self._slid = False
        self._reading = ForkedLock(RLock)  # threads of coroutines may all be the first to ask
        self._read = True
        self._cleared = False
        self._version = 0
        self._base_version = 0
        self._spoken: list[Message] = []

    def open(self, work: Work, session_id: str, owner: str = "") -> Session:
        """Return a live copy, bound to a unit of work that was begun with its rule."""
        live = Session(
            self.store,
            self.ttl_hours,
            self.memory,
            self.max_messages,
            session_id,
            [Message.from_dict(copied(each.to_dict())) for each in self._messages],
            copied(self._outbox.metadata.value),
            self.durability,
            self.owner,
        )
        live._outbox.work = live._outbox.asking = work
        live._owned_by = owner
        live._read = False
        return live

    # Reading

    @property
    def messages(self) -> list[Message]:
        """What this handler sees of the conversation, its own messages last."""
        self._check_event()
        if not self._cleared:
            self._ensure_read()
        return self._messages

    @property
    def metadata(self) -> dict[str, Any]:
        """What is kept beside the messages. Changes in it are noticed and saved, key by key."""
        self._check_event()
        self._ensure_read()
        return self._outbox.metadata.value

    @metadata.setter
    def metadata(self, metadata: dict[str, Any]) -> None:
        self._check_event()
        self._ensure_read()
        self._outbox.metadata.value = metadata

    @property
    def message_count(self) -> int:
        """How many messages `messages` holds."""
        return len(self.messages)

    @property
    def last_message(self) -> Message | None:
        """The newest message, None without any."""
        return self.messages[-1] if self.messages else None

    def get_history(self) -> list[dict[str, Any]]:
        """Return the messages to send, as `{"role": …, "content": …}`.

        Those of `messages` that a model's API takes together: no answer before the first question,
        no call of a tool without its result. A memory that is a function chooses them here.
        """
        chosen = _memory.to_send(self.memory, self.messages)
        return [{"role": each.role, "content": each.content} for each in chosen]

    def format_history(self) -> History:
        """Return the conversation as text; `context.invoke` takes it with its roles."""
        return History(self.get_history())

    @property
    def version(self) -> int:
        """How many exchanges the session has ever had: as it was read, or after `save`; 0: new."""
        self._ensure_read()
        return self._version

    @property
    def receipt(self) -> str | None:
        """What a later reader presents to be shown nothing older than this event's answer.

        In the form of the header `x-lambdallm-exchange`. None until the answer was added: before
        that there is nothing to wait for.
        """
        from lambdallm import _receipts

        work = self._outbox.work
        if work is None or not self._spoken or self._spoken[-1].role != "assistant":
            return None
        return _receipts.encode(
            work.identity,
            self._base_version,
            work.deadline_epoch_ms,
            session_id=self.session_id or "",
            principal=self._owned_by,
        )

    def load(
        self,
        session_id: str | None = None,
        *,
        owner: str | None = None,
        after: str | None = None,
    ) -> Session:
        """Read the session of that id; one that does not exist is empty.

        In a handler whose event named the same session this reads nothing again, unless `after`
        says that something has come since.

        Args:
            session_id: By default the one that it has.
            owner: Whose it is, as `lambdallm sessions list` shows it; by default the event's own,
                in a script nobody's.
            after: A `receipt`: what it tells of is waited for, two seconds at most.

        Raises:
            InvalidRequestError: It is no id, or `after` no receipt.
            StateError: The store did not answer, or what was to be waited for is not there.
                Nothing is known about the session.
        """
        session_id = self.session_id if session_id is None else session_id
        whose = self._whose() if owner is None else owner and _owners.checked(owner)
        here = session_id == self.session_id and whose == self._owned_by
        with self._reading:
            if self._outbox.work is None or self._owns_work or not here:
                self._begin_own_work(session_id, whose)
                self._loaded_in, self._told_owner = _handled.number_here(), owner
            if after:
                from lambdallm import _receipts

                self._messages, self._read = [*self._spoken], False
                self._ensure_read(_receipts.decode(after))
            else:
                self._ensure_read()
        return self

    # Writing

    def add_message(
        self, role: str, content: Any, *, pinned: bool = False, **metadata: Any
    ) -> None:
        """Add a message. In a handler it is on its way to the store when this returns.

        Args:
            role: `user`, `assistant` or `system`.
            content: Text, or a list of blocks in the form of Bedrock's Converse.
            pinned: It stays in every window, with its question or its answer.
            **metadata: Stored beside it.

        Raises:
            InvalidRequestError: It is none of this, no JSON, or too long to be kept. It was not
                added.
            ConfigurationError: The session was loaded for another user's event; the same.
        """
        message = Message(role, content, metadata=metadata, pinned=pinned)
        fault = turns.fault_of(message.to_turn())
        if fault is not None:
            raise _errors.InvalidRequestError(fault)
        self._check_event()
        self._outbox.add(message)
        self._messages.append(message)
        self._spoken.append(message)
        if self._read:
            self._slide()

    def clear(self) -> None:
        """Forget all messages, the stored ones too; metadata stays.

        What others say at the same time is forgotten if it is stored before this is.
        """
        self._check_event()
        self._outbox.clear()
        self._messages, self._spoken, self._cleared = [], [], True

    def save(self) -> None:
        """Wait until the store has confirmed every message.

        Raises:
            ConfigurationError: It has no id, so that nobody could find it again; or it was loaded
                for another user's event.
            StateError: The store did not confirm; the message says what is known.
        """
        self._check_event()
        with self._reading:
            if self._outbox.work is None:
                if not self.session_id:
                    message = "This session has no id: load(id) it, or set session_id."
                    raise _errors.ConfigurationError(message)
                self._begin_own_work(self.session_id, self._whose(), keep=True)
                self._loaded_in, self._told_owner = _handled.number_here(), None
        self.send_changes()
        assert self._outbox.work is not None  # noqa: S101 - begun above, or it was raised
        self._version = max(self._version, self._outbox.work.save())

    def close(self) -> None:
        """End what was begun by `load` or `save` in a script, waiting for the store.

        In a handler the end of the event does it.

        Raises:
            StateError: The store did not confirm the last messages.
        """
        self.__exit__(None, None, None)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """As an event ends: what nobody answered is forgotten if the block failed."""
        self.finish(*(("ok",) if error is None else ("error", type(error).__name__)))

    def send_changes(self) -> None:
        """Hand over what was not yet: changed metadata, messages of before the first `save`."""
        if self._outbox.work is not None:
            self._outbox.send_changes(self._outbox.work)

    def finish(self, outcome: str, error_code: str = "") -> None:
        """At the end of a handler: hand over the changes, and end what was loaded beside.

        Raises:
            StateError: The store did not confirm what this session wrote under its own work.
        """
        work = self._outbox.work
        if work is None:
            return
        if outcome != "ok":
            if self._owns_work:
                _by_hand.end(work, outcome, error_code)
        elif self._owns_work:
            _by_hand.end_saving(work, self._outbox)
        else:
            self._outbox.send_changes(work)

    def _check_event(self) -> None:
        """Refuse what was loaded for the user of another event, as an object of the module's is."""
        work = self._outbox.work
        if self._loaded_in is None and work is None:
            self._loaded_in = _handled.number_here() or None
        number, told = self._loaded_in, self._told_owner
        if number is None or _handled.is_going_on(number) or not _handled.is_any_going_on():
            return
        if told is None and self._whose() != self._owned_by:
            raise _errors.ConfigurationError(_OF_ANOTHER_EVENT)
        if work is not None and _settings.epoch_ms() >= work.deadline_epoch_ms:
            self.load(owner=told)  # its unit was over with the event of before

    def _whose(self) -> str:
        """Return whose session is meant where nobody says it."""
        handled = self._outbox.work is not None and not self._owns_work
        return self._owned_by if handled else _owners.of_what_is_handled(self.owner, self._owned_by)

    def _begin_own_work(self, session_id: Any, owner: str, *, keep: bool = False) -> None:
        """Begin a unit for a session that no event has named.

        Args:
            session_id: Which one.
            owner: Whose it is.
            keep: What was said before belongs to it.
        """
        if not _events.is_id(session_id):
            message = "A session id is 1 to 256 printable ASCII characters without '#'."
            raise _errors.InvalidRequestError(message)
        if not owner and self.owner == _owners.REQUIRED:
            raise _owners.nobody()
        before = self._outbox.work
        deadline = _handled.deadline_here(_settings.epoch_ms() + SCRIPT_SECONDS * 1_000)
        if before is not None and self._owns_work:
            self._outbox.work = None
            if _settings.epoch_ms() < before.deadline_epoch_ms:
                _by_hand.end_saving(before, self._outbox)
            else:  # of an object that has outlived it; the engine has ended it, saying so
                _by_hand.forget(before)
        elif before is not None:
            deadline = before.deadline_epoch_ms
            self._outbox.send_changes(before)
        work_id = f"session-{_settings.random_id()}"
        work = Work(work_id, work_id, deadline)
        work.begin(self.rule(session_id, work_id, owner))
        if not keep:
            asking, self._outbox = self._outbox.asking, Outbox()
            self._outbox.asking = asking
            self._messages, self._spoken, self._cleared = [], [], False
        self._outbox.work = work
        _by_hand.begun(self, work, self._outbox)
        self.session_id, self._owned_by, self._version = session_id, owner, 0
        self._owns_work, self._read = True, False
        if keep:
            self._ensure_read()

    def _ensure_read(self, after: Receipt | None = None) -> None:
        with self._reading:
            work = self._outbox.work
            if self._read or work is None:
                return
            window = work.window(after, _memory.question_of(self.memory, self._spoken))
            self._version = self._base_version = window["version"]
            if not self._cleared:
                self._messages[:0] = [Message.from_turn(turn) for turn in window["turns"]]
            self._outbox.found(window["metadata"], exists=window["version"] > 0)
            self._read = True
            self._slide()

    def _slide(self) -> None:
        """Leave out what a sliding window does not show."""
        self._slid = _memory.slide_on(self.memory, self.max_messages, self._messages, self._slid)

    def __repr__(self) -> str:
        return f"Session(session_id={self.session_id!r}, ttl_hours={self.ttl_hours})"
