"""A session as the two sides exchange it: its rule, its window, its new turns."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

MemoryStrategy = Literal["full_history", "sliding_window", "token_window", "summary", "semantic"]
Durability = Literal["before_response", "after_response"]


class Memory(TypedDict, total=False):
    """Which turns a handler sees. System turns and pinned ones stay with every strategy.

    Args:
        strategy: How older turns are chosen; `summary` tells of them, `semantic` recalls some.
        max_messages: Of `sliding_window`; the newest ones word for word of the last two.
        max_tokens: Of `token_window`, by default a share of the context of the model that is
            asked; of `summary`: its own length.
        asks: The model that the handler asks, for that share.
        model: Who writes summaries, or embeds; by default what the environment says.
        update_after_messages: So many more than `max_messages`, and they are summed up.
        top_k: Exchanges that `semantic` recalls.
        wait_ms: How long `semantic` may keep the handler waiting for the question's vector.
    """

    strategy: MemoryStrategy
    max_messages: int
    max_tokens: int
    asks: str
    model: str
    update_after_messages: int
    top_k: int
    wait_ms: int


class _Marked(TypedDict, total=False):
    """What later versions say of a receipt's session."""

    session: str


class Receipt(_Marked):
    """Which exchange somebody has seen the answer of; who presents it gets no older state.

    Args:
        session: `receipts.session_mark` of its session: another session's is refused at once.
        identity: Of the exchange.
        version: The session's version that its event saw, 0 where it did not look.
        until_epoch_ms: Deadline of its event: what is not stored soon after will not be.
    """

    identity: str
    version: int
    until_epoch_ms: int


class _WhoseAndWhere(TypedDict, total=False):
    """Parts of a rule that an engine must say in `begin`'s `understood` that it acts on."""

    after: Receipt
    principal: str
    store: str


class SessionRule(_WhoseAndWhere):
    """How to load and keep one session; part of `begin`, so that its read starts at once.

    Args:
        session_id: 1 to 256 printable ASCII characters without `#`.
        identity: Identity of the event: an exchange of the same identity is the same exchange.
        ttl_seconds: From the last exchange until the session is unreadable.
        memory: Which turns come back.
        durability: Whether `end` waits for the store.
        after: What the event's sender has seen: the read waits for it, 2 s at most.
        principal: Whose it is, 1 to 512 bytes; the same id of somebody else, or of nobody, is
            another session.
        store: A store of its own, as LAMBDALLM_STORE names one.
    """

    session_id: str
    identity: str
    ttl_seconds: int
    memory: Memory
    durability: Durability


class _Made(TypedDict, total=False):
    """What is known of how a turn came to be."""

    call_id: str
    other_call_ids: list[str]
    tokens: int
    prompt_tokens: int
    prompt_messages: int
    pinned: bool


class Turn(_Made):
    """One message of a session.

    Args:
        role: `user`, `assistant` or `system`.
        content: Text or blocks.
        metadata: The user's own.
        at_epoch_ms: When it was said.
        call_id: Of the model call that made it.
        other_call_ids: Of further calls since the turn before: tools, vectors, another try.
        tokens: Of this turn, as the provider counted them.
        prompt_tokens, prompt_messages: What the call that made it was asked with, all of it.
        pinned: Stays in every window.

    Shape:
        {"role": "user", "content": "text or blocks", "metadata": {}, "at_epoch_ms": 1790000000000}
    """

    role: str
    content: Any
    metadata: dict[str, Any]
    at_epoch_ms: int


class WindowRequest(TypedDict, total=False):
    """Ask for the window whose read `begin` has started.

    Args:
        work_id: The unit of work.
        after: Read it again, and nothing older than that; `understood` then says "after".
        query: What is about to be asked: `semantic` recalls what is near to it.
    """

    work_id: str
    after: Receipt
    query: str


class _ReadAgain(TypedDict, total=False):
    """Only where the request had fields that not every engine of this version knows."""

    understood: list[str]


class Window(_ReadAgain):
    """What a handler sees of a session: answered exchanges only, oldest first.

    `version` counts the exchanges ever opened in it; 0 is a session that does not exist yet.
    `understood` lists what was acted on, of those fields of the request that must not be dropped.
    """

    session_id: str
    version: int
    turns: list[Turn]
    metadata: dict[str, Any]


class AppendRequest(TypedDict, total=False):
    """New turns of this unit of work, in order; the reply says that the sidecar has them.

    Args:
        work_id: The unit of work; its exchange takes the turns.
        turns: Turns to add.
        metadata: The session's metadata, whole, when it changed.
        metadata_keys: Its top-level keys that were set, or removed where they are not in it:
            nothing else of what the store holds by then is changed. Without it all is replaced.
        metadata_defaults: Those of these keys that a new session begins with: they yield to what
            the store holds by then.
        clear: Forget all earlier exchanges first.
    """

    work_id: str
    turns: list[Turn]
    metadata: dict[str, Any]
    metadata_keys: list[str]
    metadata_defaults: list[str]
    clear: bool


class SaveRequest(TypedDict):
    """Wait until the store has confirmed every turn that was appended."""

    work_id: str


class SaveReply(TypedDict):
    """`version` is the session's version with this exchange in it, 0 if nothing was written."""

    version: int


class Accepted(TypedDict):
    """The sidecar has it in memory; whether the store has it is said by `save` and `end`."""

    accepted: int
