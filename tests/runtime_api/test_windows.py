"""Which messages can be sent together: whatever was said, what stays passes Converse's rules."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from fakes import converse_rules
from lambdallm_wire import windows


def use(*ids: str) -> tuple[str, Any]:
    return "assistant", [{"toolUse": {"toolUseId": each, "name": "t", "input": {}}} for each in ids]


def results(*ids: str) -> tuple[str, Any]:
    return "user", [{"toolResult": {"toolUseId": each, "content": [{"text": "r"}]}} for each in ids]


ASK, SAY, SYSTEM = ("user", "question"), ("assistant", "answer"), ("system", "Be kind.")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ([ASK, SAY], [0, 1]),
        ([SAY, ASK, SAY], [1, 2]),
        ([SYSTEM, SAY, SYSTEM], [0, 2]),
        ([ASK, use("a"), results("a"), SAY], [0, 1, 2, 3]),
        ([ASK, use("a", "b"), results("a"), results("b"), SAY], [0, 1, 2, 3, 4]),
        ([ASK, use("a", "b"), results("a"), SAY], [0, 3]),
        ([ASK, use("a"), ASK, SAY], [0, 2, 3]),
        ([ASK, use("a"), ASK, results("a"), SAY], [0, 2, 4]),
        ([results("a"), SAY, ASK], [2]),
        ([ASK, SAY, results("a"), ASK], [0, 1, 3]),
        ([ASK, SAY, use("a"), results("b")], [0, 1]),
        ([ASK, use("a", "a"), results("a"), SAY], [0, 3]),
        ([ASK, use("a"), results("a"), use("b"), results("b"), SAY], [0, 1, 2, 3, 4, 5]),
        ([ASK, use("a"), results("a"), use("b"), SAY], [0, 1, 2, 4]),
    ],
)
def test_what_cannot_be_sent_is_left_out(said: list[Any], kept: list[int]) -> None:
    assert windows.acceptable(said, open_end=False) == kept


def test_calls_at_the_end_wait_for_their_results() -> None:
    said = [ASK, SAY, ASK, use("a")]

    assert windows.acceptable(said, open_end=True) == [0, 1, 2, 3]
    assert windows.acceptable(said, open_end=False) == [0, 1, 2]


IDS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3)
TEXTS = st.sampled_from(["text", "漢字 🙂", "", " "])
BLOCKS = st.lists(
    st.one_of(
        st.builds(lambda text: {"text": text}, TEXTS),
        st.sampled_from([use(each)[1][0] for each in "abc"]),
        st.sampled_from([results(each)[1][0] for each in "abc"]),
    ),
    min_size=1,
    max_size=4,
)
SAID = st.one_of(
    st.sampled_from([ASK, SAY, SYSTEM]),
    st.builds(lambda ids: use(*ids), IDS),
    st.builds(lambda ids: results(*ids), IDS),
    st.tuples(st.sampled_from(["user", "assistant"]), TEXTS),
    st.tuples(st.sampled_from(["user", "assistant", "system"]), BLOCKS),
)


@given(st.lists(SAID, max_size=14), st.booleans())
def test_whatever_was_said_what_stays_passes_the_rules(said: list[Any], open_end: bool) -> None:
    kept = windows.acceptable(said, open_end=open_end)
    turns = [{"role": said[place][0], "content": said[place][1]} for place in kept]

    assert converse_rules.window_faults(turns) == []
    assert windows.acceptable([said[place] for place in kept], open_end=open_end) == [
        *range(len(kept))
    ]
    assert all(place in kept for place, (role, _) in enumerate(said) if role == "system")


@given(st.lists(st.sampled_from([[ASK, SAY], [ASK, use("a"), results("a"), SAY]]), max_size=6))
def test_a_conversation_that_can_be_sent_stays_whole(exchanges: list[Any]) -> None:
    said = [each for exchange in exchanges for each in exchange]

    assert windows.acceptable(said, open_end=False) == [*range(len(said))]
