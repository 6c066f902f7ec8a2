"""Parts as they are declared: what is refused, and what makes a part another one."""

from functools import partial
from typing import Any

import pytest

import lambdallm
from lambdallm import Approval, Callback, Chain, Loop, Map, Parallel, Step


def one(values: dict[str, Any]) -> int:
    return 1


def two(values: dict[str, Any]) -> int:
    return 2


class Counting:
    """A function that is an object."""

    def __call__(self, values: dict[str, Any]) -> int:
        return 1


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (Step("a", "A"), Step("b", "A")),
        (Step("a", "A"), Step("a", "A", system="Be brief.")),
        (Step("a", "A"), Step("a", "A", temperature=0.0)),
        (Step("a", func=one), Step("a", func=two)),
        (Step("a", func=one), Step("a", func=one, version="2")),
        (Step("a", "A", output_schema={"n": int}), Step("a", "A", output_schema={"n": str})),
        (Parallel("p", [Step("a", "A")]), Parallel("p", [Step("a", "B")])),
        (Map("m", "{a}", Step("s", "A")), Map("m", "{b}", Step("s", "A"))),
        (Map("m", one, Step("s", "A")), Map("m", two, Step("s", "A"))),
        (Loop("l", Step("s", "A"), one, 2), Loop("l", Step("s", "A"), one, 3)),
        (Loop("l", Step("s", "A"), one), Loop("l", Step("s", "A"), two)),
        (Approval("x"), Callback("x")),
        (Approval("x", "Read it."), Approval("x", "Read {a}.")),
        (Chain("c", [Step("a", "A")]), Chain("c", [Step("a", "A"), Step("b", "B")])),
    ],
)
def test_what_does_something_else_is_another_part(before: Any, now: Any) -> None:
    assert before.fingerprint != now.fingerprint


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (Step("a", "A"), Step("a", "A", retry_count=9, metadata={"team": "x"})),
        (Step("a", "A"), Step("a", "A", on_kill="continue")),
        (Step("a", func=partial(one)), Step("a", func=partial(one))),
        (Step("a", func=Counting()), Step("a", func=Counting())),
        (Step("a", "A", output_schema={"n": int}),
         Step("a", "A", output_schema={"type": "object", "properties": {"n": {"type": "integer"}},
                                       "required": ["n"]})),
        (Parallel("p", [Step("a", "A")]), Parallel("p", [Step("a", "A")], concurrency=2)),
        (Approval("x"), Approval("x", expires_in=7)),
    ],
)  # fmt: skip
def test_what_does_the_same_is_the_same_part(before: Any, now: Any) -> None:
    assert before.fingerprint == now.fingerprint


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (lambda: Parallel("p", []), "at least one"),
        (lambda: Parallel("p", [Step("a", "A")], concurrency=0), "from 1 to 32"),
        (lambda: Parallel("p", [Step("a", "A")], concurrency=33), "from 1 to 32"),
        (lambda: Map("m", "{a}", Step("a", "A"), concurrency=True), "from 1 to 32"),
        (lambda: Map("m", "{a}", "step"), "a list of steps"),  # type: ignore[arg-type]
        (lambda: Loop("l", Step("a", "A"), one, 0), "from 1 to 100"),
        (lambda: Loop("l", Step("a", "A"), one, 101), "from 1 to 100"),
        (
            lambda: Chain("c", [Chain("inner", [Step("a", "A")], max_total_cost=1)]),
            "give it to the outermost",
        ),
        (lambda: Chain("c", [Step(f"s{n}", "A") for n in range(1_001)]), "more than 1,000 steps"),
    ],
)
def test_what_is_declared_wrongly_is_told_at_once(declare: Any, told: str) -> None:
    with pytest.raises(lambdallm.ConfigurationError, match=told):
        declare()


def test_steps_within_others_count() -> None:
    inner = Chain("inner", [Step("x", "X"), Loop("l", Step("y", "Y"), one), Approval("z")])
    chain = Chain(
        "c", [Step("a", func=one), Parallel("p", [inner, Map("m", "{a}", Step("w", "W"))])]
    )

    assert (chain.step_count, chain.llm_step_count) == (5, 3)


def test_keys_that_nobody_could_keep_are_refused_before_anything_is_done() -> None:
    long = "n" * 80
    inner = Map(long, "{input}", Step(long, "A"))

    Chain("c", [Map(long, "{input}", inner)])
    with pytest.raises(lambdallm.ConfigurationError, match="makes 333 characters, and 256"):
        Chain("c", [Parallel(long, [Map(long, "{input}", inner)])])


@pytest.mark.parametrize("retry_count", [-1, 1.5, None])
def test_a_step_that_would_be_done_no_time_is_refused(retry_count: Any) -> None:
    with pytest.raises(lambdallm.ConfigurationError, match="retry_count"):
        Step("a", func=one, retry_count=retry_count)


@pytest.mark.parametrize("expires_in", [0, -1, float("inf"), float("nan"), None])
def test_a_wait_that_would_never_or_always_be_over_is_refused(expires_in: Any) -> None:
    with pytest.raises(lambdallm.ConfigurationError, match="expires_in"):
        Approval("a", expires_in=expires_in)
