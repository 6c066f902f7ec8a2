"""Make `lambdallm_extension/price_book/prices.json` from two community catalogues.

    python extension/generate_price_book.py [--check | --accept WHY] [--wheels DIR] [--as-of DAY]

    litellm JSON ─┐                      ┌─ prices of today ─┐
    older JSON   ─┼─► quotes ─► compare ─┤                   ├─► merge ─► prices.json
    genai-prices ─┘        │             └─ prices of before ┘
                           └─► disagreements, held against price_disputes.json

Where the two disagree the higher price stands, and the row is marked `disputed`. A disagreement
that `price_disputes.json` does not name, or names with other numbers, ends the run with status 1
and nothing is written; `--accept WHY` writes it there. A price that has begun is never changed
and never deleted: a new one is a further row from `--as-of` on, or from the day that
genai-prices says it begins. Announced rows, which have priced nothing yet, follow the catalogue.
So does what a model reads and writes at most, which stands in its last row: see `model_limits`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import model_limits
import price_catalogues as catalogues
from catalogue_comparison import comparison
from model_limits import Limits
from price_catalogues import GenaiPrices, Litellm, Quote

HERE = Path(__file__).parent
BOOK = HERE / "lambdallm_extension/price_book/prices.json"
DISPUTES = HERE / "price_disputes.json"

FREE = {"standard": dict.fromkeys(list(catalogues.KINDS)[:5], 0)}

Row = dict[str, Any]
Disputes = dict[str, dict[str, list[int | None]]]


def main() -> int:
    """Generate the book, or check it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wheels", type=Path, help="folder for the wheels, which are kept in it")
    parser.add_argument("--as-of", default=time.strftime("%Y-%m-%d", time.gmtime()))
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--accept", metavar="WHY", help="write new disagreements down, with why")
    parser.add_argument("--compare", type=Path, help="also write what was compared to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheels = catalogues.download(options.wheels or Path(folder))
        current, retired, genai = read(wheels)
        fresh, disputes, compared = build(current, retired, genai, options.as_of)
        limits, windows = model_limits.read(fresh, (current, retired), genai)
    accepted = json.loads(DISPUTES.read_text()) if DISPUTES.exists() else {"why": []}
    if options.compare:
        options.compare.write_text(comparison(fresh, compared, disputes, accepted))
    new = {"ids": unknown_disputes(disputes, accepted)}
    new["windows"] = unknown_disputes(windows, accepted, "windows")
    agreed = len(compared) - len(disputes)
    print(f"{len(fresh)} ids, {len(limits)} of them with limits.")
    print(f"Both know {len(compared)}: {agreed} agree, {len(disputes)} are disputed,", end=" ")
    print(f"{len(new['ids'])} of them anew.")
    print(f"They tell different windows of {len(windows)}, {len(new['windows'])} of them anew.")
    for key in new["ids"]:
        print(f"  {key}: {disputes[key]}")
    for key in new["windows"]:
        print(f"  {key}: {windows[key]}")
    if any(new.values()) and not options.accept:
        print("Look at both vendors' pages; then --accept WHY, or --check again.")
        return 1
    if options.check:
        return 0
    for part, found in (("ids", disputes), ("windows", windows)):
        accepted = accept(accepted, found, new[part], options.accept or "", part)
    DISPUTES.write_text(encode_disputes(accepted))
    before = json.loads(BOOK.read_text()) if BOOK.exists() else {}
    BOOK.write_text(encode(merge(before, fresh, options.as_of, limits)))
    print(f"{BOOK.name}: {BOOK.stat().st_size} bytes")
    return 0


def read(wheels: Path) -> tuple[Litellm, Litellm, GenaiPrices]:
    """Open the three catalogues."""
    current, retired = (
        Litellm(wheels, name) for name in (catalogues.LITELLM, catalogues.LITELLM_RETIRED)
    )
    return current, retired, GenaiPrices(wheels)


def build(
    current: Litellm, retired: Litellm, genai: GenaiPrices, as_of: str
) -> tuple[dict[str, list[Row]], Disputes, set[str]]:
    """Make today's rows of every id.

    Args:
        current: Its price stands where only one is asked.
        retired: Asked for ids that the current one has dropped.
        genai: The second one, asked about every id, and for those that it alone knows.
        as_of: The day that is today.

    Returns:
        Rows by id; disagreements by id and price; the ids that both know.
    """
    first = {key: (quote, retired) for key, quote in retired.quotes().items()}
    first |= {key: (quote, current) for key, quote in current.quotes().items()}
    fresh: dict[str, list[Row]] = {}
    disputes: Disputes = {}
    compared = set()
    for key in sorted({*first, *genai.exact_ids()}):
        second = genai.quotes(key, as_of)
        if key not in first:
            if second.get(""):
                fresh[key] = _history(second[""], second, genai.name)
            continue
        quote, catalogue = first[key]
        regional = first.get(f"us.{key}")
        if regional and _is_dearer(regional[0], quote):
            quote = regional[0]  # asked in its region: see docs/prices.md
        page = catalogue.page(key)
        names = f", which names {page}" if page else ""
        if not second.get(""):
            fresh[key] = [_row(quote, f"{catalogue.name}{names}")]
            continue
        compared.add(key)
        merged, found = reconcile(quote, second[""])
        if found:
            disputes[key] = found
        fresh[key] = _history(merged, second, f"{catalogue.name} and {genai.name}{names}")
        fresh[key][-1 if len(second) == 1 else _today(fresh[key])]["disputed"] = bool(found)
    fresh["scripted/*"] = [_row(FREE, "answers come from a file: they cost nothing")]
    return fresh, disputes, compared


def reconcile(one: Quote, other: Quote) -> tuple[Quote, dict[str, list[int | None]]]:
    """Put two quotes together, and say what they disagree about; the higher price stands.

    A tier or a kind that one of them leaves out is no disagreement; a step is.
    """
    merged: Quote = json.loads(json.dumps(one))
    found: dict[str, list[int | None]] = {}
    for tier, rates in other.items():
        if tier not in merged:
            merged[tier] = rates
            continue
        ours = merged[tier]
        steps = [side.get("above", {}).get("tokens") for side in (ours, rates)]
        if steps[0] != steps[1]:
            found[f"{tier}.above.tokens"] = steps
        _raise(ours, rates, f"{tier}.", found)
        if "above" in rates:
            mine = ours.setdefault("above", dict(rates["above"]))
            mine["tokens"] = min(mine["tokens"], rates["above"]["tokens"])
            _raise(mine, rates["above"], f"{tier}.above.", found)
    return merged, found


def merge(
    before: dict[str, Any], fresh: dict[str, list[Row]], as_of: str, limits: Limits | None = None
) -> dict[str, Any]:
    """Add today's rows to the book where they differ from those that hold in it."""
    sources: list[str] = list(before.get("sources", []))
    models: dict[str, list[Row]] = {
        key: list(rows) for key, rows in before.get("models", {}).items()
    }
    for key, rows in sorted(fresh.items()):
        known = [row for row in models.get(key, ()) if row["from"] <= as_of]
        is_known = bool(known)
        for row in rows:
            if is_known and row["from"] <= as_of:
                if row is not _effective(rows, as_of) or row["prices"] == known[-1]["prices"]:
                    continue
                row = {**row, "from": as_of}  # noqa: PLW2901 - the same price, from today on
            if row["source"] not in sources:
                sources.append(row["source"])
            added = {**row, "as_of": as_of, "source": sources.index(row["source"])}
            if not added.pop("disputed"):
                known.append(added)
            else:
                known.append({**added, "disputed": True})
        models[key] = _limited(_kept(models.get(key, []), known), (limits or {}).get(key))
    book = {"version": before.get("version", 0), "sources": sources, "models": models}
    if book != before:
        book["version"] += 1
    return book


def encode(book: dict[str, Any]) -> str:
    """Write one model a line, in order, so that a change of price is a change of one line."""
    models = ",\n".join(_line(key, book["models"][key]) for key in sorted(book["models"]))
    sources = json.dumps(book["sources"], indent=0)
    return f'{{"version":{book["version"]},"sources":{sources},\n"models":{{\n{models}\n}}}}\n'


def unknown_disputes(disputes: Disputes, accepted: dict[str, Any], part: str = "ids") -> list[str]:
    """Return the ids whose disagreement is not the one that was looked at."""
    known = accepted.get(part, {})
    return [key for key, found in disputes.items() if known.get(key, [0, {}])[1] != found]


def accept(
    accepted: dict[str, Any], disputes: Disputes, new: list[str], why: str, part: str = "ids"
) -> dict[str, Any]:
    """Write new disagreements down, and forget those that are none any more.

    Args:
        accepted: What was looked at before.
        disputes: All there are today.
        new: The ids of those that are written down.
        why: Their reason.
        part: `ids` for prices, `windows` for what models read and write together.
    """
    reasons = [*accepted["why"]]
    if new and why not in reasons:
        reasons.append(why)
    ids = {key: entry for key, entry in accepted.get(part, {}).items() if key in disputes}
    ids |= {key: [reasons.index(why), disputes[key]] for key in new}
    return {**accepted, "why": reasons, part: ids}


def encode_disputes(accepted: dict[str, Any]) -> str:
    """Write one id a line."""
    parts = [f'{{"why":{json.dumps(accepted["why"], indent=0)}']
    for part in ("ids", "windows"):
        held = accepted.get(part, {})
        lines = ",\n".join(_line(key, held[key]) for key in sorted(held))
        parts.append(f'"{part}":{{\n{lines}\n}}')
    return ",\n".join(parts) + "}\n"


def _line(key: str, value: Any) -> str:
    return f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}"


