"""Vectors of a caller's own provider: asked by the caller, remembered and booked as any others."""

from typing import Any

import pytest

from fakes.played import Gateway, Player, refused
from lambdallm_extension import errors
from lambdallm_extension.configuration import ModelAlias, ProviderSettings
from lambdallm_extension.domain.answers import EmbedAnswer
from lambdallm_extension.services.embedding import Embedding
from lambdallm_wire.tokens import NO_USAGE


class Desk:
    """Embeddings over a played provider, and a caller that has one of its own, named `mine`."""

    def __init__(self, *outcomes: Any, **configured: Any) -> None:
        self.gateway = Gateway(**configured)
        self.player = Player(*outcomes)
        self._embedding = Embedding(
            self.gateway.perform(self.player), self.gateway.books, self.gateway.health,
            self.gateway.configuration,
        )  # fmt: skip

    def embed(self, *texts: str, left_ms: int = 60_000, **request: Any) -> Any:
        asked: Any = {
            "work_id": "w", "call_id": "c", "model": "mine/v", "texts": list(texts),
            "own_providers": ["mine"], **request,
        }  # fmt: skip
        deadline_ms = self.gateway.deadline_ms(left_ms)
        return self._embedding.embed(asked, self.gateway.totals, deadline_ms=deadline_ms)

    def performed(self, *vectors: list[float], **message: Any) -> Any:
        return self.gateway.performed(vectors=list(vectors), **message)


def theirs(request: Any) -> EmbedAnswer:
    """Answer as a built-in provider, two numbers a text."""
    return EmbedAnswer([[9.0, 9.0] for _ in request["texts"]], NO_USAGE, "m", "req-1")


NO: Any = {"detail": "No.", "title": "model invocation", "status": 502, "retryable": False}
BUSY: Any = {**NO, "retryable": True, "retry_after_seconds": 2}


def test_the_caller_is_told_which_texts_to_embed_and_its_answer_is_booked() -> None:
    desk = Desk()
    told = desk.embed("a", "bc", "a")

    assert told == {
        "perform": {
            "call_id": "c", "provider": "mine", "class_name": "", "model_id": "v",
            "deadline_epoch_ms": desk.gateway.deadline_ms(), "text_indexes": [2, 1],
        }
    }  # fmt: skip
    assert desk.gateway.record()["state"] == "intent"
    desk.gateway.clock.now_ms += 40
    reply = desk.performed([1.0], [2.0], usage={"uncached_input_tokens": 3}, cost_pico_usd=55)

    assert reply["vectors"] == [[1.0], [2.0], [1.0]]
    assert (reply["model"], reply["cached_texts"], reply["latency_ms"]) == ("mine/v", 1, 40)
    assert (reply["cost_pico_usd"], reply["total_cost_pico_usd"]) == (55, 55)
    desk.gateway.check_books(
        state="settled", operation="embeddings", model="mine/v", cost_pico_usd=55,
        uncached_input_tokens=3,
    )  # fmt: skip


def test_what_is_remembered_is_not_asked_of_the_caller() -> None:
    desk = Desk()
    desk.embed("a", "b")
    desk.performed([1.0], [2.0])
    some = desk.embed("c", "b", call_id="c2")
    assert some["perform"]["text_indexes"] == [0]
    desk.performed([3.0], call_id="c2")
    none = desk.embed("c", "a", call_id="c3")

    assert none["vectors"] == [[3.0], [1.0]]
    assert (none["cached_texts"], none["cost_pico_usd"], none["usage"]) == (2, 0, NO_USAGE)
    assert desk.gateway.totals.calls == 2


def test_a_class_that_the_configuration_names_is_named_to_the_caller() -> None:
    desk = Desk(
        models={"search": ModelAlias("mine/v")},
        providers={"mine": ProviderSettings(kind="own", class_name="app.models:Mine")},
    )
    told = desk.embed("a", model="search", own_providers=[])

    assert told["perform"]["class_name"] == "app.models:Mine"
    assert told["perform"]["model_id"] == "v"


def test_a_price_that_nobody_has_said_is_asked_of_the_price_book() -> None:
    desk = Desk(cost=None)
    desk.embed("a")

    assert desk.performed([1.0])["cost_pico_usd"] is None
    desk.gateway.check_books(state="settled", cost_pico_usd=None)


