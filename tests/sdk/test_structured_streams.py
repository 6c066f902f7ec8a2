"""Answers in a shape, as they grow."""

from __future__ import annotations

import json
from typing import Any

import pytest

import lambdallm
from lambdallm.testing import MockLambdaContext, MockProvider
from sdk.structured_shapes import Author, Book, run


def streamed(monkeypatch: pytest.MonkeyPatch, shape: Any, *answers: Any) -> Any:
    monkeypatch.setenv("LAMBDALLM_SCRIPT", json.dumps({"answers": [*answers]}))

    def work(context: Any) -> Any:
        with context.stream_structured("A", shape) as stream:
            return [json.dumps(each) for each in stream], stream.result, stream.response

    return run(work, model="scripted/x")


def test_it_grows_and_is_checked_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'Sure:\n```json\n{"title": "Ulysses", "authors": [{"name": "Joyce"}], "pages": 700}\n```'
    partial, result, response = streamed(monkeypatch, Book, text)

    assert partial[0] != partial[-1]
    assert json.loads(partial[-1]) == {
        "title": "Ulysses", "authors": [{"name": "Joyce"}], "pages": 700,
    }  # fmt: skip
    assert result == Book("Ulysses", [Author("Joyce")], pages=700)
    assert response.finish_reason == "stop"


def test_what_grew_wrongly_is_mended_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    partial, result, _ = streamed(monkeypatch, {"n": int}, '{"n": "three"}', '{"n": 3}')

    assert partial[-2:] == ['{"n": "three"}', '{"n": 3}']
    assert result == {"n": 3}


def test_what_is_wrong_in_the_end_is_raised_where_it_is_read(model: MockProvider) -> None:
    model.say("No.")

    def work(context: Any) -> Any:
        return context.stream_structured("A", {"n": int}).result

    with pytest.raises(lambdallm.OutputError, match="holds no JSON"):
        run(work)


def test_what_was_raised_on_the_way_is_the_result(model: MockProvider) -> None:
    model.say("No.")

    def work(context: Any) -> Any:
        stream = context.stream_structured("A", {"n": int}, repair=0)
        with pytest.raises(lambdallm.OutputError) as caught:
            list(stream)
        with pytest.raises(lambdallm.OutputError) as again:
            _ = stream.result
        return caught.value is again.value

    assert run(work)


def test_an_object_is_no_list_first(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '<think>{"n": 7}?</think>[draft] ["a", "b"] {"n": 12}'
    partial, result, _ = streamed(monkeypatch, {"n": int}, text)

    assert all(each.startswith("{") for each in partial)
    assert partial[-1] == '{"n": 12}'
    assert result == {"n": 12}


def test_a_stream_that_was_closed_has_no_result(model: MockProvider) -> None:
    model.say('{"n": 1}')

    def work(context: Any) -> Any:
        stream = context.stream_structured("A", {"n": int})
        stream.close()
        return stream.result

    with pytest.raises(ValueError, match="closed"):
        run(work)


def test_as_a_coroutine(model: MockProvider) -> None:
    model.say('{"n": 1}')
    seen: list[Any] = []

    @lambdallm.handler
    async def handle(event: Any, context: Any) -> None:
        seen.append(await context.ainvoke_structured("A", {"n": int}))
        stream = context.astream_structured("A", {"n": int})
        seen.extend([dict(each) async for each in stream])
        seen.append(await stream.result())

    handle({}, MockLambdaContext())

    assert seen == [{"n": 1}, {"n": 1}, {"n": 1}]


def test_what_a_coroutine_was_told_is_its_result(model: MockProvider) -> None:
    model.say("No.")
    seen: list[Any] = []

    @lambdallm.handler
    async def handle(event: Any, context: Any) -> None:
        stream = context.astream_structured("A", {"n": int}, repair=0)
        for _ in range(2):
            try:
                seen.extend(
                    [each async for each in stream] if not seen else [await stream.result()]
                )
            except lambdallm.OutputError as error:
                seen.append(error)

    handle({}, MockLambdaContext())

    assert isinstance(seen[0], lambdallm.OutputError)
    assert seen[0] is seen[1]
