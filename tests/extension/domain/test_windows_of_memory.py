"""Any stored log, any cut, any strategy: what a handler sees can be sent, and the rest of the rule.

The rules of Converse are those of `fakes.converse_rules`; the newest turns are cut as a store
returns them, and the turns that stay, or are recalled, are read beside.
"""

from typing import Any

from hypothesis import given, strategies as st

from fakes import converse_rules
from lambdallm_extension.domain import memory, token_counts
from lambdallm_extension.domain.memory import StoredTurn
from lambdallm_wire.sessions import Memory, Turn


def use(*ids: str) -> list[Any]:
    return [{"toolUse": {"toolUseId": each, "name": "t", "input": {}}} for each in ids]


def results(*ids: str) -> list[Any]:
    return [{"toolResult": {"toolUseId": each, "content": [{"text": "r"}]}} for each in ids]


def turn(role: str, content: Any, **more: Any) -> Turn:
    made: Any = {"role": role, "content": content, "metadata": {}, "at_epoch_ms": 1, **more}
    return made  # type: ignore[no-any-return]


TEXTS = st.sampled_from(["x", "a longer text " * 9, "漢字 and 🙂", "", "\u0000", "مرحبا"])
CONTENTS = st.one_of(
    TEXTS,
    st.sampled_from([use("a"), use("b"), use("a", "b"), results("a"), results("b", "a")]),
    st.lists(
        st.sampled_from([{"text": "t"}, *use("a"), *results("a"), {"image": {"format": "png",
        "source": {"bytes": "AA=="}}}]), min_size=1, max_size=3,
    ),
)  # fmt: skip
COUNTS = st.fixed_dictionaries(
    {},
    optional={
        "tokens": st.integers(1, 5_000), "prompt_tokens": st.integers(1, 90_000),
        "prompt_messages": st.integers(1, 40), "pinned": st.booleans(),
    },
)  # fmt: skip
TURNS = st.builds(
    lambda role, content, more: turn(role, content, **more),
    st.sampled_from(["user", "assistant", "assistant", "system"]), CONTENTS, COUNTS,
)  # fmt: skip
LOGS = st.lists(st.lists(TURNS, min_size=1, max_size=6), max_size=8)
RULES: Any = st.one_of(
    st.just({"strategy": "full_history"}),
    st.builds(lambda n: {"strategy": "sliding_window", "max_messages": n}, st.integers(1, 12)),
    st.builds(lambda n: {"strategy": "token_window", "max_tokens": n}, st.integers(0, 9_000)),
    st.builds(
        lambda n, m: {"strategy": "summary", "max_messages": n, "update_after_messages": m},
        st.integers(0, 6), st.integers(0, 6),
    ),
    st.builds(lambda n: {"strategy": "semantic", "max_messages": n}, st.integers(0, 8)),
)  # fmt: skip


def stored(log: list[list[Turn]]) -> list[StoredTurn]:
    return [
        StoredTurn(number, place, f"event-{number}", each)
        for number, exchange in enumerate(log, start=1)
        for place, each in enumerate(exchange)
    ]


@given(LOGS, RULES, st.integers(0, 48), st.sets(st.integers(1, 8)), st.integers(0, 8))
def test_every_window_passes_the_rules(
    log: list[list[Turn]], rule: Memory, cut: int, beside: set[int], covered: int
) -> None:
    everything = stored(log)
    read = [*everything[cut:], *(each for each in everything[:cut] if each.exchange in beside)]

    seen = memory.select(
        reversed(read), rule, own_identity="event-2", recalled=beside, covered=covered
    )

    assert converse_rules.window_faults(seen) == []
    own = {id(each.turn) for each in everything if each.identity == "event-2"}
    assert not own & {id(each) for each in seen}


def test_pinned_calls_that_were_passed_over_do_not_stand_at_the_end() -> None:
    call, newest = turn("assistant", use("a"), pinned=True), turn("assistant", use("b"))
    log = [[turn("user", "look"), call], [turn("user", "never mind"), turn("assistant", "as")],
           [turn("user", "you like"), newest]]  # fmt: skip

    def seen(events: int, messages: int) -> list[Turn]:
        rule: Memory = {"strategy": "sliding_window", "max_messages": messages}
        return memory.select(stored(log[:events]), rule, own_identity="")

    assert seen(1, 0) == log[0], "its results may still come"
    assert seen(2, 0) == [log[0][0]]
    assert seen(2, 1) == [log[0][0], log[1][1]]
    assert seen(3, 1) == [log[0][0], newest]


