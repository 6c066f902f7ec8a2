"""What a call would cost, for whoever wants to know before or without asking a model."""

from __future__ import annotations

from typing import TypedDict

from lambdallm_wire.chat import Usage  # noqa: TC001 - read by get_type_hints


class PriceRequest(TypedDict, total=False):
    """A model and what a call of it would use. `model` and `usage` are always there.

    Args:
        model: `provider/model`, an alias, an id alone, or an ARN.
        usage: In disjoint counts.
        service_tier: In the provider's own words, such as `flex`; the standard one without.
        region: Where, when not in the environment's own region.
        epoch_ms: When; now without.
    """

    model: str
    usage: Usage
    service_tier: str
    region: str
    epoch_ms: int


class PriceRow(TypedDict):
    """The row that a price was read from.

    Args:
        key: The price book's id of the model.
        tier: `standard`, `batch`, `flex`, `priority`, …
        begins: The first day that it holds on (UTC, `YYYY-MM-DD`), "" for ever.
        source, as_of: Where it was read, and on which day.
        disputed: Whether another catalogue names another price.
        rule: Why this row, where it is not the model's own, as a sentence.
        pico_usd_per_token: What counted for this usage, by kind.
        above_tokens: A call whose whole input is longer than this is paid at other prices; None
            without such a step.
        is_above: Whether this one is.
        input_limit, output_limit: Tokens that the model reads and writes at most; None where the
            price book does not say.
    """

    key: str
    tier: str
    begins: str
    source: str
    as_of: str
    disputed: bool
    rule: str
    pico_usd_per_token: dict[str, int]
    above_tokens: int | None
    is_above: bool
    input_limit: int | None
    output_limit: int | None


class PriceReply(TypedDict):
    """What it costs. No price is no cost: both are None then.

    Args:
        model: As it was understood, behind aliases.
        row: None where nobody knows a price of this model on this tier and day.
        cost_pico_usd: None, too, where a kind of token was used that has no price.
        tiers: On which the model has prices that day.
        near: Ids of the price book that may have been meant, when there is no row.
        version: Of the price book.
    """

    model: str
    row: PriceRow | None
    cost_pico_usd: int | None
    tiers: list[str]
    near: list[str]
    version: int
