"""Make `lambdallm_extension/price_book/prices.json` from two community catalogues.

    python extension/generate_price_book.py [--wheels DIR] [--as-of YYYY-MM-DD] [--check]

`litellm`'s wheel is downloaded and its JSON read; its code is never imported. An older wheel of
it gives the models that Bedrock has retired since. `genai-prices` is asked about the same ids:
where the two disagree the higher price stands, and the row is marked `disputed`.

    litellm JSON ─┐                     ┌─ rows of today ─┐
    older JSON   ─┼─► extract ─► build ─┤                 ├─► merge ─► prices.json
    genai-prices ─┘                     └─ rows of before ┘

Rows are never deleted and never changed: a new price becomes a further row from `--as-of` on.
`--check` writes nothing, and fails when the catalogues disagree about an id that the book does
not know as disputed.

Both catalogues are under the MIT licence, checked in 2026-11.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

LITELLM = "litellm==1.109.1"
LITELLM_RETIRED = "litellm==1.72.0"
"""The last series that still lists Claude 3 Haiku and Sonnet."""
GENAI_PRICES = "genai-prices==0.2.3"

BOOK = Path(__file__).parent / "lambdallm_extension/price_book/prices.json"
LITELLM_JSON = "litellm/model_prices_and_context_window_backup.json"

FAMILIES = ("anthropic.claude", "amazon.nova", "amazon.titan-text", "meta.llama")
GEOGRAPHIES = ("us", "us-gov", "eu", "apac", "jp", "au", "ca", "in", "global")
KINDS = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
LITELLM_NAMES = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write_5m": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
}
GENAI_NAMES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write_5m": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
}
STEPS = (100_000, 128_000, 200_000, 256_000, 272_000, 512_000)
"""Input lengths at which some catalogue row changes its price."""

PICO_PER_USD = 10**12
TOKENS_PER_MTOK = 10**6

Row = dict[str, Any]
Rows = dict[str, Row]


def main() -> int:
    """Generate the book, or check it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wheels", type=Path, help="folder with the wheels; else downloaded")
    parser.add_argument("--as-of", default=time.strftime("%Y-%m-%d", time.gmtime()))
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a dispute")
    parser.add_argument("--extract", type=Path, help="also write what was read to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheels = options.wheels or download(Path(folder))
        extract = read_wheels(wheels)
    if options.extract:
        options.extract.write_text(json.dumps(extract, indent=0, sort_keys=True) + "\n")
    fresh = build(extract)
    before = json.loads(BOOK.read_text()) if BOOK.exists() else {"sources": [], "models": {}}
    new_disputes = sorted(
        key
        for key, row in fresh.items()
        if row["disputed"] and not any(old.get("disputed") for old in before["models"].get(key, []))
    )
    if options.check:
        print(f"{len(fresh)} rows, {len(new_disputes)} new disputes: {', '.join(new_disputes)}")
        return 1 if new_disputes else 0
    book = merge(before, fresh, options.as_of)
    BOOK.write_text(encode(book))
    disputed = sum(row["disputed"] for row in fresh.values())
    print(
        f"{BOOK.name}: {len(book['models'])} ids, {disputed} disputed, {BOOK.stat().st_size} bytes"
    )
    return 0


def download(folder: Path) -> Path:
    """Fetch the three wheels from the package index."""
    for package in (LITELLM, LITELLM_RETIRED, GENAI_PRICES):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary"]
        subprocess.run([*command, ":all:", "--dest", str(folder), package], check=True)
    return folder


def read_wheels(wheels: Path) -> dict[str, Any]:
    """Return what the three catalogues say of our families, as text, so that it can be kept."""
    current, retired = (_read_litellm(wheels, name) for name in (LITELLM, LITELLM_RETIRED))
    genai = _read_genai_prices(wheels, {*current, *retired})
    return {"litellm": current, "litellm_retired": retired, "genai_prices": genai}


def build(extract: dict[str, Any]) -> Rows:
    """Make today's row of every id."""
    rows: Rows = {}
    for name, package in (("litellm_retired", LITELLM_RETIRED), ("litellm", LITELLM)):
        for key, entry in extract[name].items():
            rows[key] = _from_litellm(entry, package)
    for key in list(rows):
        _raise_to_regional(key, rows)
    for key, entry in extract["genai_prices"].items():
        second = _from_genai(entry)
        if key not in rows:
            rows[key] = second
        else:
            _compare(rows[key], second)
    rows["scripted/*"] = {
        **dict.fromkeys(KINDS, 0),
        "above_tokens": None,
        "above": None,
        "source": "answers come from a file: they cost nothing",
        "disputed": False,
    }
    return rows


def merge(before: dict[str, Any], fresh: Rows, as_of: str) -> dict[str, Any]:
    """Add today's rows to the book where they differ from its last ones."""
    sources: list[str] = list(before["sources"])
    models = {key: list(rows) for key, rows in before["models"].items()}
    for key, row in sorted(fresh.items()):
        known = models.setdefault(key, [])
        money = [row[name] for name in (*KINDS, "above_tokens", "above")]
        if known and [known[-1][name] for name in (*KINDS, "above_tokens", "above")] == money:
            continue
        if row["source"] not in sources:
            sources.append(row["source"])
        added = {"from": as_of if known else "", **row, "as_of": as_of}
        added["source"] = sources.index(row["source"])
        if not added["disputed"]:
            del added["disputed"]
        known.append(added)
    return {"sources": sources, "models": models}


def encode(book: dict[str, Any]) -> str:
    """Write one model a line, in order, so that a change of price is a change of one line."""
    lines = [
        f"{json.dumps(key)}:{json.dumps(book['models'][key], separators=(',', ':'))}"
        for key in sorted(book["models"])
    ]
    models = ",\n".join(lines)
    return f'{{"sources":{json.dumps(book["sources"], indent=0)},\n"models":{{\n{models}\n}}}}\n'


def _read_litellm(wheels: Path, package: str) -> Rows:
    name, _, version = package.partition("==")
    wheel = next(iter(sorted(wheels.glob(f"{name}-{version}-*.whl"))))
    catalogue = json.loads(zipfile.ZipFile(wheel).read(LITELLM_JSON), parse_float=str)
    entries: Rows = {}
    for model_id, entry in sorted(catalogue.items()):
        key = _litellm_key(model_id)
        chat = entry.get("mode") == "chat" and "input_cost_per_token" in entry
        if key and chat and str(entry.get("litellm_provider", "")).startswith("bedrock"):
            wanted = (*LITELLM_NAMES.values(), "source")
            entries[key] = {
                field: value for field, value in entry.items() if field.startswith(wanted)
            }
    return entries


def _litellm_key(model_id: str) -> str:
    """Return the book's key of a catalogue's id, "" for what cannot be asked on demand."""
    *path, name = model_id.split("/")
    geography, _, rest = name.partition(".")
    bare = rest if geography in GEOGRAPHIES else name
    if "@" in name or not bare.startswith(FAMILIES):
        return ""
    if not path:
        return name
    api, region = path[0], "/".join(path[1:])
    on_demand = api == "bedrock" and "-" in region and "/" not in region
    return f"{region}/{name}" if on_demand else ""


def _read_genai_prices(wheels: Path, ids: set[str]) -> Rows:
    """Ask the second catalogue about the same ids, and for ids that it alone knows exactly."""
    name, _, version = GENAI_PRICES.partition("==")
    sys.path.insert(0, str(next(iter(wheels.glob(f"{name.replace('-', '_')}-{version}-*.whl")))))
    from genai_prices import data_snapshot  # type: ignore[import-not-found]  # of the wheel

    aws = next(item for item in data_snapshot.get_snapshot().providers if item.id == "aws")
    exact = {clause.equals for model in aws.models for clause in _equal_clauses(model.match)}
    exact |= {model.id for model in aws.models if not model.id.endswith("-v1:0")}
    asked = {key for key in ids if "/" not in key} | {key for key in exact if _is_ours(key)}
    entries: Rows = {}
    for model_id in sorted(asked):
        model = aws.find_model(model_id)
        if model is None:
            continue
        prices = model.prices if not isinstance(model.prices, list) else model.prices[-1].prices
        entries[model_id] = {
            name: _genai_price(getattr(prices, name, None)) for name in GENAI_NAMES.values()
        }
    return entries


def _is_ours(model_id: str) -> bool:
    geography, _, rest = model_id.partition(".")
    return (rest if geography in GEOGRAPHIES else model_id).startswith(FAMILIES)


def _equal_clauses(clause: Any) -> list[Any]:
    nested = getattr(clause, "or_", None) or getattr(clause, "and_", None) or []
    found = [clause] if hasattr(clause, "equals") else []
    return found + [one for part in nested for one in _equal_clauses(part)]


def _genai_price(price: Any) -> Any:
    if price is None or isinstance(price, Decimal):
        return None if price is None else str(price)
    return {"base": str(price.base), "steps": [[t.start, str(t.price)] for t in price.tiers]}


def _from_litellm(entry: Row, package: str) -> Row:
    step = next(
        (at for at in STEPS if f"input_cost_per_token_above_{at // 1000}k_tokens" in entry), None
    )
    suffix = f"_above_{(step or 0) // 1000}k_tokens"
    above = [_pico(entry.get(name + suffix), 1) for name in LITELLM_NAMES.values()]
    page = entry.get("source", "")
    return {
        **{kind: _pico(entry.get(name), 1) for kind, name in LITELLM_NAMES.items()},
        "above_tokens": step,
        "above": above if step else None,
        "source": f"{package.replace('==', ' ')}{f', which names {page}' if page else ''}",
        "disputed": False,
    }


def _from_genai(entry: Row) -> Row:
    base: Row = {}
    above: dict[str, int | None] = {}
    step = None
    for kind, name in GENAI_NAMES.items():
        price = entry[name]
        stepped = isinstance(price, dict)
        base[kind] = _pico(price["base"] if stepped else price, TOKENS_PER_MTOK)
        above[kind] = base[kind]
        if stepped:
            step, beyond = price["steps"][0]
            above[kind] = _pico(beyond, TOKENS_PER_MTOK)
    return {
        **base,
        "above_tokens": step,
        "above": [above[kind] for kind in KINDS] if step else None,
        "source": GENAI_PRICES.replace("==", " "),
        "disputed": False,
    }


def _raise_to_regional(key: str, rows: Rows) -> None:
    """Price a bare id, asked in its region, like the geography's profile: global is cheaper.

    Source: Bedrock User Guide, "Global cross-Region inference" (about 10 % below), 2026-11.
    """
    regional = rows.get(f"us.{key}")
    if (
        key.startswith(FAMILIES)
        and regional
        and (regional["input"] or 0) > (rows[key]["input"] or 0)
    ):
        rows[key] = {**regional}


def _compare(row: Row, second: Row) -> None:
    """Take the higher of two prices for a kind, and mark that there were two."""
    for kind in KINDS:
        ours, theirs = row[kind], second[kind]
        if theirs is None or ours == theirs:
            continue
        if ours is None:
            row[kind] = theirs
        else:
            row["disputed"] = True
            row[kind] = max(ours, theirs)
    steps = (row["above_tokens"], row["above"])
    if steps != (second["above_tokens"], second["above"]):
        row["disputed"] = True
        if row["above"] is None:
            row["above_tokens"], row["above"] = second["above_tokens"], second["above"]


def _pico(price: Any, tokens: int) -> int | None:
    """Return pico-USD for one token of a price in USD for `tokens` of them."""
    if price is None:
        return None
    exact = Decimal(str(price)) * PICO_PER_USD / tokens
    if exact != int(exact):
        message = f"{price} USD for {tokens} tokens is not a whole number of pico-USD"
        raise ValueError(message)
    return int(exact)


if __name__ == "__main__":
    sys.exit(main())
