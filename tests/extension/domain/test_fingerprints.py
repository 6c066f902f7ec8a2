"""The same question has the same fingerprint, and what differs between two chains is named."""

import pytest

from lambdallm_extension.domain import fingerprints

QUESTION = {"messages": [{"role": "user", "content": "Hi"}], "model": "m", "max_tokens": 9}


def test_who_asks_and_when_makes_no_other_question() -> None:
    asked = {
        **QUESTION, "work_id": "w", "call_id": "c", "deadline_epoch_ms": 1, "max_retries": 2,
        "own_providers": ["x"], "run": {"run_id": "r"},
    }  # fmt: skip

    assert fingerprints.of_request(asked) == fingerprints.of_request(QUESTION)


def test_the_order_of_fields_makes_no_other_question() -> None:
    turned = dict(reversed(QUESTION.items()))

    assert fingerprints.of_request(turned) == fingerprints.of_request(QUESTION)


@pytest.mark.parametrize(
    "change", [{"model": "n"}, {"max_tokens": 8}, {"messages": []}, {"system": "Be brief."}]
)
def test_what_an_answer_depends_on_makes_another_question(change: dict[str, object]) -> None:
    assert fingerprints.of_request({**QUESTION, **change}) != fingerprints.of_request(QUESTION)


def test_half_a_character_has_a_fingerprint() -> None:
    assert fingerprints.of_text("\ud800") != fingerprints.of_text("\ud801")


def test_no_two_calls_of_a_run_have_one_id() -> None:
    places = [
        ("p", "l", "a", 1, 0), ("p", "l", "a", 1, 1), ("p", "l", "a", 2, 0),
        ("p", "k", "a", 1, 0), ("q", "l", "a", 1, 0), ("p", "l", "a", 11, 0),
        ("p", "l", "a1", 1, 0), ("p", "l", "a/1", 1, 0),
    ]  # fmt: skip

    assert len({fingerprints.call_id(*place) for place in places}) == len(places)
    assert fingerprints.call_id(*places[0]) == fingerprints.call_id(*places[0])


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("abc", "abc", ""),
        ("", "", ""),
        ("abc", "acb", "step 2 was 'b', and is 'c' now"),
        ("abc", "axc", "step 2 was 'b', and is 'x' now"),
        ("abc", "ab", "step 'c' is there no more"),
        ("abc", "bc", "step 'a' is there no more"),
        ("ab", "abc", "step 'c' is new"),
        ("ab", "xab", "step 'x' is new"),
        ("abc", "abX", "step 3 was 'c', and is 'X' now"),
    ],
)
def test_the_first_difference_is_named(before: str, now: str, said: str) -> None:
    steps = [[(key, "f") for key in each] for each in (before, now)]

    assert fingerprints.difference(*steps, versions=("1", "1")) == said
