"""Vectors by a provider of the user's own: asked by the function, metered by the engine."""

import array
import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import lambdallm
from fakes.units import run
from lambdallm import _own_providers, handler, providers
from lambdallm.testing import MockLambdaContext

YAML = """\
models:
  search: {model: mine/small, fallbacks: [scripted/v]}
  keyless: {model: openai/v, fallbacks: [mine/small]}
providers:
  configured: {kind: own, class: "embedding_model:Small"}
"""


@pytest.fixture(params=["embedded", "sidecar"], autouse=True)
def host(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Iterator[Any]:
    """Who keeps the books: `None`, or the sidecar."""
    monkeypatch.setenv("LAMBDALLM_SCRIPT", '["x"]')
    (tmp_path / "lambdallm.yaml").write_text(YAML)
    yield request.getfixturevalue("sidecar") if request.param == "sidecar" else None
    _own_providers._registered.clear()
    _own_providers._of_class.clear()


class Mine:
    """Embeds as it is told to: by a function of the texts, or by raising."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer or (lambda texts: [[len(text), 0.5] for text in texts])
        self.requests: list[dict[str, Any]] = []

    def embed(self, request: dict[str, Any]) -> Any:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(request["texts"])


def test_it_is_asked_for_what_is_not_remembered_and_metered() -> None:
    spent = {"usage": {"input_tokens": 7}, "cost_usd": 0.25}
    provider = Mine(lambda texts: {"vectors": [[len(text)] for text in texts], **spent})
    providers.register("mine", provider)

    def embed(context: Any) -> Any:
        given = {"model": "mine/small", "dimensions": 1, "additional_fields": {"kind": "query"}}
        first = context.embed(["one", "three", "one"], **given)
        second = context.embed(["three", "six"], **given)
        return first, second, context.total_cost_pico_usd, context.unpriced_calls

    first, second, total, unpriced = run(embed)

    assert (first.vectors, second.vectors) == ([[3.0], [5.0], [3.0]], [[5.0], [3.0]])
    assert (first.cached_texts, second.cached_texts) == (1, 1)
    assert (first.model, first.input_tokens) == ("mine/small", 7)
    assert (first.cost_pico_usd, total, unpriced) == (250_000_000_000, 500_000_000_000, 0)
    assert [sorted(request.pop("texts")) for request in provider.requests] == [
        ["one", "three"], ["six"],
    ]  # fmt: skip
    request = provider.requests[0]
    assert request.pop("deadline_epoch_ms") > 0
    assert request == {"model": "small", "dimensions": 1, "additional_fields": {"kind": "query"}}


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: [[1, 2.5]],
        lambda _: [array.array("f", [1, 2.5])],
        lambda _: ((number for number in (1, 2.5)) for _ in range(1)),
        lambda _: {"vectors": [(1, 2.5)]},
    ],
)
def test_vectors_may_be_of_any_kind_of_list(answer: Any) -> None:
    providers.register("mine", Mine(answer))

    found = run(lambda context: context.embed("text", model="mine/small"))

    assert found.vectors == [[1.0, 2.5]]
    assert (found.cost_pico_usd, found.input_tokens) == (None, 0)


@pytest.mark.parametrize(
    "bad", ["text", None, 7, {"vector": [[1]]}, [1.0], [["x"]], [[float("nan")]], [[None]]]
)
def test_what_is_no_list_of_vectors_is_said(bad: Any) -> None:
    provider = Mine(lambda _texts: bad)
    providers.register("mine", provider)

    def embed(context: Any) -> None:
        with pytest.raises(lambdallm.ModelInvocationError, match=r"A provider's embed\(\) return"):
            context.embed("text", model="mine/small", max_retries=2)
        assert context.embed("other", model="scripted/v").vectors
        assert context.unpriced_calls >= 1, "it has answered, which may be billed"

    run(embed)
    assert len(provider.requests) == 1


def test_vectors_that_are_too_few_are_not_asked_for_again() -> None:
    provider = Mine(lambda _texts: [[1.0]])
    providers.register("mine", provider)

    def embed(context: Any) -> None:
        with pytest.raises(lambdallm.ModelInvocationError, match="1 vectors came for 2 texts"):
            context.embed(["one", "two"], model="mine/small")
        assert context.embed("other", model="scripted/v").vectors
        assert context.unpriced_calls >= 1, "nobody knows what it has cost"

    run(embed)
    assert len(provider.requests) == 1


class BusyError(Exception):
    retryable = True


def test_it_is_asked_again_if_its_error_says_so() -> None:
    answers = [BusyError("busy"), [[1.0]]]

    def answer(_texts: Any) -> Any:
        said = answers.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    providers.register("mine", Mine(answer))

    assert run(lambda context: context.embed("text", model="mine/small")).vectors == [[1.0]]
    assert answers == []


def test_a_fallback_of_ours_takes_its_place() -> None:
    providers.register("mine", Mine(ValueError("no")))

    assert run(lambda context: context.embed("text", model="search")).model == "scripted/v"


def test_it_takes_the_place_of_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    providers.register("mine", Mine())

    found = run(lambda context: context.embed("text", model="keyless"))

    assert (found.model, found.vectors) == ("mine/small", [[4.0, 0.5]])


def test_another_error_is_told_with_its_cause() -> None:
    providers.register("mine", Mine(ValueError("what is that?")))

    def embed(context: Any) -> None:
        with pytest.raises(lambdallm.ModelInvocationError, match="what is that") as failed:
            context.embed("text", model="mine/small")
        assert isinstance(failed.value.__cause__, ValueError)
        assert failed.value.source == "mine"

    run(embed)


class Talking:
    def chat(self, request: Any) -> str:
        return "Hello"


def test_one_that_cannot_do_it_is_named_with_the_method_that_it_lacks() -> None:
    providers.register("talks", Talking())
    providers.register("mine", Mine())

    def ask(context: Any) -> None:
        with pytest.raises(lambdallm.ModelInvocationError, match=r"'talks' has no method embed\("):
            context.embed("text", model="talks/x")
        with pytest.raises(lambdallm.ModelInvocationError, match=r"'mine' has no method stream\("):
            context.invoke("Hi")
        with pytest.raises(lambdallm.ModelInvocationError, match=r"'mine' has no method stream\("):
            list(context.stream("Hi"))

    run(ask, model="mine/x")


def test_a_class_that_the_configuration_names_is_made(tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "embedding_model.py").write_text(
        "class Small:\n    def embed(self, asked):\n        return [[1.0]] * len(asked['texts'])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    assert run(lambda context: context.embed("text", model="configured/x")).vectors == [[1.0]]


def test_coroutines_ask_it_too_many_at_once() -> None:
    providers.register("mine", Mine())
    found: list[Any] = []

    @handler
    async def embed(_event: Any, context: Any) -> str:
        texts = ["x" * size for size in range(1, 21)]
        found.extend(
            await asyncio.gather(*(context.aembed(text, model="mine/small") for text in texts))
        )
        return "ok"

    embed({"name": "direct"}, MockLambdaContext())

    assert [one.vectors for one in found] == [[[size, 0.5]] for size in range(1, 21)]
