"""The generator: which price stands, what is a disagreement, and that a book only grows."""

import json

import pytest

import generate_price_book as generator
import price_catalogues as catalogues

QUOTE = {"standard": {"input": 100, "output": 200, "cache_read": 10}}


class Catalogue:
    """A catalogue with prices of a test's."""

    name = "first 1.0"

    def __init__(self, **quotes):
        self._quotes = {key.replace("__", "."): quote for key, quote in quotes.items()}

    def quotes(self, key=None, day=None):
        if key is None:
            return self._quotes
        return {"": self._quotes[key]} if key in self._quotes else {}

    def exact_ids(self):
        return set(self._quotes)

    def page(self, key):
        return f"https://vendor.example/{key}"


class Dated(Catalogue):
    """One that knows other days, too."""

    def __init__(self, told):
        super().__init__(m=told[""])
        self._told = told

    def quotes(self, key=None, day=None):
        return self._told


def built(current, second, retired=None):
    return generator.build(current, retired or Catalogue(), second, "2026-11-21")


def standard(fresh, key):
    return fresh[key][-1]["prices"]["standard"]


def test_where_catalogues_disagree_the_higher_price_stands_and_is_marked():
    dearer = {"standard": {"input": 90, "output": 210, "cache_write_5m": 7}}

    fresh, disputes, compared = built(Catalogue(m=QUOTE), Catalogue(m=dearer))

    both = {"input": 100, "output": 210, "cache_read": 10, "cache_write_5m": 7}
    assert standard(fresh, "m") == both
    assert fresh["m"][0]["disputed"]
    assert disputes == {"m": {"standard.input": [100, 90], "standard.output": [200, 210]}}
    assert compared == {"m"}


def test_a_step_that_one_of_them_leaves_out_is_a_disagreement():
    stepped = {"standard": {"input": 100, "above": {"tokens": 200_000, "input": 200}}}

    for one, other in ((QUOTE, stepped), (stepped, QUOTE)):
        merged, found = generator.reconcile(one, other)
        assert merged["standard"]["above"] == {"tokens": 200_000, "input": 200}
        assert set(found) == {"standard.above.tokens"}


def test_a_tier_of_one_of_them_is_taken():
    merged, found = generator.reconcile(QUOTE, {**QUOTE, "flex": {"input": 50}})

    assert merged["flex"] == {"input": 50}
    assert found == {}


def test_a_bare_id_is_priced_as_its_region_is():
    regional = {"standard": {"input": 110, "output": 220}}

    fresh, _, _ = built(Catalogue(**{"a.m": QUOTE, "us.a.m": regional}), Catalogue())

    assert standard(fresh, "a.m") == regional["standard"]
    assert standard(fresh, "us.a.m") == regional["standard"]


def test_retired_models_come_from_the_older_catalogue_and_others_from_the_newer():
    older = Catalogue(gone={"standard": {"input": 1}}, m={"standard": {"input": 2}})

    fresh, _, _ = built(Catalogue(m=QUOTE), Catalogue(), older)

    assert standard(fresh, "gone") == {"input": 1}
    assert standard(fresh, "m") == QUOTE["standard"]


def test_what_was_and_what_will_be_charged_is_told():
    then = {"standard": {"input": 500}}
    later = {"standard": {"input": 400}}

    fresh, disputes, _ = built(
        Catalogue(m=QUOTE), Dated({"": QUOTE, "<2026-01-05": then, "2027-01-01": later})
    )

    rows = generator.merge({}, fresh, "2026-11-21")["models"]["m"]
    begins = [(row["from"], row["prices"]["standard"]["input"]) for row in rows]
    assert begins == [("", 500), ("2026-01-05", 100), ("2027-01-01", 400)]
    assert not disputes


def fresh_row(quote):
    return {"m": [{"from": "", "prices": quote, "source": "s", "disputed": False}]}


def test_the_same_prices_again_change_nothing():
    book = generator.merge({}, fresh_row(QUOTE), "2026-11-21")

    assert book["version"] == 1
    assert generator.merge(book, fresh_row(QUOTE), "2027-01-01") == book


def test_a_new_price_is_a_new_row_and_a_lost_model_stays():
    book = generator.merge({}, {**fresh_row(QUOTE), "n": fresh_row(QUOTE)["m"]}, "2026-11-21")

    grown = generator.merge(book, fresh_row({"standard": {"input": 300}}), "2027-01-01")

    before, after = grown["models"]["m"]
    assert before == book["models"]["m"][0]
    assert (after["from"], after["as_of"]) == ("2027-01-01", "2027-01-01")
    assert after["prices"] == {"standard": {"input": 300}}
    assert grown["models"]["n"] == book["models"]["n"]
    assert grown["version"] == 2


