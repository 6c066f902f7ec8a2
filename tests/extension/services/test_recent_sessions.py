"""What is kept of recent sessions: one small request where nothing changed, nothing stale."""

from typing import Any

import pytest

from lambdallm_extension.services.recent_sessions import (
    BYTES_MAX,
    SESSIONS_MAX,
    RecentSessions,
)

ASK, ANSWER = ("user", "question"), ("assistant", "answer")


def turn(role: str, content: object) -> Any:
    return {"role": role, "content": content, "metadata": {}, "at_epoch_ms": 1}


def write(sessions: Any, *turns: tuple[str, str], identity: str = "", **more: Any) -> Any:
    """Run an event to its end, as the loop over invocations does."""
    work = sessions.begin(identity, **more)
    work.append([turn(*each) for each in turns], metadata=None, clear=False)
    work.close()
    work.save(5)
    return work


def read(sessions: Any, recent: RecentSessions, **more: Any) -> tuple[list[Any], list[str]]:
    """Return what a new event sees, and what was asked of the store for it."""
    sessions.store.requests.clear()
    window = sessions.begin(recent_sessions=recent, **more).window()
    asked = list(sessions.store.requests)
    return [window["version"], *(each["content"] for each in window["turns"])], sorted(asked)


SEEN = [1, "question", "answer"]


@pytest.mark.parametrize("max_messages", [None, 4])
def test_an_environment_reads_its_own_session_by_its_head(
    sessions: Any, max_messages: int | None
) -> None:
    recent = RecentSessions()
    write(sessions, ASK, ANSWER, recent_sessions=recent, max_messages=max_messages)
    assert read(sessions, recent, max_messages=max_messages) == (SEEN, ["get"])

    for number in range(40):
        said = ("user", f"q{number}"), ("assistant", f"a{number}")
        write(sessions, *said, recent_sessions=recent, max_messages=max_messages)
        seen, asked = read(sessions, recent, max_messages=max_messages)
        assert asked == ["get"]
        assert seen[-2:] == [f"q{number}", f"a{number}"]


def test_a_session_of_others_is_kept_from_its_second_read(sessions: Any) -> None:
    write(sessions, ASK, ANSWER)
    recent = RecentSessions()

    assert [read(sessions, recent) for _ in range(3)] == [
        (SEEN, ["query"]), (SEEN, ["query"]), (SEEN, ["get"]),
    ]  # fmt: skip


def kept(sessions: Any) -> RecentSessions:
    write(sessions, ASK, ANSWER, identity="first")
    recent = RecentSessions()
    for _ in range(2):
        read(sessions, recent)
    return recent


def test_of_what_others_have_said_since_nothing_else_is_read(sessions: Any) -> None:
    recent = kept(sessions)
    write(sessions, ("user", "more"), ("assistant", "again"))

    expected = [2, "question", "answer", "more", "again"]
    assert read(sessions, recent) == (expected, ["get", "query"])
    assert read(sessions, recent)[0] == expected
    assert read(sessions, recent) == (expected, ["get"])


def test_an_exchange_that_is_open_is_read_again_until_it_is_answered(sessions: Any) -> None:
    sessions.durability = "before_response"
    recent = kept(sessions)
    opened = sessions.begin("open")
    opened.append([turn("user", "slow")], metadata=None, clear=False)
    opened._lane.wait(5)
    write(sessions, ("user", "fast"), ("assistant", "reply"))
    for _ in range(3):
        assert read(sessions, recent)[0][1:] == ["question", "answer", "fast", "reply"]

    opened.append([turn("assistant", "at last")], metadata=None, clear=False)
    opened.save(5)

    expected = ["question", "answer", "slow", "at last", "fast", "reply"]
    assert read(sessions, recent)[0][1:] == expected
    assert read(sessions, recent)[0][1:] == expected
    assert read(sessions, recent)[1] == ["get"]


