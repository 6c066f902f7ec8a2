"""The book's text: a line a model, whole numbers alone, and what is no book is refused."""

import json
from pathlib import Path

import pytest

from lambdallm_extension.price_book import Book, Rates, book as books

TEXT = (Path(books.__file__).parent / "prices.json").read_text()
WHOLE = json.loads(TEXT)


def all_rates():
    for key, rows in WHOLE["models"].items():
        for row in rows:
            for rates in row["prices"].values():
                yield key, rates
                yield from ((key, rates[name]) for name in rates if name == "above")


def test_the_shipped_book_reads_line_by_line_as_it_reads_whole():
    book = Book(TEXT)

    book.check()

    assert book.version == WHOLE["version"] >= 1
    assert book.keys() == sorted(WHOLE["models"])
    assert all(book.rows(key) == rows for key, rows in WHOLE["models"].items())
    assert [book.source(n) for n in range(len(WHOLE["sources"]))] == WHOLE["sources"]
    assert all(len(line) < 20_000 for line in TEXT.splitlines())


def test_no_number_in_it_is_a_fraction_and_no_price_is_nothing():
    def refuse(text):
        pytest.fail(f"{text} is no whole number")

    json.loads(TEXT, parse_float=refuse, parse_constant=refuse)
    for key, rates in all_rates():
        kinds = {**rates}
        above = kinds.pop("above", None)
        tokens = kinds.pop("tokens", None)
        assert set(kinds) <= set(Rates._fields)
        assert all(type(price) is int and price >= 0 for price in kinds.values()), key
        assert key.startswith("scripted/") or kinds.get("input", 1) > 0, key
        assert above is None or above["tokens"] > 0
        assert tokens is None or type(tokens) is int


def test_every_row_has_a_source_and_days_in_order():
    for key, rows in WHOLE["models"].items():
        begins = [row["from"] for row in rows]
        assert begins == sorted(set(begins)), key
        for row in rows:
            assert WHOLE["sources"][row["source"]]
            assert len(row["as_of"]) == len("2026-11-21")
            assert row.get("disputed") in (None, True)


def test_what_is_disputed_was_looked_at():
    disputes = json.loads((Path(books.__file__).parents[2] / "price_disputes.json").read_text())
    disputed = {
        key for key, rows in WHOLE["models"].items() if any(row.get("disputed") for row in rows)
    }

    assert disputed == set(disputes["ids"])
    for why, found in disputes["ids"].values():
        assert disputes["why"][why]
        assert all(one != other for one, other in found.values())


@pytest.mark.parametrize("text", ["", "{}", '{"sources":[]}', '{"version":x,', "\n", "[1]"])
def test_what_does_not_begin_like_a_book_is_none(text):
    with pytest.raises(ValueError, match="no price book"):
        Book(text)


def one_row(**changes):
    row = {"from": "", "as_of": "d", "source": 0, "prices": {"standard": {"input": 1}}, **changes}
    return f'{{"version":2,"sources":[\n"s"\n],\n"models":{{\n"m":{json.dumps([row])}\n}}}}\n'


def test_a_row_that_is_not_whole_is_found():
    Book(one_row()).check()
    Book(one_row(limits=[None, 5])).check()

    for changes in (
        {"source": 3},
        {"source": "s"},
        {"from": 4},
        {"prices": {}},
        {"prices": []},
        {"prices": {"standard": {"input": 0.5}}},
        {"prices": {"standard": {"input": -1}}},
        {"prices": {"standard": {"input": 1, "above": {"tokens": "x"}}}},
        {"limits": [1]},
        {"limits": [0, 1]},
        {"limits": ["1", 1]},
        {"limits": 4},
    ):
        with pytest.raises(ValueError, match=r"row|book"):
            Book(one_row(**changes)).check()


def test_a_book_that_is_cut_or_laid_out_otherwise_is_found():
    with pytest.raises(ValueError, match=r".+"):
        Book(TEXT[: len(TEXT) // 2]).check()
    laid_out = json.dumps(json.loads(one_row()), separators=(",", ":")).replace(
        '"models":{', '\n"models":{\n'
    )
    with pytest.raises(ValueError, match=r"not where it is looked for|no price book"):
        Book(laid_out.replace('"m":[', '"m" :[')).check()
