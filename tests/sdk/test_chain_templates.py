"""Templates and answers that have to be objects."""

from typing import Any

import pytest

import lambdallm
from fakes.prompted_model import PromptedModel
from lambdallm import Chain, Step


def filled(template: str, prompted: PromptedModel, **inputs: Any) -> str:
    Chain(
        "c",
        [
            Step("text", func=lambda _: "a {input} text"),
            Step("object", func=lambda _: {"n": 1, "deep": {"list": [1, "zwei"]}, "none": None}),
            Step("nothing", func=lambda _: None),
            Step("ask", template),
        ],
    ).run(**inputs)
    return prompted.prompts[-1]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{input}", "in {text.output}"),
        ("{text.output}|{text}", "a {input} text|a {input} text"),
        ("{object.output}", '{"n":1,"deep":{"list":[1,"zwei"]},"none":null}'),
        ("{object.output.n} {object.deep.list}", '1 [1,"zwei"]'),
        ("{object.output.none}.", "null."),
        ("{nothing.output}.", "."),
        ("{tone} {other}", "dry {other}"),
        ("{object.output.m} {text.output.n}", "{object.output.m} {text.output.n}"),
        ('{"json": {"a": 1}} {} { input } {0}', '{"json": {"a": 1}} {} { input } {0}'),
        ("{later.output}", "{later.output}"),
        ("{number}", "7"),
    ],
)
def test_a_template_is_filled(template: str, expected: str, prompted: PromptedModel) -> None:
    said = filled(template, prompted, input="in {text.output}", tone="dry", number=7)

    assert said == expected


def test_an_input_that_is_not_given_is_empty(prompted: PromptedModel) -> None:
    assert filled("[{input}]", prompted) == "[]"


SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "pages": {"type": "integer"}},
    "required": ["title"],
}


@pytest.mark.parametrize(
    ("schema", "answer", "expected"),
    [
        ({"n": int}, '{"n": 1}', {"n": 1}),
        ({"n": int}, 'Here it is:\n```json\n{"n": 1}\n```\nFine?', {"n": 1}),
        ({"n": int}, '```\n{"n": 1, "more": true}\n```', {"n": 1, "more": True}),
        ({"a": str, "b": list, "c": dict, "d": bool, "e": float},
         '{"a": "", "b": [], "c": {}, "d": false, "e": 1.5}',
         {"a": "", "b": [], "c": {}, "d": False, "e": 1.5}),
        (SCHEMA, '{"title": "T"}', {"title": "T"}),
    ],
)  # fmt: skip
def test_an_answer_is_read_as_its_schema_says(
    schema: dict[str, Any], answer: str, expected: Any, prompted: PromptedModel
) -> None:
    prompted.to("A", answer)

    assert Chain("c", [Step("a", "A", output_schema=schema)]).run().final_output == expected


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"n": int}, "one"),
        ({"n": int}, "{}"),
        ({"n": int}, '{"n": "1"}'),
        ({"n": int}, "[1]"),
        ({"n": int}, '{"n": 1'),
        (SCHEMA, '{"title": "T", "pages": "many"}'),
    ],
)
def test_one_that_is_not_fails(
    schema: dict[str, Any], answer: str, prompted: PromptedModel
) -> None:
    prompted.to("A", answer)
    result = Chain("c", [Step("a", "A", output_schema=schema, retry_count=0)]).run()

    assert isinstance(result.error, lambdallm.OutputError)
    assert result.error.partial_text == answer


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a/b", "a#b", "ä", "x" * 81, 7, None])
def test_what_cannot_be_part_of_a_key_is_no_name(name: Any) -> None:
    with pytest.raises(lambdallm.ConfigurationError, match="1 to 80 letters"):
        Step(name, "A")
