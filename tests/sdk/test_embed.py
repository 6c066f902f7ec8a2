"""Texts into vectors."""

from typing import Any

import pytest

import lambdallm
from fakes.units import run
from lambdallm.testing import MockLambdaContext


@pytest.fixture(params=["embedded", "sidecar"])
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Who answers: `None`, or the sidecar."""
    monkeypatch.setenv("LAMBDALLM_SCRIPT", '["x"]')
    return request.getfixturevalue("sidecar") if request.param == "sidecar" else None


def test_a_vector_for_each_text_in_their_order(host: Any) -> None:
    def embed(context: Any) -> Any:
        vectors = context.embed(["one", "two", "one"], model="scripted/v", dimensions=8)
        assert (context.unpriced_calls, context.total_cost) in ((1, 0.0), (0, 0.0))
        return vectors

    found = run(embed)

    assert len(found) == 3
    assert [len(vector) for vector in found.vectors] == [8, 8, 8]
    assert found.vectors[0] == found.vectors[2] != found.vectors[1]
    assert found.input_tokens > 0
    assert found.cost == found.cost_usd
    assert (found.model, len(found.call_id)) == ("scripted/v", 32)


def test_what_was_asked_lately_is_remembered(host: Any) -> None:
    def embed(context: Any) -> Any:
        return [context.embed("same", model="scripted/v").cached_texts for _ in range(2)]

    assert run(embed) == [0, 1]


@pytest.mark.parametrize("bad", [[1], [b"x"], [["x"]], [None]])
def test_what_is_no_text_is_said(host: Any, bad: Any) -> None:
    def embed(context: Any) -> None:
        with pytest.raises(TypeError, match="list of strings"):
            context.embed(bad)
        with pytest.raises(TypeError, match="no parameter 'top_p'"):
            context.embed("x", top_p=1)
        with pytest.raises(lambdallm.InvalidRequestError):
            context.embed([], model="scripted/v")

    run(embed)


def test_the_model_is_the_one_that_the_environment_names(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDALLM_EMBEDDING_MODEL", "scripted/other")

    assert run(lambda context: context.embed("x").model) == "scripted/other"


def test_too_little_time_asks_nobody(host: Any) -> None:
    def embed(context: Any) -> None:
        context.lambda_context = MockLambdaContext(timeout_ms=100)
        with pytest.raises(lambdallm.DeadlineExceededError, match="not asked"):
            context.embed("x")

    run(embed)