@given(LOGS, RULES, st.integers(0, 48), st.sets(st.integers(1, 8)))
def test_calls_at_the_end_are_those_that_nobody_has_answered(
    log: list[list[Turn]], rule: Memory, cut: int, beside: set[int]
) -> None:
    everything = stored(log)
    read = [*everything[cut:], *(each for each in everything[:cut] if each.exchange in beside)]

    def last_calls(turns: list[Turn]) -> set[int]:
        spoken = [each for each in turns if each["role"] != "system"]
        asked = [place for place, each in enumerate(spoken) if each["role"] == "user"]
        behind = spoken[asked[-1] + 1 :] if asked else spoken
        return {id(each) for each in behind if "toolUse" in str(each["content"])}

    seen = memory.select(read, rule, own_identity="", recalled=beside)

    assert last_calls(seen) <= last_calls([each.turn for each in memory.visible(read, "")])


@given(LOGS, RULES)
def test_system_turns_stay_and_nothing_is_seen_twice(log: list[list[Turn]], rule: Memory) -> None:
    read = stored(log)
    shown = memory.visible(read, "")

    seen = memory.select(read, rule, own_identity="")

    assert [each for each in seen if each["role"] == "system"] == [
        each.turn for each in shown if each.turn["role"] == "system"
    ]
    assert len({id(each) for each in seen}) == len(seen)
    order = [id(each.turn) for each in shown]
    places = [order.index(id(each)) for each in seen]
    assert places == sorted(places)


SPOKEN = st.lists(
    st.tuples(TEXTS, TEXTS, st.booleans()).map(
        lambda said: [turn("user", said[0], pinned=said[2]), turn("assistant", said[1])]
    ),
    max_size=10,
)


@given(SPOKEN, RULES)
def test_pinned_turns_stay_with_their_answers(log: list[list[Turn]], rule: Memory) -> None:
    seen = memory.select(stored(log), rule, own_identity="")

    for exchange in log:
        if exchange[0].get("pinned"):
            assert all(any(each is turn for turn in seen) for each in exchange)


@given(SPOKEN, st.integers(0, 400))
def test_a_window_of_tokens_holds_no_more_than_it_may(log: list[list[Turn]], most: int) -> None:
    for exchange in log:
        exchange[0]["pinned"] = False
    rule: Memory = {"strategy": "token_window", "max_tokens": most}
    everything = [each for exchange in log for each in exchange]
    counts = dict(zip(map(id, everything), token_counts.count(everything), strict=True))

    seen = memory.select(stored(log), rule, own_identity="")

    assert sum(counts[id(each)] for each in seen) <= most
    following = log[len(log) - len(seen) // 2 - 1 : len(log) - len(seen) // 2]
    if following:
        more = sum(counts[id(each)] for each in (*seen, *following[0]))
        assert more > most, "one more exchange would have fitted"


def test_an_image_and_a_huge_turn_do_not_push_the_newest_out() -> None:
    image = [{"image": {"format": "png", "source": {"bytes": "A" * 400_000}}}, {"text": "what?"}]
    log = [[turn("user", "x" * 500_000), turn("assistant", "long")],
           [turn("user", image), turn("assistant", "a cat")]]  # fmt: skip
    rule: Memory = {"strategy": "token_window", "max_tokens": 2_000}

    assert [each["content"] for each in memory.select(stored(log), rule, own_identity="")] == [
        image, "a cat",
    ]  # fmt: skip


def test_reads_want_about_as_many_turns_as_the_window_holds() -> None:
    limits = [
        memory.read_limit({"strategy": "token_window", "max_tokens": tokens})
        for tokens in (10, 9_000, 1_000_000)
    ]
    assert limits == [32, 72, 212]
    assert memory.read_limit({"strategy": "semantic", "max_messages": 6}) == 18
    assert memory.read_limit({"strategy": "summary", "max_messages": 6}) == 38
