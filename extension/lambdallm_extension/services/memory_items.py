"""What is kept beside a session's turns: its summary, and the vectors of its exchanges.

Shapes (attributes beside the keys of `domain.keys` and `expires_at`, epoch seconds):
    DIGEST         {"schema": 1, "text": "…", "covers": 12, "first": 1, "life": 483920117,
                    "tokens": 310, "model": "bedrock/…", "call": "id of the call",
                    "cost_pico_usd": 14750000}
    VECTOR#000017  {"schema": 1, "steps": "Base64", "model": "bedrock/…", "turns": 2,
                    "life": 483920117, "call": "id of the call"}

`first` is the session's first exchange when the summary was made; where the head names another
one, what it tells of was cleared. `life` is what the head counted as rewrites then, from which one
life of a session is told from the next, whose exchanges may have the same numbers. Both items
stand outside the keys that a window is read from, so that reads which do not want them do not pay
for them.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.domain import keys, vectors
from lambdallm_extension.domain.summaries import Summary
from lambdallm_extension.ports import Check, Condition, Item, Key, Put
from lambdallm_extension.services.session_items import check_schema
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Value
    from lambdallm_extension.services.session_items import Head


REWRITES_MAX = 1_000_000
"""Of one life; lives begin at numbers of 48 bits that are chance."""


class Made(NamedTuple):
    """By which call something was made, and in which life of its session."""

    model: str
    call_id: str
    life: int | None
    tokens: int = 0
    cost_pico_usd: int | None = None


def digest_key(pk: str) -> Key:
    """Return where a session's summary is."""
    return Key(pk, keys.DIGEST)


def read_digest(item: Item | None, head: Head, *, now: int) -> Summary | None:
    """Read a summary; None where there is none of the living session."""
    if item is None or (item.expires_at is not None and item.expires_at <= now):
        return None
    check_schema(item)
    text, covers, first = (item.attributes.get(name) for name in ("text", "covers", "first"))
    if type(text) is not str or type(covers) is not int or type(first) is not int:
        return None  # somebody's own; the next summary takes its place
    if first != head.first_exchange or not first <= covers <= head.version:
        return None
    if not is_of_life(item, head):
        return None
    return Summary(text, covers, first)


def is_of_life(item: Item, head: Head) -> bool:
    """Say whether something was made in the life of a session that its head is of."""
    life = item.attributes.get("life")
    if type(life) is not int or head.rewrites is None:
        return True  # of a writer that does not count: numbers and expiry have to do
    return 0 <= head.rewrites - life < REWRITES_MAX


def digest_put(
    pk: str, summary: Summary, made: Made, stood: Item | None, *, expires_at: int
) -> Put:
    """Write a summary over the one that was read, if nobody has written a newer one."""
    attributes: dict[str, Value] = {
        "schema": names.ITEM_SCHEMA_VERSION,
        "text": summary.text,
        "covers": summary.covers,
        "first": summary.first,
        "tokens": made.tokens,
        "model": made.model,
        "call": made.call_id,
        "cost_pico_usd": made.cost_pico_usd,
    }
    if made.life is not None:
        attributes["life"] = made.life
    if stood is None:
        condition = Condition(absent=True)
    else:
        condition = Condition(equals={"call": stood.attributes.get("call")})
    return Put(Item(digest_key(pk), attributes, expires_at), condition)


def not_forgotten(pk: str, first_exchange: int) -> Check:
    """Refuse what tells of exchanges that were cleared or deleted while it was made."""
    return Check(Key(pk, keys.HEAD), Condition(equals={"first_exchange": first_exchange}))


def read_vector(item: Item) -> tuple[int, vectors.StoredVector, int] | None:
    """Read an exchange's number, its vector, and how many turns it had; None for somebody's own."""
    check_schema(item)
    number = item.key.sk.removeprefix(keys.VECTOR_PREFIX)
    steps, model, turns = (item.attributes.get(name) for name in ("steps", "model", "turns"))
    if not number.isdecimal() or type(steps) is not str or type(model) is not str:
        return None
    try:
        vector = vectors.StoredVector(vectors.from_text(steps), model)
    except ValueError:
        return None
    return int(number), vector, turns if type(turns) is int else 0


def vector_put(
    key: Key, vector: vectors.StoredVector, made: Made, *, turns: int, expires_at: int
) -> Put:
    """Write an exchange's vector; one that stands there is of the same exchange."""
    attributes: dict[str, Value] = {
        "schema": names.ITEM_SCHEMA_VERSION,
        "steps": vectors.to_text(vector.steps),
        "model": vector.model,
        "turns": turns,
        "call": made.call_id,
    }
    if made.life is not None:
        attributes["life"] = made.life
    return Put(Item(key, attributes, expires_at))
