"""Which messages of a long conversation a handler sees: what a session is declared with.

    Session(memory=MemoryStrategy.FULL_HISTORY)
    Session(memory=MemoryStrategy.SLIDING_WINDOW_N(20))
    Session(memory=MemoryStrategy.TOKEN_WINDOW(max_tokens=8_000))
    Session(memory=MemoryStrategy.SUMMARY_OF(model="bedrock/us.amazon.nova-micro-v1:0"))
    Session(memory=MemoryStrategy.SEMANTIC_RECALL(top_k=4))
    Session(memory=my_function)             gets all messages, returns those to send

Whatever is chosen, messages of the system and pinned ones stay, and what is sent is a conversation
that a model's API takes (`lambdallm_wire.windows`).
"""

from __future__ import annotations

from enum import Enum

from lambdallm import _errors
from lambdallm._messages import Message
from lambdallm_wire import windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, TypeAlias

    from lambdallm_wire.sessions import Memory

    Function = Callable[[list[Message]], Iterable[Message | Mapping[str, Any]]]
    AnyMemory: TypeAlias = "MemoryStrategy | Window | Function"

MESSAGES = 20


class Window:
    """How older messages are chosen. Made by the methods of `MemoryStrategy`.

    Attributes:
        strategy: Its name.
        parameters: What the engine is told beside it.
    """

    def __init__(self, strategy: str, **parameters: int | str | None) -> None:
        """Keep what was given.

        Raises:
            ConfigurationError: A number is none, or below 0.
        """
        self.strategy = strategy
        self.parameters = {name: each for name, each in parameters.items() if each is not None}
        for name, value in self.parameters.items():
            expected = str if name == "model" else int
            wrong = not isinstance(value, expected) or isinstance(value, bool)
            if wrong or (isinstance(value, int) and value < 0):
                message = f"{name}={value!r} of a memory is no {_KINDS[expected]}."
                raise _errors.ConfigurationError(message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Window) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.strategy, *sorted(self.parameters)))

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"{type(self).__name__}({self.strategy}{', ' if given else ''}{given})"


_KINDS = {int: "whole number from 0 on", str: "model's name"}


class SlidingWindow(Window):
    """The last `max_messages` messages."""

    def __init__(self, max_messages: int = MESSAGES) -> None:
        """Keep the number."""
        super().__init__("sliding_window", max_messages=max_messages)
        self.max_messages = max_messages


class MemoryStrategy(Enum):
    """Which messages of a long conversation a handler sees.

    The members take their numbers from the session and the environment, the methods from you.
    """

    FULL_HISTORY = "full_history"
    SLIDING_WINDOW = "sliding_window"
    SUMMARY = "summary"
    SEMANTIC = "semantic"

    @classmethod
    def SLIDING_WINDOW_N(cls, max_messages: int = MESSAGES) -> SlidingWindow:  # noqa: N802 - the earlier package's name
        """Return a sliding window of that many messages."""
        return SlidingWindow(max_messages)

    @classmethod
    def TOKEN_WINDOW(cls, max_tokens: int | None = None) -> Window:  # noqa: N802 - as its neighbours
        """Return a window of the newest messages that have so many tokens together.

        Args:
            max_tokens: By default a quarter of the context of the handler's model, 64,000 at most.
        """
        return Window("token_window", max_tokens=max_tokens)

    @classmethod
    def SUMMARY_OF(  # noqa: N802 - as its neighbours
        cls,
        max_messages: int = MESSAGES,
        *,
        model: str | None = None,
        update_after_messages: int | None = None,
        max_tokens: int | None = None,
    ) -> Window:
        """Return the newest messages, and a running summary of what was before them.

        Args:
            max_messages: Seen word for word at least.
            model: Writes it; by default what LAMBDALLM_SUMMARY_MODEL or LAMBDALLM_MODEL says.
            update_after_messages: So many more, and they are summed up; 20 by default.
            max_tokens: Of the summary, 1,024 by default.
        """
        return Window(
            "summary",
            max_messages=max_messages,
            model=model,
            update_after_messages=update_after_messages,
            max_tokens=max_tokens,
        )

    @classmethod
    def SEMANTIC_RECALL(  # noqa: N802 - as its neighbours
        cls,
        max_messages: int = MESSAGES,
        *,
        top_k: int | None = None,
        model: str | None = None,
        wait_ms: int | None = None,
    ) -> Window:
        """Return the newest messages, and the older exchanges that are nearest to the question.

        The question is the user's message that was added last when the messages are read first.

        Args:
            max_messages: Seen in any case.
            top_k: Exchanges that are recalled, 4 by default.
            model: Embeds; by default what LAMBDALLM_EMBEDDING_MODEL says.
            wait_ms: How long the question's vector is waited for, 1,500 by default.
        """
        return Window(
            "semantic", max_messages=max_messages, top_k=top_k, model=model, wait_ms=wait_ms
        )


