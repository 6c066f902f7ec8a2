"""The route that says what a call would cost. Loaded when it is asked."""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.server import checks
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.price_book.pricing import Pricing
    from lambdallm_wire.chat import Usage
    from lambdallm_wire.codec import Message
    from lambdallm_wire.prices import PriceReply

EPOCH_MS_MAX = 253_402_300_800_000
"""The year 10000, which no row begins in."""


def answer(message: Message, pricing: Pricing, model: str) -> PriceReply:
    """Answer one request.

    Args:
        message: A `PriceRequest`, whose model is named.
        pricing: Who knows prices.
        model: What stands behind that name.

    Raises:
        InvalidRequestError: It is none.
    """
    checks.require(message, usage=dict)
    for field in ("service_tier", "region"):
        if field in message:
            checks.require(message, **{field: str})
    epoch_ms = message.get("epoch_ms")
    if epoch_ms is not None and not (type(epoch_ms) is int and 0 <= epoch_ms < EPOCH_MS_MAX):
        raise errors.InvalidRequestError("The field 'epoch_ms' is milliseconds since 1970.")
    return pricing.quote(
        model,
        _usage(message["usage"]),
        epoch_ms,
        region=message.get("region", ""),
        tier=message.get("service_tier", ""),
    )


def _usage(given: Message) -> Usage:
    """Return the counts, of which those that are left out are 0."""
    wrong = [
        repr(kind)
        for kind, count in given.items()
        if kind not in NO_USAGE or type(count) is not int or count < 0
    ]
    if wrong:
        detail = f"The field 'usage' has no counts of tokens in {', '.join(wrong)}."
        raise errors.InvalidRequestError(detail)
    return {**NO_USAGE, **given}  # type: ignore[typeddict-item]  # these are its keys
