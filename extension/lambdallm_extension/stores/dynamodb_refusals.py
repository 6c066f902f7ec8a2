"""What DynamoDB refuses with, and what that means for us, without I/O.

    Outcome.CONDITION   a condition does not hold: nothing was written
    Outcome.AGAIN       nothing was written, and later it may go: throttled, in conflict
    Outcome.LOST        the server failed: it may have been written
    Outcome.EXPIRED     nothing was written, the credentials are too old
    Outcome.NEVER       nothing was written, and a retry does not mend it

Source: DynamoDB Developer Guide, "Error handling with DynamoDB", 2026-11.
"""

from __future__ import annotations

from binascii import crc32

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.http_client.client import HttpReply


class Outcome:
    """What a refusal means for the next step: one of these words. `enum` takes 1 ms to load."""

    CONDITION = "condition"
    AGAIN = "again"
    LOST = "lost"
    EXPIRED = "expired"
    NEVER = "never"


class Refusal(NamedTuple):
    """An error as DynamoDB sends it.

    Attributes:
        kind: Such as `ConditionalCheckFailedException`.
        items: What stands in the table where a condition failed: one per action, in order.
        failed: Which action's condition failed, likewise.
    """

    outcome: str
    kind: str
    message: str
    items: tuple[dict[str, Any] | None, ...] = ()
    failed: tuple[bool, ...] = ()


_AGAIN = frozenset(
    (
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "ThrottledException",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    )
)

_AGAIN_REASONS = frozenset(
    ("None", "ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict")
)
"""Why a transaction was cancelled, where it is worth repeating."""

_EXPIRED = frozenset(("ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException"))

_SERVER_ERROR = 500

FORBIDDEN = "HTTP status 403"
"""Kind of a 403 that does not say why: an endpoint's policy, a proxy, a firewall."""

EXCERPT_MAX_BYTES = 300
"""Of a page that is none of DynamoDB's: enough to see whose it is."""


def read_answer(reply: HttpReply) -> dict[str, Any] | Refusal:
    """Read an answer of status 200, which is DynamoDB's only if it looks like it.

    A captive portal, a proxy's page or a cut body has that status, too, and confirms nothing.
    """
    try:
        answer = plain_json.loads(reply.body)
    except ValueError:
        answer = None
    stated = reply.header("x-amz-crc32")
    if not isinstance(answer, dict) or (stated and stated != str(crc32(reply.body))):
        kind = "an answer of status 200 that is not DynamoDB's"
        return Refusal(Outcome.LOST, kind, _excerpt(reply.body, {}))
    return answer


def read_refusal(reply: HttpReply) -> Refusal:
    """Understand an error.

    Shape: {"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
            "message": "…", "Item": {…}, "CancellationReasons": [{"Code": "…", "Item": {…}}]}
    """
    body = _parse(reply.body)
    kind = str(body.get("__type") or reply.header("x-amzn-errortype") or "")
    kind = kind.partition(":")[0].rpartition("#")[2] or f"HTTP status {reply.status}"
    message = str(body.get("message") or body.get("Message") or "") or _excerpt(reply.body, body)
    if kind == "TransactionCanceledException":
        return _read_cancellation(kind, message, body.get("CancellationReasons") or [])
    if kind == "ConditionalCheckFailedException":
        return Refusal(Outcome.CONDITION, kind, message, (body.get("Item"),), (True,))
    if kind in _AGAIN:
        outcome = Outcome.AGAIN
    elif kind in _EXPIRED:
        outcome = Outcome.EXPIRED
    elif reply.status >= _SERVER_ERROR:
        outcome = Outcome.LOST
    else:
        outcome = Outcome.NEVER
    return Refusal(outcome, kind, message)


def _read_cancellation(kind: str, message: str, reasons: list[dict[str, Any]]) -> Refusal:
    """Judge a cancelled transaction: a condition that fails outweighs what may pass."""
    codes = [str(reason.get("Code")) for reason in reasons]
    failed = tuple(code == "ConditionalCheckFailed" for code in codes)
    if any(failed):
        items = tuple(
            reason.get("Item") if fails else None
            for reason, fails in zip(reasons, failed, strict=True)
        )
        return Refusal(Outcome.CONDITION, kind, message, items, failed)
    if reasons and _AGAIN_REASONS.issuperset(codes):
        return Refusal(Outcome.AGAIN, ", ".join(sorted({*codes} - {"None"})), message)
    details = [str(reason["Message"]) for reason in reasons if reason.get("Message")]
    return Refusal(Outcome.NEVER, kind, " ".join(details) or message)


def _excerpt(raw: bytes, body: dict[str, Any]) -> str:
    """Return the beginning of what is not DynamoDB's: a proxy's or a firewall's page."""
    if body:
        return ""
    return " ".join(raw[:EXCERPT_MAX_BYTES].decode("utf-8", "replace").split())


def _parse(body: bytes) -> dict[str, Any]:
    try:
        parsed = plain_json.loads(body)
    except ValueError:  # Not DynamoDB's own words: a proxy's page, or nothing.
        return {}
    return parsed if isinstance(parsed, dict) else {}
