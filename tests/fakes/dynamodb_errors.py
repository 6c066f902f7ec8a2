"""Bodies of DynamoDB's refusals, as its API writes them."""

from __future__ import annotations

import json


def refusal(kind: str, message: str = "", **more: object) -> bytes:
    """Write one of this kind."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": message, **more}
    return json.dumps(body).encode()


def cancelled(*codes: str, **items: object) -> bytes:
    """Write a transaction's, of each action's code; `_1=item` is what stood at the second."""
    reasons: list[dict[str, object]] = [
        {"Code": code, "Message": f"said of {number}"} if code != "None" else {"Code": "None"}
        for number, code in enumerate(codes)
    ]
    for number, item in items.items():
        reasons[int(number[1:])]["Item"] = item
    return refusal("TransactionCanceledException", "cancelled", CancellationReasons=reasons)


THROTTLED = refusal("ProvisionedThroughputExceededException", "slow down")
