"""An item that is damaged is named, whatever is wrong with it, and never misread."""

from typing import Any

import pytest

from lambdallm_extension import errors

DAMAGE: list[Any] = [None, -1, "", "x", [], {}, ["a"], True, '{"a":', "null", "[1]", "missing"]

ATTRIBUTES = {
    "HEAD": ["schema", "exchanges", "first_exchange", "metadata"],
    "TURN#000001#0": ["schema", "role", "content", "metadata", "at", "exchange"],
    "EXCHANGE#event-1": ["schema", "number", "turns", "writer"],
}
HARMLESS = {
    ("HEAD", "first_exchange", "missing"), ("HEAD", "metadata", "missing"),
    ("HEAD", "exchanges", -1), ("TURN#000001#0", "metadata", "missing"),
    *(("TURN#000001#0", "content", text) for text in ("null", "[1]")),
    *(("TURN#000001#0", name, text) for name in ("role", "exchange")
      for text in ("", "x", '{"a":', "null", "[1]")),
    *(("EXCHANGE#event-1", "writer", text) for text in ("", "x", '{"a":', "null", "[1]")),
    *(("TURN#000001#0", "at", -1), ("EXCHANGE#event-1", "number", -1),
      ("EXCHANGE#event-1", "turns", -1)),
}  # fmt: skip
"""Nobody can see that these are wrong; the turn is what it says."""

CASES = [
    (sk, name, value)
    for sk, names in ATTRIBUTES.items()
    for name in names
    for value in DAMAGE
    if not any((sk, name) == known[:2] and value is known[2] for known in HARMLESS)
]


def read_and_say(work: Any, times: int) -> None:
    work.window()
    turns = [
        {"role": role, "content": "x", "metadata": {}, "at_epoch_ms": 1}
        for _ in range(times)
        for role in ("user", "assistant")
    ]
    work.append(turns, metadata=None, clear=False)
    work.save(5)


@pytest.mark.parametrize(("sk", "name", "value"), CASES)
def test_a_damaged_item_is_named(sessions: Any, sk: str, name: str, value: Any) -> None:
    sessions.say(("user", "q"), ("assistant", "a"))
    item = sessions.store._partitions["SESSION#s"][sk]
    if value == "missing":
        item.attributes.pop(name, None)
    else:
        item.attributes[name] = value

    with pytest.raises(errors.StoreRefusedError, match=f"sk='{sk}'.*{name}") as refused:
        read_and_say(sessions.begin("event-1"), 1)

    assert "Mend or delete it" in refused.value.detail


def test_a_count_that_no_session_reaches_is_damage(sessions: Any) -> None:
    sessions.say(("user", "q"), ("assistant", "a"))
    sessions.store._partitions["SESSION#s"]["HEAD"].attributes["exchanges"] = 10**37

    with pytest.raises(errors.StoreRefusedError, match=r"sk='HEAD'.*'exchanges' is 1000"):
        sessions.begin().window()


@pytest.mark.parametrize("name", ["content", "metadata"])
def test_what_was_said_is_not_in_the_sentence(sessions: Any, name: str) -> None:
    sessions.say(("user", "q"), ("assistant", "a"))
    item = sessions.store._partitions["SESSION#s"]["TURN#000001#0"]
    item.attributes[name] = '"sesame'

    with pytest.raises(errors.StoreRefusedError) as refused:
        sessions.begin().window()

    assert "TURN#000001#0" in refused.value.detail
    assert "sesame" not in refused.value.detail


def test_an_item_of_a_newer_version_says_what_to_update(sessions: Any) -> None:
    sessions.say(("user", "q"), ("assistant", "a"))
    sessions.store._partitions["SESSION#s"]["HEAD"].attributes["schema"] = 2

    with pytest.raises(errors.StoreRefusedError, match="Update the layer"):
        sessions.begin().window()


def test_a_message_too_many_is_said_in_the_users_words(sessions: Any) -> None:
    with pytest.raises(errors.StoreRefusedError, match="keeps at most 1,000 messages"):
        read_and_say(sessions.begin(), 501)
