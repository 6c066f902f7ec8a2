"""What messages must be, said before anything is done with them."""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_wire import names, turns as wire_turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_wire.codec import Message

SESSION_ID_MAX = 256
MEMORY_STRATEGIES = ("full_history", "sliding_window", "token_window", "summary", "semantic")

IDENTITY_MAX = 512
"""A DynamoDB sort key holds 1,024 bytes."""

PRINCIPAL_MAX_BYTES = 512
"""Percent-quoted three times as long at most, of the 2,048 bytes of a partition key."""

UNDERSTOOD = ("after", "principal", "store")
"""Fields of a rule that the SDK would rather be refused than have dropped."""


def require(message: Message, **kinds: type) -> None:
    """Refuse a message without these fields, of these kinds and not empty."""
    for field, kind in kinds.items():
        value = message.get(field)
        if not isinstance(value, kind) or value == "":
            reason = f"The field {field!r} must be a {kind.__name__} that is not empty."
            raise errors.InvalidRequestError(reason)


def check_turns(turns: object) -> None:
    """Refuse what would be in the way of every later event of the session."""
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        reason = "The field 'turns' must be a list of turns."
        raise errors.InvalidRequestError(reason)
    for turn in turns:
        require(turn, role=str, at_epoch_ms=int)
        if "content" not in turn:
            reason = "A turn needs a content."
            raise errors.InvalidRequestError(reason)
        if not isinstance(turn.get("metadata"), dict | None):
            reason = "The metadata of a turn must be an object."
            raise errors.InvalidRequestError(reason)
        _allow(turn, tokens=int, prompt_tokens=int, prompt_messages=int, pinned=bool)
        calls = [turn.get("call_id", ""), *(turn.get("other_call_ids") or ())]
        if not all(isinstance(call_id, str) for call_id in calls):
            reason = "The calls of a turn are ids."
            raise errors.InvalidRequestError(reason)
        fault = wire_turns.fault_of(turn)
        if fault is not None:
            raise errors.InvalidRequestError(fault)


def check_metadata(metadata: object, keys: object, defaults: object) -> None:
    """Refuse what is no metadata of a session, or more than its head holds."""
    if not isinstance(metadata, dict | None):
        reason = "The field 'metadata' must be an object."
        raise errors.InvalidRequestError(reason)
    for name, named, beside in (
        ("metadata_keys", keys, metadata),
        ("metadata_defaults", defaults, keys),
    ):
        listed = isinstance(named, list) and all(isinstance(key, str) for key in named)
        if named is not None and (beside is None or not listed):
            before = "metadata" if named is keys else "metadata_keys"
            reason = f"The field {name!r} must be a list of names, beside {before!r}."
            raise errors.InvalidRequestError(reason)
    fault = wire_turns.metadata_fault_of(metadata) if metadata else None
    if fault is not None:
        raise errors.InvalidRequestError(fault)


def check_chat(message: Message) -> None:
    """Refuse what is no question to a model."""
    require(message, work_id=str, call_id=str, messages=list)
    check_messages(message["messages"])
    check_routing(message)


def check_performed(message: Message) -> None:
    """Refuse what is no answer of a caller's own provider."""
    require(message, work_id=str, call_id=str)
    usage = message.get("usage") or {}
    counts = usage.values() if isinstance(usage, dict) else [None]
    if any(not isinstance(count, int) or isinstance(count, bool) or count < 0 for count in counts):
        reason = "The field 'usage' must be an object of counts of tokens."
        raise errors.InvalidRequestError(reason)
    cost = message.get("cost_pico_usd")
    if cost is not None and (not isinstance(cost, int) or isinstance(cost, bool) or cost < 0):
        reason = "The field 'cost_pico_usd' must be a whole number of pico-USD."
        raise errors.InvalidRequestError(reason)
    vectors = message.get("vectors")
    if vectors is not None and not _are_vectors(vectors):
        reason = "The field 'vectors' must be a list of lists of numbers."
        raise errors.InvalidRequestError(reason)
    problem = message.get("problem")
    if not isinstance(problem, dict | None):
        reason = "The field 'problem' must be a problem."
        raise errors.InvalidRequestError(reason)
    if problem is not None:
        _allow(problem, status=int, retry_after_seconds=int | float | None)


def _are_vectors(vectors: object) -> bool:
    return isinstance(vectors, list) and all(
        isinstance(vector, list) and {*map(type, vector)} <= {int, float} for vector in vectors
    )


def check_routing(message: Message) -> None:
    """Refuse what says wrongly who is to be asked, how often, and until when."""
    _allow(
        message,
        model=str | None,
        region=str | None,
        max_retries=int,
        deadline_epoch_ms=int,
        fallback_model=str | None,
        fallback_models=list | None,
        reader_gone=str,
        own_providers=list | None,
    )
    for field in ("fallback_models", "own_providers"):
        if not all(isinstance(name, str) for name in message.get(field) or ()):
            reason = f"The field {field!r} must be a list of names."
            raise errors.InvalidRequestError(reason)