@pytest.mark.parametrize("how", ["more", "retry", "clear", "gone", "reborn", "metadata"])
def test_what_changes_an_exchange_is_seen_at_once(sessions: Any, how: str) -> None:
    recent = kept(sessions)
    first = sessions.begin("first", continues="1")
    expected: list[Any] = SEEN
    if how == "more":
        first.append([turn(*ASK), turn(*ANSWER), turn("user", "x"), turn("assistant", "y")],
                     metadata=None, clear=False)  # fmt: skip
        first.save(5)
        expected = [1, "question", "answer", "x", "y"]
    elif how == "retry":
        first.append([turn(*ASK), turn(*ANSWER)], metadata=None, clear=False)
        first.save(5)
        first.fail()
        first.save(5)
        write(sessions, ("user", "question"), ("assistant", "changed"), identity="first")
        expected = [1, "question", "changed"]
    elif how == "clear":
        other = sessions.begin()
        other.append([], metadata=None, clear=True)
        other.save(5)
        expected = [2]
    elif how == "metadata":
        other = sessions.begin()
        other.append([], metadata={"plan": "pro"}, clear=False)
        other.save(5)
        expected = [2, "question", "answer"]
        reader = sessions.begin(recent_sessions=recent)
        assert reader.window()["metadata"] == {"plan": "pro"}
    else:
        sessions.store._partitions.clear()
        expected = [0]
        if how == "reborn":
            write(sessions, ("user", "new"), ("assistant", "life"))
            expected = [1, "new", "life"]

    for _ in range(3):
        assert read(sessions, recent)[0] == expected


def test_an_expired_session_is_not_kept_alive(sessions: Any) -> None:
    recent = RecentSessions()
    write(sessions, ASK, ANSWER, recent_sessions=recent, ttl_seconds=100)
    sessions.clock.now_ms += 100_000

    assert read(sessions, recent, ttl_seconds=100)[0] == [0]


def test_turns_that_are_to_be_extended_are_read_from_the_store(sessions: Any) -> None:
    recent = RecentSessions()
    write(sessions, ASK, ANSWER, recent_sessions=recent, ttl_seconds=100)
    for _ in range(5):
        sessions.clock.now_ms += 70_000
        write(sessions, ("user", "on"), ("assistant", "and on"), recent_sessions=recent,
              ttl_seconds=100)._upkeep.wait(5)  # fmt: skip

    assert read(sessions, recent, ttl_seconds=100)[0] == [6, *SEEN[1:], *["on", "and on"] * 5]


def test_a_session_of_a_writer_that_does_not_count_is_not_kept(sessions: Any) -> None:
    write(sessions, ASK, ANSWER)
    partition = sessions.store._partitions["SESSION#s"]
    head = partition["HEAD"]
    attributes = {name: value for name, value in head.attributes.items() if name != "rewrites"}
    partition["HEAD"] = head._replace(attributes=attributes)
    recent = RecentSessions()

    assert [read(sessions, recent) for _ in range(3)] == [(SEEN, ["query"])] * 3
    assert recent.size_bytes == 0


def test_turns_of_before_a_rewrite_beside_a_head_of_after_it_are_not_kept(sessions: Any) -> None:
    """A query is no snapshot."""
    write(sessions, ASK, ANSWER, identity="first")
    recent, query = RecentSessions(), sessions.store.query

    def torn(pk: str, prefix: str, **how: Any) -> Any:
        sessions.store.query = query
        turns = query(pk, prefix, **{**how, "first": ""})
        continued = sessions.begin("first", continues="1")
        continued.append([turn(*ASK), turn("assistant", "new")], metadata=None, clear=False)
        continued.save(5)
        return [*turns, sessions.store.partition()["HEAD"]]

    sessions.store.query = torn
    assert read(sessions, recent)[0] == SEEN

    for _ in range(3):
        assert read(sessions, recent)[0] == [1, "question", "new"]


def test_so_much_is_kept_and_no_more(sessions: Any) -> None:
    recent = RecentSessions()
    long = "x" * 40_000
    for number in range(80):
        write(sessions, ("user", long), ("assistant", long), session_id=f"s{number}",
              recent_sessions=recent)  # fmt: skip
        assert recent.size_bytes <= BYTES_MAX
    assert read(sessions, recent, session_id="s79")[1] == ["get"]
    assert read(sessions, recent, session_id="s0")[1] == ["query"]

    for _ in range(20):
        write(sessions, ("user", long), ("assistant", long), recent_sessions=recent)
    assert len(read(sessions, recent)[0]) == 41
    assert recent.size_bytes <= BYTES_MAX


def test_so_many_sessions_are_known_and_no_more(sessions: Any) -> None:
    recent = RecentSessions()
    head = sessions.begin()._found().head._replace(version=1, rewrites=1)
    for number in range(SESSIONS_MAX + 10):
        recent.note(f"s{number}", head, [], before=None, whole=True, limit=None)

    assert recent.find(f"s{SESSIONS_MAX + 9}") is not None
    assert recent.find("s9") is None