def test_an_announced_price_follows_the_catalogue_until_it_begins():
    def told(price):
        row = {"from": "2027-01-01", "prices": {"standard": {"input": price}}}
        return {"m": [*fresh_row(QUOTE)["m"], {**row, "source": "s", "disputed": False}]}

    book = generator.merge({}, told(400), "2026-11-21")
    changed = generator.merge(book, told(300), "2026-12-01")
    begun = generator.merge(changed, fresh_row({"standard": {"input": 300}}), "2027-02-01")

    prices = [row["prices"]["standard"]["input"] for row in changed["models"]["m"]]
    assert prices == [100, 300]
    assert begun["models"] == changed["models"]


def test_only_a_disagreement_that_was_looked_at_passes():
    disputes = {"m": {"standard.input": [100, 90]}}
    nothing = {"why": [], "ids": {}, "windows": {}}

    accepted = generator.accept(nothing, disputes, ["m"], "a reason")

    assert generator.unknown_disputes(disputes, nothing) == ["m"]
    assert generator.unknown_disputes(disputes, accepted) == []
    assert generator.unknown_disputes({"m": {"standard.input": [100, 80]}}, accepted) == ["m"]
    assert json.loads(generator.encode_disputes(accepted)) == accepted
    assert generator.accept(accepted, {}, [], "")["ids"] == {}


def test_the_shipped_book_is_laid_out_as_the_generator_does():
    text = generator.BOOK.read_text()

    assert generator.encode(json.loads(text)) == text


def test_an_entry_is_taken_apart():
    quote = catalogues.litellm_quote(
        {
            "mode": "chat",
            "input_cost_per_token": "2.5e-07",
            "output_cost_per_token": "2e-06",
            "input_cost_per_token_flex": "1.25e-07",
            "input_cost_per_token_above_272k_tokens": "5e-07",
            "input_cost_per_token_above_272k_tokens_flex": "2.5e-07",
            "cache_creation_input_token_cost_above_1hr": "5e-07",
            "input_cost_per_audio_token": "1e-05",
            "search_context_cost_per_query": {"search_context_size_low": "0.01"},
            "max_input_tokens": 7,
        }
    )

    assert quote == {
        "standard": {
            "input": 250_000,
            "output": 2_000_000,
            "cache_write_1h": 500_000,
            "input_audio": 10_000_000,
            "above": {"tokens": 272_000, "input": 500_000},
        },
        "flex": {"input": 125_000, "above": {"tokens": 272_000, "input": 250_000}},
    }


def test_what_is_free_of_charge_today_has_no_price():
    free = {"input_cost_per_token": "0", "output_cost_per_token": "0"}

    assert catalogues.litellm_quote(free) == {}
    embedding = {"mode": "embedding", "input_cost_per_token": "2e-08", "output_cost_per_token": "0"}
    assert catalogues.litellm_quote(embedding) == {"standard": {"input": 20_000}}


@pytest.mark.parametrize("price", ["1e-13", "-1", "0.0000000000001"])
def test_a_price_that_is_not_whole_in_pico_usd_is_refused(price):
    with pytest.raises(ValueError, match="whole number"):
        catalogues.litellm_quote({"input_cost_per_token": price})


def test_a_second_step_is_refused():
    entry = {
        "input_cost_per_token_above_128k_tokens": "1e-07",
        "input_cost_per_token_above_200k_tokens": "2e-07",
    }

    with pytest.raises(ValueError, match="second step"):
        catalogues.litellm_quote(entry)


def test_limits_stand_in_the_last_row_and_follow_the_catalogues():
    book = generator.merge({}, fresh_row(QUOTE), "2026-11-21", {"m": [100, 10]})

    wider = generator.merge(book, fresh_row(QUOTE), "2026-12-01", {"m": [200, None]})
    dearer = {"standard": {"input": 300}}
    grown = generator.merge(wider, fresh_row(dearer), "2027-01-01", {"m": [200, None]})
    lost = generator.merge(grown, {}, "2027-02-01", {})

    assert book["models"]["m"][0]["limits"] == [100, 10]
    assert wider["models"]["m"][0] == {**book["models"]["m"][0], "limits": [200, None]}
    assert [row.get("limits") for row in grown["models"]["m"]] == [None, [200, None]]
    assert [book["version"], wider["version"], grown["version"]] == [1, 2, 3]
    assert lost == grown
