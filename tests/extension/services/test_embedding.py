"""Texts into vectors: each asked for once, remembered by content, booked exactly."""

from typing import Any

import pytest

from fakes.played import Gateway, Player, lost, refused
from lambdallm_extension import errors
from lambdallm_extension.configuration import ModelAlias
from lambdallm_extension.domain.answers import EmbedAnswer
from lambdallm_extension.services.embedding import (
    TEXT_MAX_CHARACTERS,
    Embedding,
    VectorCache,
)
from lambdallm_wire.tokens import NO_USAGE


def vectors(request: Any) -> EmbedAnswer:
    """Answer with a vector of each text's length, and that many tokens."""
    texts = request["texts"]
    usage: Any = {**NO_USAGE, "uncached_input_tokens": sum(map(len, texts))}
    return EmbedAnswer([[float(len(text)), 0.5] for text in texts], usage, "m", "req-1")


class Desk:
    def __init__(self, *outcomes: Any, **configured: Any) -> None:
        self.gateway = Gateway(**configured)
        self.player = Player(*(outcomes or [vectors] * 9))
        self._embedding = Embedding(
            self.gateway.perform(self.player),
            self.gateway.books,
            self.gateway.health,
            self.gateway.configuration,
        )

    def embed(self, *texts: str, **request: Any) -> Any:
        asked: Any = {"work_id": "w", "call_id": "c", "model": "m", "texts": list(texts), **request}
        return self._embedding.embed(
            asked, self.gateway.totals, deadline_ms=self.gateway.deadline_ms()
        )

    @property
    def asked(self) -> list[list[str]]:
        return [request["texts"] for request in self.player.requests]


def test_vectors_come_in_the_order_of_the_texts_and_each_text_is_asked_once() -> None:
    desk = Desk()
    reply = desk.embed("a", "bcd", "a", "ef")

    assert reply["vectors"] == [[1, 0.5], [3, 0.5], [1, 0.5], [2, 0.5]]
    assert desk.asked == [["a", "bcd", "ef"]]
    assert (reply["usage"]["uncached_input_tokens"], reply["cost_pico_usd"]) == (6, 100)
    assert (reply["cached_texts"], reply["total_cost_pico_usd"]) == (1, 100)
    desk.gateway.check_books(state="settled", operation="embeddings", uncached_input_tokens=6)


def test_what_is_remembered_is_not_asked_for_and_costs_nothing() -> None:
    desk = Desk()
    desk.embed("a", "b")
    some = desk.embed("b", "c", call_id="c2")
    none = desk.embed("a", "c", call_id="c3")

    assert desk.asked == [["a", "b"], ["c"]]
    assert (some["cached_texts"], some["usage"]["uncached_input_tokens"]) == (1, 1)
    assert (none["cached_texts"], none["usage"], none["cost_pico_usd"]) == (2, NO_USAGE, 0)
    assert none["vectors"] == [[1, 0.5], [1, 0.5]]
    assert desk.gateway.totals.calls == 2


@pytest.mark.parametrize(
    "other",
    [
        {"model": "other"},
        {"region": "eu-west-1"},
        {"dimensions": 256},
        {"additional_fields": {"input_type": "search_query"}},
    ],
)
def test_what_makes_another_vector_is_another_question(other: dict[str, Any]) -> None:
    desk = Desk()
    desk.embed("a")
    desk.embed("a", **other)
    desk.embed("a", **other)

    assert desk.asked == [["a"], ["a"]]


def test_a_vector_that_somebody_changes_is_remembered_unchanged() -> None:
    desk = Desk()
    desk.embed("a")["vectors"][0].clear()
    desk.embed("a")["vectors"][0].clear()

    assert desk.embed("a")["vectors"] == [[1, 0.5]]


def test_vectors_of_two_models_are_never_mixed() -> None:
    alias = {"m": ModelAlias("p/first", ("p/second",))}
    desk = Desk(vectors, refused(400, retryable=False), vectors, vectors, models=alias)
    desk.embed("a")
    mixed = desk.embed("a", "b", call_id="c2")

    assert desk.asked == [["a"], ["b"], ["a", "b"]]
    assert (mixed["model"], mixed["cached_texts"]) == ("p/second", 0)
    assert desk.embed("a", "b", call_id="c3")["model"] == "p/first"
    assert desk.asked[-1] == ["b"], "what the second one said is not remembered as the first one's"


