"""The generator: what it read once makes the book again, and a book only grows."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "extension/generate_price_book.py"
EXTRACT = Path(__file__).parent / "data/catalogues.json"


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generate_price_book", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def extract():
    return json.loads(EXTRACT.read_text())


EMPTY = {"sources": [], "models": {}}


def test_the_book_is_made_again_from_what_was_read(generator, extract):
    shipped = json.loads(generator.BOOK.read_text())
    fresh = generator.build(extract)
    made = generator.merge(EMPTY, fresh, "2026-11-21")

    assert generator.encode(shipped) == generator.BOOK.read_text()
    assert generator.merge(shipped, fresh, "2099-01-01") == shipped
    for key, (row,) in made["models"].items():
        source = made["sources"][row["source"]]
        assert source == shipped["sources"][shipped["models"][key][-1]["source"]]


def test_the_same_prices_again_change_nothing(generator, extract):
    rows = generator.build(extract)
    book = generator.merge(EMPTY, rows, "2026-11-21")

    assert generator.merge(book, rows, "2027-01-01") == book


def test_a_new_price_is_a_new_row_and_a_lost_model_stays(generator, extract):
    rows = generator.build(extract)
    book = generator.merge(EMPTY, rows, "2026-11-21")
    dearer = {**rows["us.amazon.nova-micro-v1:0"], "input": 40_000}

    grown = generator.merge(book, {"us.amazon.nova-micro-v1:0": dearer}, "2027-01-01")

    before, after = grown["models"]["us.amazon.nova-micro-v1:0"]
    assert (before["from"], before["input"]) == ("", 35_000)
    assert (after["from"], after["input"], after["as_of"]) == ("2027-01-01", 40_000, "2027-01-01")
    assert set(grown["models"]) == set(book["models"])


def test_where_catalogues_disagree_the_higher_price_stands_and_is_marked(generator, extract):
    rows = generator.build(extract)

    assert rows["us-gov.anthropic.claude-haiku-5-5"]["input"] == 120_000
    assert rows["us-gov.anthropic.claude-haiku-5-5"]["disputed"]
    assert not rows["us.anthropic.claude-haiku-5-5"]["disputed"]
    assert not rows["anthropic.claude-haiku-5-5"]["disputed"]


def test_a_price_that_is_not_whole_in_pico_usd_is_refused(generator, extract):
    entry = {**extract["litellm"]["us.amazon.nova-micro-v1:0"], "input_cost_per_token": "1e-13"}

    with pytest.raises(ValueError, match="whole number"):
        generator.build({**extract, "litellm": {"us.amazon.nova-micro-v1:0": entry}})


@pytest.mark.slow
def test_the_wheels_still_say_what_was_read(tmp_path):
    wheels = os.environ.get("LAMBDALLM_PRICE_WHEELS")
    if not wheels:
        pytest.skip("LAMBDALLM_PRICE_WHEELS names no folder with the catalogues' wheels (45 MB)")
    pytest.importorskip("pydantic")
    command = [sys.executable, str(SCRIPT), "--wheels", wheels, "--check"]

    done = subprocess.run(
        [*command, "--extract", str(tmp_path / "extract.json")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "extract.json").read_text() == EXTRACT.read_text()
