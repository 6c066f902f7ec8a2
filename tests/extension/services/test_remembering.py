"""Summaries and vectors of whole engines on one database: what is written, and what is never."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.clocks import HandClock
from fakes.played import Middle
from lambdallm_extension.engine import Engine
from lambdallm_extension.ports import Key
from lambdallm_extension.settings import Settings

TTL = 3_600
SUMMARY = {"strategy": "summary", "max_messages": 2, "update_after_messages": 2}
SEMANTIC = {"strategy": "semantic", "max_messages": 2, "top_k": 1}
REFUSED = {"error": "ValidationException", "status": 400, "text": "No."}
LOST = {"error": "ThrottlingException", "status": 429, "retryable": True}


class Environment:
    """An execution environment without its processes: an engine, and what it wrote to the log."""

    def __init__(self, clock: HandClock, path: Path, script: Any) -> None:
        self.clock = clock
        self.lines: list[str] = []
        environ = {
            "LAMBDALLM_STORE": f"sqlite:///{path}", "LAMBDALLM_MODEL": "scripted/chat",
            "LAMBDALLM_EMBEDDING_MODEL": "scripted/vectors", "LAMBDALLM_TELEMETRY": "on",
            "LAMBDALLM_SCRIPT": json.dumps(script),
        }  # fmt: skip
        self.engine = Engine(
            Settings.from_environ(environ), clock=clock, random=Middle(),
            sleep=lambda _: None, write_line=self.lines.append,
        )  # fmt: skip
        self._events = 0

    def ask(self, route: str, **message: Any) -> Any:
        status, body = self.engine.handle(
            "POST", f"/v1/{route}", json.dumps(message).encode(), connection=1
        )
        assert status == 200, body
        return json.loads(body)

    def begin(self, memory: Any, query: str = "", identity: str = "", read: bool = True) -> str:
        self._events += 1
        work = f"w{self._events}"
        self.ask(
            "begin", wire_version=4, work_id=work, request_id=work,
            deadline_epoch_ms=self.clock.now_ms + 60_000,
            session={
                "session_id": "s", "identity": identity or f"{id(self)}-{work}",
                "ttl_seconds": TTL, "memory": memory, "durability": "before_response",
            },
        )  # fmt: skip
        self.seen = self.ask("session/window", work_id=work, query=query)["turns"] if read else []
        return work

    def end(self, work: str, text: str, **more: Any) -> None:
        turns = [
            {"role": role, "content": f"{role[0]} {text}", "metadata": {},
             "at_epoch_ms": self.clock.now_ms}
            for role in ("user", "assistant")
        ]  # fmt: skip
        self.ask("session/append", work_id=work, turns=turns, **more)
        self.ask("end", work_id=work, outcome="ok")
        assert self.engine.wait_persisted(5)

    def say(self, memory: Any, *texts: str, **more: Any) -> list[str]:
        """Have an event for each text; return what the last one saw."""
        for text in texts:
            self.end(self.begin(memory, **more), text)
        return [turn["content"] for turn in self.seen]

    def item(self, sk: str, pk: str = "SESSION#s") -> Any:
        return self.engine.store().get(Key(pk, sk), deadline_ms=self.clock.now_ms + 5_000)


@pytest.fixture
def start(hand_clock: HandClock, tmp_path: Path) -> Iterator[Callable[..., Environment]]:
    started: list[Environment] = []
    hand_clock.now_ms = time.time_ns() // 1_000_000  # scripts have the system's clock

    def make(*answers: Any) -> Environment:
        script = {"models": {"chat": [*answers] or ["Told: {last}"]}}
        started.append(Environment(hand_clock, tmp_path / "s.db", script))
        return started[-1]

    yield make
    for environment in started:
        environment.engine.close()


def numbered(first: int, end: int) -> list[str]:
    return [str(number) for number in range(first, end)]


def test_a_summary_stands_beside_the_turns_with_its_cost(start: Any) -> None:
    environment = start("first", "second")
    environment.say(SUMMARY, *numbered(0, 3))
    digest = environment.item("DIGEST")

    assert (digest.attributes["text"], digest.attributes["covers"]) == ("first", 2)
    record = environment.item("CALL", f"CALL#{digest.attributes['call']}")
    assert record.attributes["state"] == "settled"
    assert record.attributes["work"] == "w3"
    assert digest.attributes["call"].startswith("summary-")
    assert digest.attributes["cost_pico_usd"] == record.attributes["cost_pico_usd"] == 0
    assert environment.say(SUMMARY, "3")[0].endswith("\nfirst")
    assert environment.say(SUMMARY, "4")[1:] == ["u 2", "a 2", "u 3", "a 3"]
    assert environment.item("DIGEST").attributes["text"] == "second"


def test_the_memory_so_far_and_what_was_said_since_are_told(start: Any) -> None:
    environment = start("MEMORY", "{last}")
    environment.say(SUMMARY, *numbered(0, 5))

    told = environment.item("DIGEST").attributes["text"]
    assert "MEMORY" in told
    assert "user: u 2\nassistant: a 2" in told
    assert "u 1" not in told


def test_of_two_environments_the_older_view_never_wins(start: Any) -> None:
    one, other = start("one"), start("other")
    one.say(SUMMARY, *numbered(0, 2))
    late = other.begin(SUMMARY)
    one.say(SUMMARY, "2")
    assert one.item("DIGEST").attributes["text"] == "one"

    other.end(late, "late")

    assert one.item("DIGEST").attributes["text"] == "one"
    assert not [line for line in other.lines if "brought up" in line]


def test_a_summary_that_failed_is_made_by_the_next_event_of_all_that_was_missed(
    start: Any,
) -> None:
    failing = start(REFUSED)
    failing.say(SUMMARY, *numbered(0, 40))
    assert failing.item("DIGEST") is None
    assert len([line for line in failing.lines if "not brought up to date" in line]) == 38

    environment = start("{last}")
    environment.clock.now_ms += 1_000_000
    environment.say(SUMMARY, "40")

    told = environment.item("DIGEST").attributes["text"]
    assert "user: u 0\n" in told
    assert "user: u 39\n" in told
    assert environment.item("DIGEST").attributes["covers"] == 40


def test_an_empty_summary_is_none(start: Any) -> None:
    environment = start(" ")
    environment.say(SUMMARY, *numbered(0, 3))

    assert environment.item("DIGEST") is None
    assert any("written no summary" in line for line in environment.lines)


def test_a_session_that_expired_is_not_told_of(start: Any) -> None:
    environment = start()
    environment.say(SUMMARY, *numbered(0, 4))
    environment.clock.now_ms += (TTL + 1) * 1_000

    assert environment.say(SUMMARY, "new") == []
    assert environment.say(SUMMARY, "newer") == ["u new", "a new"]


def test_a_summary_outlives_its_period_in_a_session_that_is_used(start: Any) -> None:
    environment = start("kept")
    environment.say(SUMMARY, *numbered(0, 3))
    for _ in range(9):
        environment.clock.now_ms += TTL * 900
        work = environment.begin(SUMMARY)
        environment.ask("session/append", work_id=work, turns=[], metadata={"at": work})
        environment.ask("end", work_id=work, outcome="ok")
        environment.end(environment.begin(SUMMARY, identity="again"), "same")

    assert environment.begin(SUMMARY)
    assert environment.seen[0]["content"].endswith("\nkept")


def test_a_digest_of_an_earlier_life_is_ignored_and_replaced(start: Any) -> None:
    environment = start("old", "new")
    environment.say(SUMMARY, *numbered(0, 3))
    store, digest = environment.engine.store(), environment.item("DIGEST")
    for item in store.query("SESSION#s", "", deadline_ms=environment.clock.now_ms + 5_000):
        if item.key != digest.key:
            store.delete(item.key, deadline_ms=environment.clock.now_ms + 5_000)

    assert environment.say(SUMMARY, "a") == []
    environment.say(SUMMARY, "b", "c")
    assert environment.item("DIGEST").attributes["text"] == "new"


def test_clearing_ends_what_a_summary_tells(start: Any) -> None:
    environment = start()
    environment.say(SUMMARY, *numbered(0, 4))
    environment.end(environment.begin(SUMMARY), "cleared", clear=True)

    assert environment.say(SUMMARY, "after") == ["u cleared", "a cleared"]


def test_an_event_delivered_again_is_not_remembered_twice(start: Any) -> None:
    environment = start("once", "twice")
    environment.say(SUMMARY, "0", "1")
    environment.end(environment.begin(SUMMARY, identity="same"), "2")
    environment.end(environment.begin(SUMMARY, identity="same"), "again")

    assert environment.item("DIGEST").attributes["text"] == "once"


def test_what_spends_for_a_memory_says_so(start: Any) -> None:
    environment = start()
    environment.say(SUMMARY, *numbered(0, 3))

    reports = [json.loads(line) for line in environment.lines if line.startswith('{"FunctionName"')]
    spent = [line for line in reports if line["outcome"] == "memory"]
    assert [(line["workId"], line["Calls"], line["FailedInvocations"]) for line in spent] == [
        ("w3", 1, 0)
    ]
    assert sum(line["Calls"] for line in reports) == 1


def test_the_handler_is_never_kept_waiting_for_a_summary(start: Any) -> None:
    """Its `end` is answered while the model still writes."""
    environment = start({"chunks": ["slow"], "delay_ms": 400})
    environment.say(SUMMARY, *numbered(0, 2))
    work = environment.begin(SUMMARY)
    turns = [{"role": role, "content": "x", "at_epoch_ms": 1} for role in ("user", "assistant")]
    environment.ask("session/append", work_id=work, turns=turns)
    environment.ask("end", work_id=work, outcome="ok")

    assert environment.item("DIGEST") is None
    assert environment.engine.wait_persisted(5)
    assert environment.item("DIGEST").attributes["text"] == "slow"


# Vectors


def test_every_exchange_gets_its_vector_once(start: Any) -> None:
    environment = start()
    environment.say(SEMANTIC, *numbered(0, 3))
    items = [environment.item(f"VECTOR#{number:06d}") for number in (1, 2, 3)]

    assert [item.attributes["turns"] for item in items] == [2, 2, 2]
    assert {item.attributes["model"] for item in items} == {"scripted/vectors"}
    calls = {item.attributes["call"] for item in items}
    assert len(calls) == 3
    assert all(environment.item("CALL", f"CALL#{call}") for call in calls)
    assert all(call.startswith("vectors-") for call in calls)
    reports = [json.loads(line) for line in environment.lines if line.startswith('{"FunctionName"')]
    assert [line["Calls"] for line in reports if line["outcome"] == "memory"] == [1, 1, 1]


def test_vectors_that_were_missed_are_made_later(start: Any) -> None:
    environment = start()
    environment.say({**SEMANTIC, "model": "nobody/x"}, *numbered(0, 3))
    assert environment.item("VECTOR#000003") is None
    environment.say(SEMANTIC, "3")

    assert environment.item("VECTOR#000003") is not None
    assert environment.item("VECTOR#000004") is not None


def test_what_is_recalled_is_read_by_its_key_and_stands_in_its_order(start: Any) -> None:
    environment = start()
    environment.say(SEMANTIC, *numbered(0, 30))

    environment.begin(SEMANTIC, query="u 4\na 4")
    assert [turn["content"] for turn in environment.seen] == ["u 4", "a 4", "u 29", "a 29"]
    environment.begin({**SEMANTIC, "model": "scripted/other"}, query="u 4\na 4")
    assert [turn["content"] for turn in environment.seen] == ["u 29", "a 29"], "another model's"


def test_recalled_turns_live_as_long_as_their_session(start: Any) -> None:
    environment = start()
    environment.say(SEMANTIC, *numbered(0, 20))
    for number in range(6):
        environment.clock.now_ms += TTL * 900
        environment.say(SEMANTIC, f"later {number}")

    environment.begin(SEMANTIC, query="u 4\na 4")
    assert [turn["content"] for turn in environment.seen][:2] == ["u 4", "a 4"]


def test_without_a_question_nothing_is_embedded(start: Any) -> None:
    environment = start()
    environment.say(SEMANTIC, "0", "1", "2", query=" ")
    reports = [json.loads(line) for line in environment.lines if line.startswith('{"FunctionName"')]

    assert [line["Calls"] for line in reports if line["outcome"] == "ok"] == [0, 0, 0]


def test_a_question_that_is_no_text_is_refused(start: Any) -> None:
    environment = start()
    with pytest.raises(AssertionError, match="query"):
        environment.begin(SEMANTIC, query=5)


@pytest.mark.parametrize("damage", [{"steps": "?"}, {"steps": 5}, {"model": None}])
def test_a_vector_that_is_none_is_passed_over(start: Any, damage: Any) -> None:
    from lambdallm_extension.ports import Add

    environment = start()
    environment.say(SEMANTIC, *numbered(0, 4))
    add = Add(Key("SESSION#s", "VECTOR#000001"), assign=damage)
    environment.engine.store().add_if(add, deadline_ms=environment.clock.now_ms + 5_000)

    environment.begin(SEMANTIC, query="u 0\na 0")
    assert [turn["content"] for turn in environment.seen][-2:] == ["u 3", "a 3"]


@pytest.mark.parametrize(
    "wrong", [{"strategy": "dreams"}, {"top_k": -1}, {"max_tokens": "9"}, {"model": 5}]
)
def test_a_memory_that_the_layer_does_not_have_is_refused(start: Any, wrong: Any) -> None:
    with pytest.raises(AssertionError, match=r"memory|Memory|model"):
        start().begin({**SEMANTIC, **wrong})
