# ruff: noqa: UP045 - an older spelling is among what is read
"""Answers in a shape: every way to say it, repairs, and runs."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from typing import Any, Optional
from uuid import UUID

import pydantic
import pytest

import lambdallm
from fakes.prompted_model import PromptedModel
from lambdallm import _output_schema
from lambdallm.testing import Answer, MockLambdaContext, MockProvider
from sdk.structured_shapes import BOOK, Author, Book, Mood, Point, Shape, run
from sdk.test_steps import Events


def asked(shape: Any, answer: Any, *, prompted: PromptedModel) -> Any:
    prompted.to("Which?", answer)
    return run(lambda context: context.invoke_structured("Which?", shape))


@pytest.mark.parametrize(
    ("shape", "answer", "value"),
    [
        ({"n": int, "on": bool}, {"n": 1, "on": False}, {"n": 1, "on": False}),
        ({"user": {"tags": list[str]}}, {"user": {"tags": ["a"]}}, {"user": {"tags": ["a"]}}),
        ({"n": Optional[int]}, {"n": None}, {"n": None}),
        ({"n": int | None}, {"n": 2}, {"n": 2}),
        ({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}},
         {"n": 1}, {"n": 1}),
        ({"properties": {"n": {"const": None}}}, {"n": None}, {"n": None}),
        (Point, {"x": 1}, {"x": 1}),
        (Author, {"name": "Joyce"}, Author("Joyce")),
        (Shape, {"name": "line", "points": [[0, 1]]}, Shape(name="line", points=[(0, 1)])),
        (Book, BOOK,
         Book(
             "Ulysses",
             [Author("Joyce", date(1882, 2, 2))],
             mood=Mood.BAD,
             prices={"EUR": 12.0},
             seen=datetime(2026, 11, 22, 4, tzinfo=timezone.utc),
             number=UUID("123e4567-e89b-12d3-a456-426614174000"),
             sequel=Book("More", []),
         )),
    ],
)  # fmt: skip
def test_every_way_to_say_a_shape(
    shape: Any, answer: Any, value: Any, prompted: PromptedModel
) -> None:
    assert asked(shape, json.dumps(answer), prompted=prompted) == value
    assert len(prompted.prompts) == 1


def test_a_model_is_told_what_a_class_says_of_itself() -> None:
    schema = _output_schema.of(Book).json_schema

    assert (schema["title"], schema["description"]) == ("Book", "A book.")
    assert schema["required"] == ["title", "authors"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["title"] == {"type": "string", "description": "As on its cover."}
    assert schema["properties"]["pages"]["description"] == "Without the cover."
    assert schema["properties"]["mood"] == {"enum": ["good", "bad"], "type": "string"}
    assert schema["properties"]["sequel"]["anyOf"] == [{"$ref": "#/$defs/Book"}, {"type": "null"}]
    assert schema["$defs"]["Author"]["description"] == "Who has written it."
    assert _output_schema.of(Point).json_schema["required"] == []


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"n": complex}, "output_schema.n: output_schema knows no complex"),
        (int, "int is no dataclass"),
        ("str", "not 'str'"),
        (None, "not None"),
        ({"if": {}}, "'if' is not checked"),
        ({"n": dict[int, str]}, "knows no"),
    ],
)
def test_what_is_no_shape_is_refused_before_anything_is_asked(
    shape: Any, words: str, prompted: PromptedModel
) -> None:
    with pytest.raises(lambdallm.ConfigurationError, match=words):
        asked(shape, "{}", prompted=prompted)
    assert prompted.prompts == []


# Repairs

REPAIR = (
    "That is not what was asked for:\n- answer.n has to be an integer\n"
    "Answer again with the whole JSON, and with nothing else."
)


def test_a_wrong_answer_is_shown_to_the_model_with_what_is_wrong(prompted: PromptedModel) -> None:
    prompted.to("Which?", '{"n": "three"}')
    prompted.to(REPAIR, '{"n": 3}')

    def work(context: Any) -> Any:
        value = context.invoke_structured("Which?", {"n": int})
        return value, round(context.total_cost * 1e12)

    value, cost = run(work)

    assert value == {"n": 3}
    assert prompted.prompts == ["Which?", REPAIR]
    said = prompted.requests[1].messages
    assert [message["role"] for message in said] == ["user", "assistant", "user"]
    assert said[1]["content"] == [{"text": '{"n": "three"}'}]
    assert cost == prompted.billed_pico_usd


def test_an_answer_without_a_word_can_be_mended_too(model: MockProvider) -> None:
    model.say("", '{"n": 3}')

    assert run(lambda context: context.invoke_structured("Which?", {"n": int})) == {"n": 3}
    assert "holds no JSON" in model.prompts[1]


@pytest.mark.parametrize(("repair", "times"), [(0, 1), (1, 2), (3, 4)])
def test_it_is_repaired_as_often_as_it_may(repair: int, times: int, model: MockProvider) -> None:
    model.say('{"n": "secret-value"}')

    with pytest.raises(lambdallm.OutputError) as caught:
        run(lambda context: context.invoke_structured("Which?", {"n": int}, repair=repair))

    assert model.call_count == times
    assert caught.value.raw_text == '{"n": "secret-value"}'
    assert caught.value.errors == [{"field": "answer.n", "detail": "has to be an integer"}]
    assert caught.value.finish_reason == "stop"
    assert caught.value.retryable
    assert "answer.n has to be an integer" in caught.value.detail
    assert "secret-value" not in caught.value.detail


@pytest.mark.parametrize("repair", [-1, 4, True, "1", None])
def test_a_number_of_repairs_that_is_none(repair: Any, model: MockProvider) -> None:
    with pytest.raises(ValueError, match="repair"):
        run(lambda context: context.invoke_structured("Which?", {"n": int}, repair=repair))
    assert model.call_count == 0


def test_what_a_class_says_goes_to_the_model_and_not_into_the_log(model: MockProvider) -> None:
    model.say('{"title": "T", "authors": [], "pages": -7}')

    with pytest.raises(lambdallm.OutputError) as caught:
        run(lambda context: context.invoke_structured("Which?", Book))

    assert "fewer pages than none" in model.prompts[1]
    assert "fewer pages" not in caught.value.detail
    assert caught.value.errors[0]["said"] == "no book has fewer pages than none"


def test_pydantic_names_each_field(model: MockProvider) -> None:
    model.say('{"name": "x", "points": [["a", 1]]}')

    with pytest.raises(lambdallm.OutputError) as caught:
        run(lambda context: context.invoke_structured("Which?", Shape, repair=0))

    assert [fault["field"] for fault in caught.value.errors] == [
        "answer.name", "answer.points.0.0",
    ]  # fmt: skip


def test_names_that_the_model_has_made_up_stay_out_of_the_sentence(model: MockProvider) -> None:
    model.say('{"n": 1, "made-up": 2}')
    shape = {"type": "object", "properties": {"n": {}}, "additionalProperties": False}

    with pytest.raises(lambdallm.OutputError) as caught:
        run(lambda context: context.invoke_structured("Which?", shape))

    assert "made-up" not in caught.value.detail
    assert "answer.made-up" in model.prompts[1]


class Priced(pydantic.BaseModel, extra="forbid"):
    prices: dict[str, float]


@pytest.mark.parametrize("shape", [{"prices": dict[str, float]}, Priced, {"all": Priced}])
def test_names_of_a_dict_stay_out_of_the_sentence_too(shape: Any, model: MockProvider) -> None:
    answer = {"prices": {"Ann Smith": "x"}}
    model.say(json.dumps({"all": answer} if "all" in str(shape) else answer))

    with pytest.raises(lambdallm.OutputError) as caught:
        run(lambda context: context.invoke_structured("Which?", shape))

    assert "Ann Smith" not in caught.value.detail
    assert "prices.* " in caught.value.detail
    assert "prices.Ann Smith" in model.prompts[1]
    assert caught.value.errors[0]["field"].endswith("prices.Ann Smith")
    assert "safe" not in caught.value.errors[0]


def test_a_field_that_a_model_forbids_stays_out_of_the_sentence(model: MockProvider) -> None:
    model.say('{"prices": {}, "Ann Smith": 1}')

    with pytest.raises(lambdallm.OutputError) as caught:
        run(lambda context: context.invoke_structured("Which?", Priced, repair=0))

    assert "answer.* is not taken by its class" in caught.value.detail
    assert "Ann Smith" not in caught.value.detail


def test_a_number_that_no_float_holds_is_a_wrong_answer(model: MockProvider) -> None:
    model.say('{"n": 1%s}' % ("0" * 400))

    with pytest.raises(lambdallm.OutputError, match=r"answer\.n is not taken"):
        run(lambda context: context.invoke_structured("Which?", {"n": float}, repair=0))


def test_a_tree_that_was_cut_is_no_smaller_tree(prompted: PromptedModel) -> None:
    text = '{"title": "A", "authors": [], "sequel": {"title": "B", "authors": []}, "ki'

    with pytest.raises(lambdallm.OutputError, match="was cut"):
        asked(Book, Answer(text, stop_reason="max_tokens"), prompted=prompted)


def test_without_time_for_a_repair_the_answer_is_told(prompted: PromptedModel) -> None:
    class Ending(MockLambdaContext):
        """Its time is up when the first answer is there."""

        def get_remaining_time_in_millis(self) -> int:
            return 60_000 if not prompted.prompts else 100

    prompted.to("Which?", '{"n": "three"}')
    seen: list[Any] = []

    @lambdallm.handler
    def handle(event: Any, context: Any) -> None:
        with pytest.raises(lambdallm.OutputError) as caught:
            context.invoke_structured("Which?", {"n": int})
        seen.append(caught.value)

    handle({}, Ending())

    assert len(prompted.prompts) == 1
    assert seen[0].raw_text == '{"n": "three"}'
    assert "was not asked again" in seen[0].detail
    assert isinstance(seen[0].__cause__, lambdallm.DeadlineExceededError)


def test_a_cut_answer_that_is_whole_all_the_same_is_taken(prompted: PromptedModel) -> None:
    answer = Answer('{"n": 1} And then', stop_reason="max_tokens")

    assert asked({"n": int}, answer, prompted=prompted) == {"n": 1}


def test_a_tool_that_is_called_is_no_answer(prompted: PromptedModel) -> None:
    used = {"toolUse": {"toolUseId": "t1", "name": "clock", "input": {}}}
    answer = Answer(content=[used], stop_reason="tool_use")

    with pytest.raises(lambdallm.OutputError, match="called a tool"):
        asked({"n": int}, answer, prompted=prompted)


# What is asked with


def test_variables_and_parameters(prompted: PromptedModel) -> None:
    prompted.to('A {"model": 1} of Joyce', '{"n": 1}')

    run(
        lambda context: context.invoke_structured(
            'A {"model": {n}} of {author}',
            {"n": int}, n=1, author="Joyce", max_tokens=77, system="Be brief.",
        )
    )  # fmt: skip

    body = prompted.requests[0].body
    assert body["inferenceConfig"] == {"maxTokens": 77}
    assert body["system"][0]["text"].startswith("Be brief.\n\nAnswer with one JSON value")


def test_a_parameter_that_the_prompt_has_a_place_for_is_a_variable(model: MockProvider) -> None:
    model.say('{"n": 1}')
    run(lambda context: context.invoke_structured("A {model} car", {"n": int}, model="T"))

    assert model.prompts == ["A T car"]


def test_a_parameter_beside_a_longer_name_is_a_parameter(prompted: PromptedModel) -> None:
    prompted.to("3 degrees of ['a'] {{x}", '{"n": 1}')
    run(
        lambda context: context.invoke_structured(
            "{temperature_c} degrees of {models} {{x}",
            {"n": int}, temperature_c=3, temperature=0.5, models=["a"],
            model="bedrock/us.amazon.nova-lite-v1:0",
        )
    )  # fmt: skip

    assert prompted.requests[0].model_id == "us.amazon.nova-lite-v1:0"
    assert prompted.requests[0].body["inferenceConfig"]["temperature"] == 0.5


@pytest.mark.parametrize("prompt", ["A {b}", [{"role": "user", "content": "A {max_token}"}]])
def test_a_name_that_is_neither_variable_nor_parameter(prompt: Any, model: MockProvider) -> None:
    with pytest.raises(TypeError, match="no parameter 'max_token'"):
        run(lambda context: context.invoke_structured(prompt, {"n": int}, max_token=5))
    assert model.call_count == 0


@pytest.mark.parametrize("name", ["tools", "tool_choice"])
def test_tools_are_refused(name: str, model: MockProvider) -> None:
    with pytest.raises(TypeError, match=name):
        run(lambda context: context.invoke_structured("A", {"n": int}, **{name: []}))


# In a run


def test_a_repaired_answer_replays_the_same_two_calls(prompted: PromptedModel) -> None:
    prompted.to("Which?", '{"n": "three"}')
    events = Events()
    tries: list[int] = []

    def ask(context: Any) -> Any:
        value = context.invoke_structured("Which?", {"n": int}, repair=1)
        tries.append(value["n"])
        if len(tries) == 1:
            message = "killed"
            raise RuntimeError(message)
        return value

    def work(context: Any) -> Any:
        return context.step("ask", ask, context)

    prompted.to(REPAIR, '{"n": 3}')
    with pytest.raises(RuntimeError):
        events.deliver(work)
    assert events.deliver(work) == {"n": 3}

    assert tries == [3, 3]
    assert len(prompted.prompts) == 2


def test_a_chains_step_takes_a_class_and_keeps_json(prompted: PromptedModel) -> None:
    prompted.to("A", json.dumps(BOOK))
    chain = lambdallm.Chain(
        "c", [lambdallm.Step("a", "A", output_schema=Book), lambdallm.Step("b", "B {a.title}")]
    )

    result = chain.run()

    assert result.outputs == {"a": BOOK, "b": "<B Ulysses>"}


def test_a_step_that_was_refused_is_not_tried_again(
    prompted: PromptedModel, pauses: list[float]
) -> None:
    prompted.to("A", Answer("No.", stop_reason="content_filtered"))

    result = lambdallm.Chain("c", [lambdallm.Step("a", "A", output_schema={"n": int})]).run()

    assert isinstance(result.error, lambdallm.OutputError)
    assert result.error.finish_reason == "content_filter"
    assert (len(prompted.prompts), pauses) == (1, [])
