"""What a summary takes in, and when."""

from typing import Any

from lambdallm_extension.domain import summaries
from lambdallm_extension.domain.memory import StoredTurn

NOW_MS = 1_790_000_000_000
RULE: Any = {"strategy": "summary", "max_messages": 4, "update_after_messages": 2}


def exchange(number: int, *, at_ms: int = 0, text: str = "x") -> list[StoredTurn]:
    return [
        StoredTurn(number, place, f"e{number}", {
            "role": role, "content": text, "metadata": {}, "at_epoch_ms": at_ms,
        })
        for place, role in enumerate(("user", "assistant"))
    ]  # fmt: skip


def due(*numbers: int, covered: int = 0, **more: Any) -> list[int]:
    stored = [each for number in numbers for each in exchange(number, **more)]
    taken = summaries.due(stored, RULE, covered=covered, now_ms=NOW_MS)
    return sorted({each.exchange for each in taken})


def test_the_newest_stay_word_for_word_until_there_are_enough() -> None:
    assert due(1, 2, 3) == []
    assert due(1, 2, 3, 4) == [1, 2]
    assert due(1, 2, 3, 4, 5, covered=2) == []
    assert due(1, 2, 3, 4, 5, 6, covered=2) == [3, 4]


def test_an_exchange_that_may_still_be_answered_is_waited_for() -> None:
    assert due(1, 3, 4, 5, 6, at_ms=NOW_MS - 60_000) == [1]
    assert due(2, 3, 4, 5, at_ms=NOW_MS - 60_000) == []
    assert due(1, 3, 4, 5, 6, at_ms=NOW_MS - summaries.GAP_MS) == [1, 3, 4]


def test_a_long_backlog_is_taken_in_pieces() -> None:
    text = "x" * (summaries.TRANSCRIPT_MAX_CHARACTERS // 5)

    assert due(*range(1, 12), text=text) == [1, 2]
    assert due(*range(1, 12), text=text, covered=2) == [3, 4]
    assert due(*range(1, 12), text=text * 9) == [1], "an exchange is taken whole"


def test_a_transcript_tells_everything_and_is_bounded() -> None:
    call: Any = [{"toolUse": {"toolUseId": "1", "name": "weather", "input": {"at": "Rom"}}},
                 {"text": "wait"}, {"image": {}}]  # fmt: skip
    told = summaries.transcript(exchange(1, text=call), "before")

    assert "<memory>\nbefore\n</memory>" in told
    assert '"weather"' in told
    assert "wait [image]" in told
    huge = summaries.transcript(exchange(1, text="x" * 10**6), "")
    assert len(huge) < summaries.TRANSCRIPT_MAX_CHARACTERS + 200


def test_nothing_word_for_word_is_possible_too() -> None:
    rule: Any = {"strategy": "summary", "max_messages": 0, "update_after_messages": 0}

    taken = summaries.due(exchange(1), rule, covered=0, now_ms=NOW_MS)

    assert [each.exchange for each in taken] == [1, 1]
