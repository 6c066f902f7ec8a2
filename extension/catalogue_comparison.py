"""What two catalogues say of every id that both know, as a page to read.

reasons, the commonest first ─► every disputed id ─► every id that is agreed on
"""

from __future__ import annotations

from collections import Counter
from typing import Any

Disputes = dict[str, dict[str, list[int | None]]]


def comparison(
    fresh: dict[str, list[dict[str, Any]]],
    compared: set[str],
    disputes: Disputes,
    accepted: dict[str, Any],
) -> str:
    """Return the page, in Markdown; prices are USD for a million tokens.

    Args:
        fresh: The book's rows of today, by id.
        compared: The ids that both know.
        disputes: By id and price, what each of the two says.
        accepted: What was looked at, with why.
    """
    agreed = sorted(compared - disputes.keys())
    reasons = Counter(_why(key, disputes, accepted) for key in disputes)
    lines = [
        "# The two catalogues of prices, compared",
        "",
        f"Both know {len(compared)} ids: of {len(agreed)} they name the same prices in every tier, "
        f"kind and step that both name, of {len(disputes)} they do not. The higher price stands. "
        "USD for a million tokens.",
        "",
        "| Ids | Why they differ |",
        "| ---: | --- |",
        *(f"| {count} | {why} |" for why, count in reasons.most_common()),
        "",
        "## Disputed",
        "",
        "| Id | Price | litellm | genai-prices | Stands | Why |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for key in sorted(disputes):
        for name, (one, other) in sorted(disputes[key].items()):
            said = (_said(name, each) for each in (one, other, _stands(name, one, other)))
            cells = " | ".join(said)
            lines.append(f"| `{key}` | {name} | {cells} | {_why(key, disputes, accepted)} |")
    lines += ["", "## Agreed", "", "| Id | Input | Output |", "| --- | ---: | ---: |"]
    for key in agreed:
        rates = _standard(fresh[key])
        lines.append(f"| `{key}` | {_usd(rates.get('input'))} | {_usd(rates.get('output'))} |")
    return "\n".join(lines) + "\n"


def _why(key: str, disputes: Disputes, accepted: dict[str, Any]) -> str:
    number, known = accepted.get("ids", {}).get(key, [0, None])
    return str(accepted["why"][number]) if known == disputes[key] else "**nobody has looked yet**"


def _stands(name: str, one: int | None, other: int | None) -> int | None:
    """Return the higher price; of two steps the earlier one, from which on a call is dearer."""
    told = [each for each in (one, other) if each is not None]
    return (min if name.endswith(".tokens") else max)(told, default=None)


def _said(name: str, number: int | None) -> str:
    if name.endswith(".tokens"):
        return "no step" if number is None else f"{number:,} tokens"
    return _usd(number)


def _standard(rows: list[dict[str, Any]]) -> dict[str, Any]:
    prices = rows[-1]["prices"]
    rates: dict[str, Any] = prices.get("standard") or next(iter(prices.values()))
    return rates


def _usd(pico: int | None) -> str:
    return "–" if pico is None else f"{pico / 1_000_000:g}"