def test_the_same_model_in_another_region_is_the_same_model() -> None:
    alias = {
        "m": ModelAlias("p/first", ("there",)),
        "there": ModelAlias("p/first", region="eu-west-1"),
    }
    desk = Desk(vectors, refused(400, retryable=False), vectors, models=alias)
    desk.embed("a")
    desk.embed("a", "b", call_id="c2")

    assert desk.asked == [["a"], ["b"], ["b"]]
    assert [request["region"] for request in desk.player.requests] == ["", "", "eu-west-1"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_vectors_that_do_not_fit_the_texts_are_no_answer_and_not_asked_for_again(
    count: int,
) -> None:
    answer = EmbedAnswer([[1.0]] * count, NO_USAGE, "m", "r")
    desk = Desk(answer, vectors)
    with pytest.raises(errors.ProviderError, match="vectors came for 2 texts"):
        desk.embed("a", "b", max_retries=5)

    assert len(desk.asked) == 1
    desk.gateway.check_books(state="unknown", error="NotWhole")


def test_a_failure_is_retried_as_any_call_and_nothing_is_remembered_of_it() -> None:
    desk = Desk(refused(), vectors)
    desk.embed("a")
    desk.gateway.check_books(state="settled", attempts=2)

    failing = Desk(lost(), vectors)
    with pytest.raises(errors.ProviderError):
        failing.embed("a", max_retries=3)
    failing.gateway.check_books(state="unknown")
    failing.embed("a", call_id="c2")
    assert failing.asked == [["a"], ["a"]]


def test_what_is_remembered_is_bounded_and_what_was_used_last_stays() -> None:
    cache = VectorCache(numbers_max=200)
    places = [("m", "", 0, "{}", text) for text in "abc"]
    for place in places:
        cache.put(place, [1.0] * 60)
        cache.get(places[0])

    assert [bool(cache.get(place)) for place in places] == [True, False, True]
    cache.put(places[1], [1.0] * 10_000)
    assert not any(map(cache.get, places)), "one that is larger than all takes no place"
    cache.put(places[0], [1.0])
    assert cache.get(places[0]) == [1.0]


def test_texts_take_place_too() -> None:
    cache = VectorCache(numbers_max=20_000)
    places = [("m", "", 0, "{}", f"{number}" + "x" * 60_000) for number in range(8)]
    for place in places:
        cache.put(place, [1.0])

    assert sum(cache.get(place) is not None for place in places) == 2
    long = ("m", "", 0, "{}", "x" * (TEXT_MAX_CHARACTERS + 1))
    cache.put(long, [1.0])
    assert cache.get(long) is None


def test_a_vector_that_is_replaced_is_counted_once() -> None:
    cache = VectorCache(numbers_max=500)
    for _ in range(100):
        cache.put(("m", "", 0, "{}", "a"), [1.0] * 60)
    cache.put(("m", "", 0, "{}", "b"), [2.0] * 60)

    assert cache.get(("m", "", 0, "{}", "a")) == [1.0] * 60


class Bounds:
    """What a budget is told that calls can use, in the place of `services.spending.Spending`."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def admit(self, model: str, body: Any, scopes: Any, **_: Any) -> None:
        self.told.append((model, body()))


def test_a_budget_is_told_all_that_a_model_is_asked_for() -> None:
    """Also of a fallback, which has no use for the first one's vectors."""
    alias = ModelAlias("bedrock/one", fallbacks=("bedrock/two",))
    desk = Desk(vectors, refused(400), vectors, vectors, models={"search": alias})
    bounds: Any = Bounds()
    desk.gateway.books.spending = bounds
    desk.embed("a", "b", model="search")
    fields = {"inputImage": "iVBOR"}
    desk.embed("a", "b", "c", model="search", call_id="c2", max_retries=0)
    desk.embed("d", model="search", call_id="c3", additional_fields=fields)

    assert [(model[-3:], body["texts"]) for model, body in bounds.told] == [
        ("one", ["a", "b"]), ("one", ["c"]), ("two", ["a", "b", "c"]), ("one", ["d"]),
    ]  # fmt: skip
    assert bounds.told[-1][1]["inputImage"] == "iVBOR"
