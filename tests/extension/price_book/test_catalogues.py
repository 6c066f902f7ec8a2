"""The book beside both catalogues, over every id that both know, each priced in its own way.

They are fetched from the package index (50 MB) into `.cache`, or taken from the folder that
LAMBDALLM_PRICE_WHEELS names.
"""

import json
import os
import subprocess
import sys
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest

import price_catalogues as catalogues
from lambdallm_extension.price_book import cost_pico_usd, find

ROOT = Path(__file__).parents[3]
AS_OF_MS = 1_795_262_400_000  # 2026-11-21, noon
PICO = 10**12
NAMES = {
    "uncached_input_tokens": "input_cost_per_token",
    "cache_read_tokens": "cache_read_input_token_cost",
    "cache_write_5m_tokens": "cache_creation_input_token_cost",
    "cache_write_1h_tokens": "cache_creation_input_token_cost_above_1hr",
    "output_tokens": "output_cost_per_token",
}
USES = (
    {"uncached_input_tokens": 1234, "output_tokens": 567},
    {"uncached_input_tokens": 12, "cache_read_tokens": 9_000, "output_tokens": 30},
    {"uncached_input_tokens": 5, "cache_write_5m_tokens": 4_321, "output_tokens": 7},
    {"cache_read_tokens": 400_000, "uncached_input_tokens": 300_001, "output_tokens": 1},
)
EMBEDDED = ({"uncached_input_tokens": 1234, "output_tokens": 0},)

pytestmark = pytest.mark.slow


def catalogues_folder():
    return Path(os.environ.get("LAMBDALLM_PRICE_WHEELS") or ROOT / ".cache/price-wheels")


@pytest.fixture(scope="module")
def wheels():
    pytest.importorskip("pydantic")
    try:
        return catalogues.download(catalogues_folder())
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the catalogues cannot be fetched: {error}")


@pytest.fixture(scope="module")
def litellm(wheels):
    (wheel,) = wheels.glob(f"{catalogues.LITELLM.replace('==', '-')}-*.whl")
    text = zipfile.ZipFile(wheel).read(catalogues.LITELLM_JSON)
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


@pytest.fixture(scope="module")
def genai_prices(wheels):
    (wheel,) = wheels.glob("genai_prices-*.whl")
    sys.path.insert(0, str(wheel))
    try:
        yield pytest.importorskip("genai_prices")
    finally:
        sys.path.remove(str(wheel))


def by_litellm(entry, used):
    """Return USD by litellm's own rules, None where a kind has no price."""
    read = sum(tokens for kind, tokens in used.items() if kind != "output_tokens")
    begin = "input_cost_per_token_above_"
    steps = [name for name in entry if name.startswith(begin) and name.endswith("k_tokens")]
    suffix = ""
    for step in steps:
        above = step.removeprefix("input_cost_per_token")
        if read > int(above.removeprefix("_above_").removesuffix("k_tokens")) * 1_000:
            suffix = above
    total = Decimal(0)
    for kind, tokens in used.items():
        rate = entry.get(NAMES[kind] + suffix)
        if tokens and rate is None:
            return None
        total += tokens * (rate or 0)
    return total


def by_genai_prices(package, provider, model_id, used):
    """Return USD by genai-prices, None where a kind has no price of its own there."""
    from datetime import datetime, timezone

    read = sum(tokens for kind, tokens in used.items() if kind != "output_tokens")
    usage = package.Usage(
        input_tokens=read,
        cache_read_tokens=used.get("cache_read_tokens", 0),
        cache_write_tokens=used.get("cache_write_5m_tokens", 0),
        output_tokens=used["output_tokens"],
    )
    at = datetime.fromtimestamp(AS_OF_MS / 1_000, timezone.utc)
    found = package.calc_price(usage, model_id, provider_id=provider, genai_request_timestamp=at)
    prices = found.model_price
    for kind, name in (("cache_read_tokens", "cache_read_mtok"),
                       ("cache_write_5m_tokens", "cache_write_mtok")):  # fmt: skip
        if used.get(kind) and getattr(prices, name, None) is None:
            return None
    return found.total_price


def ours(key, used):
    price = find(key if "/" in key else f"bedrock/{key}", AS_OF_MS)
    usage = dict.fromkeys(NAMES, 0) | used
    cost = cost_pico_usd(price, usage)
    return None if cost is None else Decimal(cost) / PICO


def test_every_id_that_both_know_costs_what_both_say(litellm, genai_prices):
    disputed = set(json.loads((ROOT / "extension/price_disputes.json").read_text())["ids"])
    pairs = {
        catalogues._key(model_id, str(entry.get("litellm_provider", ""))): entry
        for model_id, entry in litellm.items()
    }
    compared = 0
    different = {}
    for key, entry in pairs.items():
        region, beginning, model_id = catalogues._parts(key)
        if not key or region or key in disputed or find(key, AS_OF_MS) is None:
            continue
        provider = catalogues.GENAI_PROVIDERS[beginning]
        raised = pairs.get(f"us.{key}", entry)
        for used in USES if entry.get("mode") != "embedding" else EMBEDDED:
            said = [by_litellm(entry, used), by_litellm(raised, used)]
            try:
                second = by_genai_prices(genai_prices, provider, model_id, used)
            except LookupError:
                break
            if None in said or second is None:
                continue
            compared += 1
            if not ours(key, used) == second == max(said):
                different[key] = (used, ours(key, used), second, said)

    assert not different
    assert compared > 900


def test_no_limit_is_lower_than_a_catalogue_says(litellm, genai_prices):
    windows = catalogues.GenaiPrices(catalogues_folder())
    compared = 0
    lower = {}
    for model_id, entry in litellm.items():
        key = catalogues._key(model_id, str(entry.get("litellm_provider", "")))
        price = find(key, AS_OF_MS) if key else None
        if price is None:
            continue
        reads = max(int(entry.get("max_input_tokens") or 0), windows.window(key))
        writes = int(entry.get("max_output_tokens") or 0)
        for limit, told in ((price.input_limit, reads), (price.output_limit, writes)):
            compared += limit is not None
            if limit is not None and limit < told:
                lower[key] = (limit, told)

    assert not lower
    assert compared > 900


def test_every_row_of_litellm_is_in_the_book(litellm):
    missing = []
    for model_id, entry in litellm.items():
        key = catalogues._key(model_id, str(entry.get("litellm_provider", "")))
        if key and catalogues.litellm_quote(entry).get("standard"):
            region, _, name = key.partition("/")
            at_home = "-" in region and find(name, AS_OF_MS, region)
            if not (at_home or find(key, AS_OF_MS)):
                missing.append(key)

    assert not missing


def test_the_script_finds_no_new_disagreement(wheels):
    script = ROOT / "extension/generate_price_book.py"
    command = [sys.executable, str(script), "--check", "--wheels", str(wheels)]

    done = subprocess.run(
        [*command, "--as-of", "2026-11-21"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