def _allow(message: Message, **kinds: Any) -> None:
    """Refuse a message where one of these fields is there and of another kind."""
    for field, kind in kinds.items():
        if field in message and not isinstance(message[field], kind):
            reason = f"The field {field!r} cannot be a {type(message[field]).__name__}."
            raise errors.InvalidRequestError(reason)


def check_messages(messages: list[Any]) -> None:
    """Refuse what is no conversation; what a model takes of it is its provider's to say."""
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            reason = f"Message {index} must be an object with a role and a content."
            raise errors.InvalidRequestError(reason)
        fault = wire_turns.content_fault_of(message.get("content"))
        if fault is not None:
            reason = f"Message {index}: {fault}"
            raise errors.InvalidRequestError(reason)


def check_wire(version: int) -> None:
    """Refuse an SDK that is more than one version away: neighbours understand each other."""
    if abs(version - names.WIRE_VERSION) > 1:
        older = "SDK" if version < names.WIRE_VERSION else "layer"
        message = (
            f"The SDK speaks version {version} of the localhost API, the layer "
            f"{names.WIRE_VERSION}: update the {older}."
        )
        raise errors.SettingError(message)


def check_session_id(message: Message) -> None:
    """Refuse what names no session: an id that could not be part of a key, or such an owner."""
    require(message, session_id=str)
    session_id = message["session_id"]
    printable = session_id.isascii() and session_id.isprintable()
    if not printable or "#" in session_id or len(session_id) > SESSION_ID_MAX:
        reason = f"A session id has 1 to {SESSION_ID_MAX} printable ASCII characters without '#'."
        raise errors.InvalidRequestError(reason)
    if message.get("owner"):
        check_principal({"principal": message["owner"]})


def check_principal(rule: Message) -> None:
    """Refuse the name of an owner that cannot be part of a key; without one it is nobody's."""
    if "principal" not in rule:
        return
    require(rule, principal=str)
    if len(rule["principal"].encode("utf-8", "surrogatepass")) > PRINCIPAL_MAX_BYTES:
        reason = f"The owner of a session has at most {PRINCIPAL_MAX_BYTES} bytes."
        raise errors.InvalidRequestError(reason)


def understood(rule: Message | None) -> Message:
    """Return what `begin` answers about the fields that must not be dropped."""
    acted_on = [field for field in UNDERSTOOD if rule is not None and field in rule]
    return {"understood": acted_on} if acted_on else {}


def check_rule(rule: Message) -> None:
    """Refuse a rule for a session that this layer cannot keep."""
    require(rule, session_id=str, identity=str, ttl_seconds=int, memory=dict, durability=str)
    check_session_id({"session_id": rule["session_id"]})
    _check_identity(rule["identity"])
    check_principal(rule)
    if not isinstance(rule.get("store", ""), str):
        reason = "The field 'store' must be a store's URL."
        raise errors.InvalidRequestError(reason)
    if rule["ttl_seconds"] <= 0:
        reason = "A session's ttl is more than 0 seconds."
        raise errors.InvalidRequestError(reason)
    if rule["durability"] not in ("before_response", "after_response"):
        reason = f"Durability {rule['durability']!r} is not known to this layer."
        raise errors.InvalidRequestError(reason)
    if "after" in rule:
        check_receipt(rule["after"])
    memory = rule["memory"]
    _check_memory(memory)


def check_receipt(receipt: object) -> None:
    """Refuse what names no exchange that somebody could have seen."""
    if not isinstance(receipt, dict):
        reason = "The field 'after' must be an object."
        raise errors.InvalidRequestError(reason)
    require(receipt, identity=str, version=int, until_epoch_ms=int)
    _allow(receipt, session=str)
    _check_identity(receipt["identity"])


def _check_identity(identity: str) -> None:
    if len(identity.encode("utf-8", "replace")) > IDENTITY_MAX:
        reason = f"The identity of an event has at most {IDENTITY_MAX} bytes."
        raise errors.InvalidRequestError(reason)


def _check_memory(memory: Message) -> None:
    """Refuse a memory that this layer does not have, or that says nonsense."""
    strategy = memory.get("strategy")
    if strategy not in MEMORY_STRATEGIES:
        reason = f"Memory strategy {strategy!r} is not known to this layer."
        raise errors.InvalidRequestError(reason)
    if strategy == "sliding_window":
        require(memory, max_messages=int)
    for name in ("max_messages", "max_tokens", "update_after_messages", "top_k", "wait_ms"):
        value = memory.get(name, 0)
        if type(value) is not int or value < 0:
            reason = f"A memory's {name} is a whole number that is not below 0."
            raise errors.InvalidRequestError(reason)
    _allow(memory, model=str, asks=str)
