"""The stored form of a run: what its items hold.

Shapes (attributes beside the keys of `domain.keys` and `expires_at`, epoch seconds):
    HEAD    {"schema": 1, "name": "report", "version": "1.0.0", "declared": "[[key, hash], …]",
             "status": "running", "attempt": 2, "claim": "…", "leased_until": epoch ms, 0: free,
             "environment": "…", "work": "…", "steps": 3 finished, "seen_steps": 3 and "stalls": 0
             as the attempt began, "error": "…", "begun": epoch ms, "at": epoch ms}
    INPUT   {"schema": 1, "value": "JSON"}                OUTPUT  the same
    STEP    {"schema": 1, "output": "JSON", "fingerprint": "…", "attempt": 2, "calls": [call ids],
             "usage": "JSON", "cost_pico_usd": 14750000, "model": "…", "latency_ms": 812,
             "skipped": true if it was, "at": epoch ms}
    CALL    {"schema": 1, "call": "id of its record", "model": "…", "state": "intent",
             "asked": hash of the question, "reserved_pico_usd": …, "at": epoch ms,
             "answer": "JSON: what came of it", "cost_pico_usd": …}
    WAIT    {"schema": 1, "kind": "approval", "message": "…", "expires": epoch ms, "hash": "…"}

The head's expiry rules; everything else is kept up to twice as long.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple, cast
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import ABSENT, Item, Key, Put
from lambdallm_wire import names, plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambdallm_extension.ports import Value
    from lambdallm_wire.runs import FinishedStep, RunStatus, Wait

SCHEMA: dict[str, Value] = {"schema": names.ITEM_SCHEMA_VERSION}


class RunHead(NamedTuple):
    """A run's head; see the module."""

    name: str
    version: str
    declared: tuple[tuple[str, str], ...]
    status: RunStatus
    attempt: int
    claim: str
    leased_until_ms: int
    environment: str
    work: str
    steps: int
    seen_steps: int
    stalls: int
    error: str
    begun_ms: int
    at_ms: int

    def to_item(self, key: Key, expires_at: int) -> Item:
        """Make what the store takes."""
        attributes: dict[str, Value] = {
            **SCHEMA,
            "name": self.name,
            "version": self.version,
            "declared": plain_json.dumps(self.declared),
            "status": self.status,
            "attempt": self.attempt,
            "claim": self.claim,
            "leased_until": self.leased_until_ms,
            "environment": self.environment,
            "work": self.work,
            "steps": self.steps,
            "seen_steps": self.seen_steps,
            "stalls": self.stalls,
            "error": self.error,
            "begun": self.begun_ms,
            "at": self.at_ms,
        }
        return Item(key, attributes, expires_at)

    @classmethod
    def of(cls, item: Item) -> RunHead:
        """Read a head.

        Raises:
            StoreRefusedError: It is newer than this reader, or damaged.
        """
        check_schema(item)
        found = item.attributes
        try:
            declared = plain_json.loads(cast("str", found["declared"]))
            return cls(
                _text(found, "name"),
                _text(found, "version"),
                tuple([(str(key), str(fingerprint)) for key, fingerprint in declared]),
                cast("RunStatus", _text(found, "status")),
                _number(found, "attempt"),
                _text(found, "claim"),
                _number(found, "leased_until"),
                _text(found, "environment"),
                _text(found, "work"),
                _number(found, "steps"),
                _number(found, "seen_steps"),
                _number(found, "stalls"),
                _text(found, "error"),
                _number(found, "begun"),
                _number(found, "at"),
            )
        except (KeyError, TypeError, ValueError):
            raise _damaged(item) from None


class Generation(NamedTuple):
    """One call of a step, as it stands in the store; see the module."""

    call_id: str
    model: str
    state: str
    asked: str
    reserved_pico_usd: int
    cost_pico_usd: int | None = None
    answer: str = ""

    def to_item(self, key: Key, at_ms: int, expires_at: int) -> Item:
        """Make what the store takes."""
        attributes: dict[str, Value] = {
            **SCHEMA,
            "call": self.call_id,
            "model": self.model,
            "state": self.state,
            "asked": self.asked,
            "reserved_pico_usd": self.reserved_pico_usd,
            "at": at_ms,
        }
        if self.answer:
            attributes["answer"] = self.answer
        if self.cost_pico_usd is not None:
            attributes["cost_pico_usd"] = self.cost_pico_usd
        return Item(key, attributes, expires_at)

    @classmethod
    def of(cls, item: Item) -> Generation:
        """Read one.

        Raises:
            StoreRefusedError: It is newer than this reader, or damaged.
        """
        check_schema(item)
        found = item.attributes
        try:
            cost = found.get("cost_pico_usd")
            return cls(
                _text(found, "call"),
                _text(found, "model"),
                _text(found, "state"),
                _text(found, "asked"),
                _number(found, "reserved_pico_usd"),
                None if cost is None else _number(found, "cost_pico_usd"),
                str(found.get("answer", "")),
            )
        except (KeyError, TypeError):
            raise _damaged(item) from None