def _limited(rows: list[Row], limit: list[int | None] | None) -> list[Row]:
    """Return a model's rows with its limits in the last one; without any, as they were."""
    if limit is None:
        return rows
    bare = [{name: value for name, value in row.items() if name != "limits"} for row in rows]
    bare[-1]["limits"] = limit
    return bare


def _row(quote: Quote, source: str, begin: str = "") -> Row:
    return {"from": begin, "prices": quote, "source": source, "disputed": False}


def _history(quote: Quote, told: dict[str, Quote], source: str) -> list[Row]:
    """Return the row of today between those that genai-prices knows of before and after."""
    alone = GenaiPrices.name
    before = [begin for begin in told if begin.startswith("<")]
    rows = [_row(told[begin], alone) for begin in before]
    rows.append(_row(quote, source, before[0][1:] if before else ""))
    rows += [_row(told[begin], alone, begin) for begin in sorted(told) if begin[:1].isdigit()]
    return rows


def _today(rows: list[Row]) -> int:
    return max(place for place, row in enumerate(rows) if GenaiPrices.name != row["source"])


def _effective(rows: list[Row], day: str) -> Row:
    return next(row for row in reversed(rows) if row["from"] <= day)


def _kept(before: list[Row], now: list[Row]) -> list[Row]:
    """Return the rows as they were where nothing but the day of reading has changed."""
    return [
        next(
            (old for old in before if (old["from"], old["prices"]) == (row["from"], row["prices"])),
            row,
        )
        for row in now
    ]


def _is_dearer(one: Quote, other: Quote) -> bool:
    mine, theirs = (quote.get("standard", {}).get("input", 0) for quote in (one, other))
    return bool(mine > theirs)


def _raise(
    ours: dict[str, Any], theirs: dict[str, Any], where: str, found: dict[str, list[int | None]]
) -> None:
    for kind, price in theirs.items():
        if kind in ("above", "tokens"):
            continue
        if kind in ours and ours[kind] != price:
            found[f"{where}{kind}"] = [ours[kind], price]
        ours[kind] = max(price, ours.get(kind, price))


if __name__ == "__main__":
    sys.exit(main())