def check(memory: Any) -> None:
    """Refuse what is no memory.

    Raises:
        ConfigurationError: It is none.
    """
    factory = getattr(memory, "__name__", "")
    if getattr(memory, "__self__", None) is MemoryStrategy:
        message = f"memory=MemoryStrategy.{factory}: it is called, MemoryStrategy.{factory}()."
        raise _errors.ConfigurationError(message)
    if not isinstance(memory, (MemoryStrategy, Window)) and not callable(memory):
        message = (
            f"memory={memory!r}: use a MemoryStrategy, or a function that gets the messages and "
            "returns those to send."
        )
        raise _errors.ConfigurationError(message)


def to_wire(memory: AnyMemory, max_messages: int, asks: str = "") -> Memory:
    """Return what the engine is told (`lambdallm_wire.sessions.Memory`).

    Args:
        memory: As it was declared.
        max_messages: The session's own number, for strategies without one.
        asks: The model that the handler asks, for the size of a window of tokens.
    """
    if isinstance(memory, Window):
        told: Any = {"strategy": memory.strategy, **memory.parameters}
    elif not isinstance(memory, MemoryStrategy) or memory is MemoryStrategy.FULL_HISTORY:
        told = {"strategy": "full_history"}
    else:
        told = {"strategy": memory.value, "max_messages": max_messages}
    if told["strategy"] == "token_window" and asks:
        told["asks"] = asks
    wire: Memory = told
    return wire


def messages_max(memory: AnyMemory, max_messages: int) -> int | None:
    """Return how many messages a handler sees, its own included; None where that is not counted."""
    if isinstance(memory, SlidingWindow):
        return memory.max_messages
    return max_messages if memory is MemoryStrategy.SLIDING_WINDOW else None


def question_of(memory: AnyMemory, own: Sequence[Message]) -> str:
    """Return what a memory is to recall for: what the user has said last, "" for other memories."""
    if to_wire(memory, MESSAGES)["strategy"] != "semantic":
        return ""
    from lambdallm._messages import text_of

    return next((text_of(each.content) for each in reversed(own) if each.role == "user"), "")


def slide_on(memory: AnyMemory, max_messages: int, messages: list[Message], slid: bool) -> bool:
    """Leave out what a sliding window does not show; return whether it ever has.

    Once something was dropped, a question is never preceded by an answer without its own
    question: models refuse a conversation that begins with an answer.

    Args:
        memory: As it was declared.
        max_messages: The session's own number.
        messages: Of the session, oldest first; changed in place.
        slid: Whether something was left out before.
    """
    length = messages_max(memory, max_messages)
    if length is None:
        return slid
    slid = slid or len(messages) > length
    messages[:] = slide(messages, first_seen(messages, length, slid=slid))
    return slid


def first_seen(messages: Sequence[Message], length: int, *, slid: bool) -> int:
    """Return the place of the first message that a sliding window shows.

    Where tools are asked, the round is not cut: a result comes with its call.
    """
    first = max(0, len(messages) - length)
    if slid and messages and messages[-1].role == "user":
        while first < len(messages) - 1 and messages[first].role != "user":
            first += 1
    if messages and (
        windows.results_of(messages[-1].content) or windows.calls_of(messages[-1].content)
    ):
        said = [(each.role, each.content) for each in messages]
        first = min([first, *windows.round_of(said, len(messages) - 1)])
    return first


def slide(messages: Sequence[Message], first: int) -> list[Message]:
    """Leave out messages before a place, but the system's, and pinned ones with their rounds."""
    said = [(each.role, each.content) for each in messages]
    kept = {place for place, each in enumerate(messages[:first]) if each.role == "system"}
    for place, each in enumerate(messages[:first]):
        if each.pinned:
            kept |= windows.round_of(said, place)
    kept |= {*range(first, len(messages))}
    return [messages[place] for place in sorted(kept)]


def to_send(memory: AnyMemory, messages: Sequence[Message]) -> list[Message]:
    """Return the messages that a model is asked with: a function's choice, made acceptable.

    Raises:
        TypeError: The function returned something else than messages.
    """
    chosen = [*messages]
    if not isinstance(memory, (MemoryStrategy, Window)):
        chosen = [_message(each) for each in memory(chosen)]
    said = [(each.role, each.content) for each in chosen]
    return [chosen[place] for place in windows.acceptable(said, open_end=True)]


def _message(each: Any) -> Message:
    if isinstance(each, Message):
        return each
    if isinstance(each, dict) and "role" in each and "content" in each:
        return Message.from_dict(each)
    message = "A memory's function returns messages: those that it got, or {'role', 'content'}."
    raise TypeError(message)