def put_step(pk: str, step: FinishedStep, attempt: int, at_ms: int, expires_at: int) -> Put:
    """Return what writes a finished step, once."""
    attributes: dict[str, Value] = {
        **SCHEMA,
        "output": step["output"],
        "fingerprint": step.get("fingerprint", ""),
        "attempt": attempt,
        "calls": step.get("calls", []),
        "usage": plain_json.dumps(step.get("usage", {})),
        "cost_pico_usd": step.get("cost_pico_usd", 0),
        "model": step.get("model", ""),
        "latency_ms": step.get("latency_ms", 0),
        "at": at_ms,
    }
    if step.get("skipped"):
        attributes["skipped"] = True
    return Put(Item(Key(pk, keys.step_sk(step["key"])), attributes, expires_at), ABSENT)


def read_step(item: Item) -> FinishedStep:
    """Read a finished step.

    Raises:
        StoreRefusedError: It is newer than this reader, or damaged.
    """
    check_schema(item)
    found = item.attributes
    try:
        step: FinishedStep = {
            "key": item.key.sk.removeprefix(keys.STEP_PREFIX),
            "output": _text(found, "output"),
            "fingerprint": _text(found, "fingerprint"),
            "attempt": _number(found, "attempt"),
            "calls": [str(call) for call in cast("list[Any]", found["calls"])],
            "usage": plain_json.loads(_text(found, "usage")),
            "cost_pico_usd": _number(found, "cost_pico_usd"),
            "model": _text(found, "model"),
            "latency_ms": _number(found, "latency_ms"),
        }
    except (KeyError, TypeError, ValueError):
        raise _damaged(item) from None
    if found.get("skipped"):
        step["skipped"] = True
    return step


def put_value(pk: str, sk: str, value: str, expires_at: int) -> Put:
    """Return what writes a run's input, or its output."""
    return Put(Item(Key(pk, sk), {**SCHEMA, "value": value}, expires_at))


def read_value(item: Item | None) -> str:
    """Read a run's input or output, "null" where it has none."""
    if item is None:
        return "null"
    check_schema(item)
    return str(item.attributes.get("value", "null"))


def put_wait(pk: str, wait: Wait, hashed: str, expires_at: int) -> Put:
    """Return what writes that a step is finished from outside."""
    attributes: dict[str, Value] = {
        **SCHEMA,
        "kind": wait.get("kind", "callback"),
        "message": wait.get("message", ""),
        "expires": wait.get("expires_epoch_ms", 0),
        "hash": hashed,
    }
    return Put(Item(Key(pk, keys.wait_sk(wait["step"])), attributes, expires_at))


def read_wait(item: Item) -> Wait:
    """Read what is waited for, without its secret."""
    check_schema(item)
    found = item.attributes
    wait: Wait = {
        "step": item.key.sk.removeprefix(keys.WAIT_PREFIX),
        "kind": str(found.get("kind", "")),
        "message": str(found.get("message", "")),
    }
    expires = found.get("expires")
    if type(expires) is int and expires:
        wait["expires_epoch_ms"] = expires
    return wait


def check_schema(item: Item) -> None:
    """Refuse an item that a newer version wrote, or somebody else, rather than misread it.

    Raises:
        StoreRefusedError: It is newer than this reader, or damaged.
    """
    schema = item.attributes.get("schema")
    if type(schema) is not int or schema < 1:
        raise _damaged(item)
    if schema > names.ITEM_SCHEMA_VERSION:
        message = (
            f"An item {item.key.sk} of a run has schema {schema}; this sidecar reads up to "
            f"{names.ITEM_SCHEMA_VERSION}. Update the layer of this function."
        )
        raise errors.StoreRefusedError(message)


def _damaged(item: Item) -> errors.StoreRefusedError:
    run_id, _ = keys.parse_run_pk(item.key.pk)
    return errors.StoreRefusedError(
        f"The item {item.key.sk} of run {run_id!r} is damaged. Begin the work anew under another "
        "run id."
    )


def _text(found: Mapping[str, Value], name: str) -> str:
    value = found[name]
    if isinstance(value, str):
        return value
    raise TypeError(name)


def _number(found: Mapping[str, Value], name: str) -> int:
    value = found[name]
    if type(value) is int:
        return value
    raise TypeError(name)
