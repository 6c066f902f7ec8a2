"""Prompts that are kept: all that they declare holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, strategies as st

import lambdallm
from fakes.prompted_model import PromptedModel
from lambdallm import Model, Prompt
from lambdallm._prompt_files import without_blocks
from lambdallm.testing import MockLambdaContext, MockProvider
from lambdallm_wire import plain_yaml


def run(work: Any) -> Any:
    seen: list[Any] = []

    @lambdallm.handler
    def handle(event: Any, context: Any) -> None:
        try:
            seen.append(work(context))
        except lambdallm.LambdaLLMError as error:
            seen.append(error)

    handle({}, MockLambdaContext())
    if isinstance(seen[0], Exception):
        raise seen[0]
    return seen[0]


SUMMARY = Prompt("Sum up in {words} words: {text}", {"text": str, "words": int})


def test_it_asks_within_the_event_that_is_being_handled(model: MockProvider) -> None:
    model.say("Tides.", "More.")

    assert run(lambda _: SUMMARY.invoke(text="the {sea}", words=1)) == "Tides."
    assert run(lambda context: SUMMARY.invoke(context, text="a", words=2)) == "More."
    assert model.prompts == ["Sum up in 1 words: the {sea}", "Sum up in 2 words: a"]


def test_outside_of_one_it_says_what_it_needs() -> None:
    with pytest.raises(lambdallm.ConfigurationError, match="no event is being handled"):
        SUMMARY.invoke(text="a", words=1)


@pytest.mark.parametrize(
    ("given_", "fields"),
    [({"text": "a"}, ["input.words"]), ({"text": 1, "words": "2"}, ["input.text", "input.words"])],
)
def test_what_goes_in_is_checked_before_anything_is_spent(
    given_: dict[str, Any], fields: list[str], model: MockProvider
) -> None:
    with pytest.raises(lambdallm.InvalidRequestError) as caught:
        run(lambda _: SUMMARY.invoke(**given_))

    assert [fault["field"] for fault in caught.value.errors] == fields
    assert model.call_count == 0


def test_its_own_model_and_limits_are_asked_with(prompted: PromptedModel) -> None:
    prompt = Prompt(
        "Hi {model}",
        system_prompt="Be brief.",
        model="bedrock/us.amazon.nova-lite-v1:0",
        max_tokens=1024,
        temperature=0.7,
    )
    run(lambda _: prompt.invoke(model="T"))
    run(lambda _: Prompt("Hi").invoke())

    first, second = prompted.requests
    assert first.model_id == "us.amazon.nova-lite-v1:0"
    assert first.body["inferenceConfig"] == {"maxTokens": 1024, "temperature": 0.7}
    assert first.body["system"] == [{"text": "Be brief."}]
    assert prompted.prompts == ["Hi T", "Hi"]
    assert "temperature" not in second.body["inferenceConfig"]
    assert "system" not in second.body


def test_what_comes_out_has_its_shape(model: MockProvider) -> None:
    model.say("One.", '{"n": 1}')
    prompt = Prompt("Count {model}.", output_schema={"n": int})

    assert run(lambda _: prompt.invoke(model="T")) == {"n": 1}
    assert model.prompts[0] == "Count T."
    assert model.call_count == 2


def test_as_a_coroutine(model: MockProvider) -> None:
    model.say("Tides.")
    seen: list[str] = []

    @lambdallm.handler
    async def handle(event: Any, context: Any) -> None:
        seen.append(await SUMMARY.ainvoke(text="a", words=1))

    handle({}, MockLambdaContext())

    assert seen == ["Tides."]


def test_it_is_written_and_read() -> None:
    prompt = Prompt(
        "A {b}", {"b": str}, {"type": "object", "properties": {"n": {}}}, "S", Model.NOVA_LITE,
        2048, 0.1, "name", "what for", "2.1.0", ["x"],
    )  # fmt: skip
    fields = prompt.to_dict()

    assert fields["input_schema"] == {"b": "str"}
    assert fields["model"] == Model.NOVA_LITE.value
    assert Prompt.from_dict(fields).to_dict() == fields
    assert Prompt.from_dict(fields).input_schema == {"b": str}
    assert Prompt("A").to_dict() == {"template": "A", "version": "1.0.0", "tags": [], "repair": 1}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "needs a template"),
        ({"template": 7}, "needs a template"),
        ({"template": "A", "tmeperature": 1}, "'tmeperature'"),
        ({"template": "A", "output_schema": {"type": "strnig"}}, "strnig"),
        ({"template": "A", "max_tokens": "many"}, "max_tokens is a whole number"),
        ({"template": "A", "max_tokens": 0}, "max_tokens is a whole number"),
        ({"template": "A", "repair": 4}, "repair is a whole number from 0 to 3"),
        ({"template": "A", "repair": True}, "repair is a whole number from 0 to 3"),
    ],
)
def test_what_is_no_prompt_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(lambdallm.ConfigurationError, match=words):
        Prompt.from_dict(fields)


FILE = """\
name: summary
model: bedrock/us.amazon.nova-lite-v1:0
input_schema: {text: str}
active: "2.0.0"
versions:
  "1.0.0":
    template: "Sum up: {text}"
  "2.0.0":
    max_tokens: 200
    output_schema: {summary: str}
    template: |
      Sum up "briefly":

        {text}
    tags: [short]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "summary.yaml"
    path.write_text(FILE)
    return path