def test_its_failure_is_retried_as_any_others() -> None:
    desk = Desk()
    desk.embed("a")
    again = desk.gateway.performed(problem=BUSY)

    assert again["perform"]["text_indexes"] == [0]
    assert desk.gateway.waits == [2]
    desk.performed([1.0])
    desk.gateway.check_books(state="settled", attempts=2)


def test_behind_it_stands_a_fallback_which_gets_all_texts() -> None:
    desk = Desk(theirs, models={"search": ModelAlias("mine/v", ("theirs/v",))})
    desk.embed("a", model="search")
    desk.performed([1.0])
    desk.embed("a", "b", model="search", call_id="c2")
    reply = desk.gateway.performed(call_id="c2", problem=NO)

    assert (reply["model"], reply["cached_texts"]) == ("theirs/v", 0)
    assert reply["vectors"] == [[9.0, 9.0], [9.0, 9.0]], "vectors of two models are never mixed"
    assert desk.player.requests[0]["texts"] == ["a", "b"]


def test_it_may_be_a_fallback_itself_and_gets_all_texts_then() -> None:
    alias = {"search": ModelAlias("theirs/v", ("mine/v",))}
    desk = Desk(theirs, refused(400, retryable=False), theirs, models=alias)
    desk.embed("a", model="search")
    told = desk.embed("a", "b", model="search", call_id="c2")

    assert told["perform"]["text_indexes"] == [0, 1]
    reply = desk.performed([1.0], [2.0], call_id="c2")
    assert (reply["model"], reply["vectors"]) == ("mine/v", [[1.0], [2.0]])
    first = desk.embed("b", model="search", call_id="c3")
    assert first["model"] == "theirs/v", "what the fallback said is not remembered as the first's"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_vectors_that_do_not_fit_the_texts_are_no_answer_and_not_asked_for_again(
    count: int,
) -> None:
    desk = Desk(theirs, models={"search": ModelAlias("mine/v", ("theirs/v",))})
    desk.embed("a", "b", model="search")
    with pytest.raises(errors.ProviderError, match=f"{count} vectors came for 2 texts") as caught:
        desk.performed(*[[1.0]] * count)

    assert caught.value.source == "mine"
    assert desk.player.asked == []
    desk.gateway.check_books(state="unknown", error="NotWhole")


def test_what_may_have_been_made_is_asked_of_nobody_else() -> None:
    desk = Desk(theirs, models={"search": ModelAlias("mine/v", ("theirs/v",))})
    desk.embed("a", model="search")
    with pytest.raises(errors.ProviderError):
        desk.gateway.performed(problem={**NO, "sent": True, "title": "deadline exceeded"})

    assert desk.player.asked == []
    desk.gateway.check_books(state="unknown", error="deadline exceeded")


def test_chats_and_vectors_wait_in_one_place() -> None:
    desk = Desk()
    desk.embed("a", left_ms=1_000)
    desk.gateway.clock.now_ms += 1_001
    desk.embed("b", call_id="c2")

    assert [desk.gateway.record(name)["state"] for name in ("c", "c2")] == ["unknown", "intent"]
    with pytest.raises(errors.InvalidRequestError, match="waits for its own provider"):
        desk.performed([1.0])


def test_one_call_lasts_no_longer_than_the_configuration_says() -> None:
    desk = Desk(call_ms_max=2_000)

    assert desk.embed("a")["perform"]["deadline_epoch_ms"] == desk.gateway.deadline_ms(2_000)


def test_a_provider_that_nobody_has_is_asked_of_nobody() -> None:
    desk = Desk(theirs)
    desk.embed("a", model="other/v")

    assert desk.player.asked == ["other/v"]


def test_a_caller_that_cannot_perform_it_is_told_so_and_its_fallback_is_asked() -> None:
    desk = Desk(
        theirs,
        models={"search": ModelAlias("mine/v", ("theirs/v",))},
        providers={"mine": ProviderSettings(kind="own", class_name="app.models:Mine")},
    )
    older: Any = {"work_id": "w", "call_id": "c", "texts": ["a"]}

    def embed(model: str) -> Any:
        asked = {**older, "model": model}
        return desk._embedding.embed(
            asked, desk.gateway.totals, deadline_ms=desk.gateway.deadline_ms()
        )

    with pytest.raises(errors.SettingError, match="older than the layer"):
        embed("mine/v")
    desk.gateway.check_books(state="failed", error="configuration")
    assert embed("search")["model"] == "theirs/v"
