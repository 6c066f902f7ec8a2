"""Hashes of what makes an answer what it is, and what differs between two declarations. No I/O."""

from __future__ import annotations

import hashlib

from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

NOT_ASKED = frozenset(
    (
        "work_id",
        "call_id",
        "deadline_epoch_ms",
        "max_retries",
        "own_providers",
        "run",
        "reader_gone",
    )
)
"""Fields of a question that no answer depends on."""

_DIGEST_BYTES = 12


def of_request(request: Mapping[str, Any]) -> str:
    """Return the fingerprint of a question to a model."""
    asked = {name: request[name] for name in sorted(request) if name not in NOT_ASKED}
    return of_text(plain_json.dumps(asked))


def of_text(text: str) -> str:
    """Return the fingerprint of a text."""
    content = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


def call_id(partition: str, life: str, step: str, attempt: int, number: int) -> str:
    """Return the id of a run's call: the same one whenever the same call is meant."""
    text = "\0".join((partition, life, step, str(attempt), str(number)))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def difference(
    before: Sequence[tuple[str, str]], now: Sequence[tuple[str, str]], *, versions: tuple[str, str]
) -> str:
    """Say what differs between the steps that a run began with and those it is to go on with.

    Args:
        before: Key and fingerprint of each step, in order.
        now: The same of the chain as it is declared now.
        versions: Of both.

    Returns:
        A sentence that names the first difference, "" where there is none.
    """
    if versions[0] != versions[1]:
        told = f"it began with version {versions[0]!r}, and this is version {versions[1]!r}"
        more = difference(before, now, versions=("", ""))
        return f"{told} ({more})" if more else told
    keys_before, keys_now = [key for key, _ in before], [key for key, _ in now]
    if keys_before != keys_now:
        return _order(keys_before, keys_now)
    for (key, fingerprint), (_, other) in zip(before, now, strict=True):
        if fingerprint != other:
            return f"step {key!r} is declared otherwise than it was"
    return ""


def _order(before: Sequence[str], now: Sequence[str]) -> str:
    gone = [key for key in before if key not in now]
    new = [key for key in now if key not in before]
    if gone and new and before.index(gone[0]) == now.index(new[0]):
        place = before.index(gone[0]) + 1
        return f"step {place} was {gone[0]!r}, and is {new[0]!r} now"
    if gone:
        return f"step {gone[0]!r} is there no more"
    if new:
        return f"step {new[0]!r} is new"
    place = next(place for place, key in enumerate(before) if now[place] != key)
    return f"step {place + 1} was {before[place]!r}, and is {now[place]!r} now"
