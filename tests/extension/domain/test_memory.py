"""Which turns of a session a handler sees."""

from hypothesis import given, strategies as st

from lambdallm_extension.domain import memory
from lambdallm_extension.domain.memory import StoredTurn
from lambdallm_wire.sessions import Memory, Turn

FULL: Memory = {"strategy": "full_history"}


def window(messages: int) -> Memory:
    return {"strategy": "sliding_window", "max_messages": messages}


def turn(role: str, content: str = "x") -> Turn:
    return {"role": role, "content": content, "metadata": {}, "at_epoch_ms": 1}


def stored(*exchanges: list[str]) -> list[StoredTurn]:
    return [
        StoredTurn(number, index, f"event-{number}", turn(role, f"{number}.{index}"))
        for number, roles in enumerate(exchanges, start=1)
        for index, role in enumerate(roles)
    ]


def seen(turns: list[Turn]) -> list[object]:
    return [turn["content"] for turn in turns]


QA = ["user", "assistant"]


def test_exchanges_come_in_their_order_whatever_the_order_of_reading() -> None:
    turns = memory.select(reversed(stored(QA, QA)), FULL, own_identity="")

    assert seen(turns) == ["1.0", "1.1", "2.0", "2.1"]


def test_an_unanswered_exchange_stays_out_until_it_is_answered() -> None:
    assert seen(memory.select(stored(QA, ["user"], QA), FULL, own_identity="")) == [
        "1.0", "1.1", "3.0", "3.1",
    ]  # fmt: skip


def test_a_redelivered_event_does_not_see_its_own_exchange() -> None:
    assert seen(memory.select(stored(QA, QA), FULL, own_identity="event-2")) == ["1.0", "1.1"]


def test_the_window_keeps_the_newest_messages_and_begins_with_a_user() -> None:
    assert seen(memory.select(stored(QA, QA, QA), window(3), own_identity="")) == ["3.0", "3.1"]


def test_system_turns_outlive_the_window() -> None:
    turns = memory.select(stored(["system"], QA, QA), window(2), own_identity="")

    assert seen(turns) == ["1.0", "3.0", "3.1"]


def test_an_exchange_cut_by_the_read_does_not_begin_with_an_answer() -> None:
    cut = stored(["user", "assistant", "user", "assistant"])[1:]

    assert seen(memory.select(cut, window(10), own_identity="")) == ["1.2", "1.3"]


@given(
    st.lists(st.lists(st.sampled_from(["user", "assistant", "system"]), min_size=1, max_size=5)),
    st.integers(0, 12),
)
def test_no_window_begins_with_an_answer_or_holds_more_than_was_asked(
    exchanges: list[list[str]], messages: int
) -> None:
    turns = memory.select(stored(*exchanges), window(messages), own_identity="event-1")
    spoken = [turn["role"] for turn in turns if turn["role"] != "system"]

    assert len(spoken) <= messages
    assert not spoken or spoken[0] == "user"


def test_the_read_is_bounded_by_the_window() -> None:
    assert memory.read_limit(FULL) is None
    assert memory.read_limit(window(20)) == 20 + memory.READ_AHEAD
