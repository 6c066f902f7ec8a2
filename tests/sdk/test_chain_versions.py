"""Chains that are other ones than they were, or none."""

from typing import Any

import pytest

import lambdallm
from fakes.prompted_model import PromptedModel
from lambdallm import Chain, Step


def fail(values: dict[str, Any]) -> None:
    raise ValueError("It does not work.")


def twice(values: dict[str, Any]) -> str:
    return str(values["outline"]) * 2


def changed(before: list[Step], now: list[Step], version: str = "1.0.0", **more: Any) -> str:
    Chain("c", [*before, Step("end", func=fail, retry_count=0)]).run(run_id="r", input="x")
    with pytest.raises(lambdallm.StateError) as refused:
        Chain("c", [*now, Step("end", func=fail)], version=version, **more).run(run_id="r")
    return str(refused.value)


def test_another_order_is_refused(prompted: PromptedModel) -> None:
    a, b = Step("a", "A {input}"), Step("b", "B {input}")

    assert "'a'" in changed([a, b], [b, a])
    assert prompted.prompts == ["A x", "B x"]


def test_a_renamed_step_is_refused(prompted: PromptedModel) -> None:
    said = changed([Step("a", "A {input}")], [Step("aa", "A {input}")])

    assert "'a'" in said
    assert "'aa'" in said


@pytest.mark.parametrize(
    "now",
    [
        Step("a", "Another {input}"),
        Step("a", "A {input}", model="amazon.nova-micro-v1:0"),
        Step("a", "A {input}", max_tokens=7),
        Step("a", "A {input}", output_schema={"n": int}),
        Step("a", func=twice),
        Step("a", "A {input}", condition=lambda values: True),
    ],
    ids=["prompt", "model", "max_tokens", "schema", "func", "condition"],
)
def test_another_definition_is_refused(now: Step, prompted: PromptedModel) -> None:
    assert "'a'" in changed([Step("a", "A {input}")], [now])


def test_what_is_completed_is_told_to_a_later_version_too(prompted: PromptedModel) -> None:
    Chain("c", [Step("a", "A {input}")]).run(run_id="r", input="x")

    later = Chain("c", [Step("b", "B {input}")], version="2").run(run_id="r", input="x")

    assert (later.status, later.final_output) == ("completed", "<A x>")
    assert prompted.prompts == ["A x"]


def test_another_version_is_refused_unless_it_says_how(prompted: PromptedModel) -> None:
    a = Step("a", "A {input}")
    assert "1.0.0" in changed([a], [a], version="2")

    now = Chain(
        "c",
        [Step("b", "B {input}"), Step("end", func=lambda values: values["b"])],
        version="2",
        migrations={"1.0.0": {"a": "b"}},
    )
    result = now.run(run_id="r")

    assert (result.status, result.final_output) == ("completed", "<A x>")
    assert prompted.prompts == ["A x"]


# Wrongly declared


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (lambda: Chain("c", []), "at least one"),
        (lambda: Chain("c", [Step("a", "A"), Step("a", "B")]), "two steps that are called 'a'"),
        (lambda: Chain("c", [Step("a", "A")], "later"), "timeout_strategy='later'"),
        (lambda: Chain("c d", [Step("a", "A")]), "letters"),
        (lambda: Step("a"), "a prompt or a func"),
        (lambda: Step("a", "A", twice), "not both"),
        (lambda: Step("a/b", "A"), "letters"),
        (lambda: Step("a", "A", output_schema={"n": set}), "knows no set"),
        (lambda: Step("a", "A", on_kill="stop"), "on_kill='stop'"),
        (
            lambda: Chain("c", [Step("a", "A")], migrations={"0": {"x": "y"}}),
            "makes 'x' a step 'y' that is not there",
        ),
        (lambda: Chain("c", ["a"]), "a list of steps"),  # type: ignore[list-item]
    ],
)  # fmt: skip
def test_what_is_declared_wrongly_is_told_at_once(declare: Any, told: str) -> None:
    with pytest.raises(lambdallm.ConfigurationError, match=told):
        declare()


@pytest.mark.parametrize("amount", ["much", -1, float("nan")])
def test_a_bound_that_is_no_amount_is_refused(amount: Any, prompted: PromptedModel) -> None:
    with pytest.raises(lambdallm.ConfigurationError, match="no amount of USD"):
        Chain("c", [Step("a", "A")], max_total_cost=amount).run()