def test_versions_in_one_file(file: Path) -> None:
    active, first = Prompt.from_yaml(file), Prompt.from_yaml(str(file), version="1.0.0")

    assert (active.version, first.version) == ("2.0.0", "1.0.0")
    assert active.versions == first.versions == ("1.0.0", "2.0.0")
    assert active.template == 'Sum up "briefly":\n\n  {text}\n'
    assert (active.max_tokens, active.tags) == (200, ["short"])
    assert (active.name, first.name) == ("summary", "summary")
    assert first.output_schema is None
    assert active.output_schema == {"summary": str}


@pytest.mark.parametrize(
    ("text", "version", "words"),
    [
        (FILE, "3.0.0", "has no version '3.0.0'. It holds: 1.0.0, 2.0.0"),
        (FILE.replace('active: "2.0.0"\n', ""), None, "names none of them"),
        ("template: [", None, "cannot be read: line 1"),
        ("a: 1\ntemplate: |\n  x\n  y\nb: [", None, "line 5"),
        ("template: A", "2", "has no version '2'"),
        (
            "template: A\nversions: 3",
            None,
            "`versions` has to hold prompts by their versions, not 3",
        ),
        ('versions: {"1": hello}', None, "version 1 has to hold the fields of a prompt"),
        ("template: A\nrepair: often", None, "repair is a whole number"),
    ],
)
def test_a_file_that_does_not_say_which(
    text: str, version: str | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)

    with pytest.raises(lambdallm.ConfigurationError, match=words.replace("[", r"\[")):
        Prompt.from_yaml(path, version)


def test_tags_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("template: A\ntags: x, long one\n")

    assert Prompt.from_yaml(path).tags == ["x", "long one"]


def test_a_file_of_one_prompt_and_one_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("template: A {b}\ntemperature: 0.2\n")

    assert Prompt.from_yaml(path).temperature == 0.2
    with pytest.raises(lambdallm.ConfigurationError, match="cannot be read"):
        Prompt.from_yaml(tmp_path / "absent.yaml")


LINES = st.lists(
    st.tuples(st.integers(0, 3), st.text(alphabet='ab{}:#"|-\\', max_size=6)), max_size=5
)


@given(LINES, st.sampled_from(["", "-"]), st.integers(0, 2))
def test_texts_of_several_lines_are_what_pyyaml_reads(
    lines: list[tuple[int, str]], chomping: str, blank: int
) -> None:
    body = "\n".join(["  first"] + ["  " + " " * by + line for by, line in lines])
    text = f"a: |{chomping}\n{body}\n" + "\n" * blank + "b: 1\n"

    assert plain_yaml.loads(without_blocks(text))[0] == yaml.safe_load(text)
