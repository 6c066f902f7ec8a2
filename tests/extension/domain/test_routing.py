"""Who is asked, in which order."""

from typing import Any

from hypothesis import given, strategies as st

from lambdallm_extension.configuration import ModelAlias
from lambdallm_extension.domain.routing import CANDIDATES_MAX, Wanted, plan

ALIASES = {
    "fast": ModelAlias("a/small", ("b/small", "strong"), region="eu-west-1", max_tokens=100),
    "strong": ModelAlias("a/large", ("fast",), temperature=0.5, top_p=0.0),
    "itself": ModelAlias("a/x", ("itself",)),
}


def models(request: Any, model: str, aliases: Any = ALIASES) -> list[str]:
    return [wanted.model for wanted in plan(request, model, aliases)]


def test_a_model_that_is_no_alias_is_asked_alone_where_the_request_says() -> None:
    assert plan({"region": "us-east-1"}, "p/m", ALIASES) == [Wanted("p/m", "us-east-1")]
    assert plan({}, "p/m", {}) == [Wanted("p/m")]


def test_an_alias_brings_its_fallbacks_and_theirs_each_once() -> None:
    assert plan({}, "fast", ALIASES) == [
        Wanted("a/small", "eu-west-1", {"max_tokens": 100}),
        Wanted("b/small"),
        Wanted("a/large", "", {"temperature": 0.5, "top_p": 0.0}),
    ]
    assert models({}, "itself") == ["a/x"]


def test_fallbacks_of_the_request_take_the_place_of_the_aliases_own() -> None:
    assert models({"fallback_model": "c/m"}, "fast") == ["a/small", "c/m"]
    assert models({"fallback_model": "c/m", "fallback_models": ["d/m", "c/m"]}, "fast") == [
        "a/small", "c/m", "d/m",
    ]  # fmt: skip
    assert models({"fallback_models": []}, "fast") == models({}, "fast")
    assert models({"fallback_model": "strong"}, "p/m") == ["p/m", "a/large", "a/small", "b/small"]


def test_the_requests_region_is_of_its_first_choice() -> None:
    asked = plan({"region": "us-west-2", "fallback_model": "fast"}, "strong", ALIASES)

    assert [(wanted.model, wanted.region) for wanted in asked] == [
        ("a/large", "us-west-2"), ("a/small", "eu-west-1"), ("b/small", ""), ("a/large", ""),
    ]  # fmt: skip


names = st.sampled_from([f"n{number}" for number in range(24)])


@given(
    aliases=st.dictionaries(
        names, st.builds(ModelAlias, names, st.lists(names, max_size=24).map(tuple)), max_size=24
    ),
    model=names,
    fallbacks=st.lists(names, max_size=24),
)
def test_a_plan_is_finite_begins_with_the_first_choice_and_repeats_nothing(
    aliases: dict[str, ModelAlias], model: str, fallbacks: list[str]
) -> None:
    planned = plan({"fallback_models": fallbacks}, model, aliases)

    assert 1 <= len(planned) <= CANDIDATES_MAX
    assert planned[0].model == (aliases[model].model if model in aliases else model)
    places = [(wanted.model, wanted.region) for wanted in planned]
    assert len(set(places)) == len(places)
