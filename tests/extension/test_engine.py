"""The engine through its routes: what the SDK sends, what comes back, and what is refused."""

import json
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from lambdallm_extension import VERSION, errors
from lambdallm_extension.domain import flush
from lambdallm_extension.engine import Engine, build
from lambdallm_extension.settings import Settings, SystemClock, SystemRandom
from lambdallm_wire import names

SCRIPT = ["Hello, {last}!", "Again: {last}"]

Ask = Callable[..., tuple[int, dict[str, Any]]]


def make_engine(lines: list[str], **variables: str) -> Engine:
    environ = {
        "LAMBDALLM_STORE": "memory:",
        "LAMBDALLM_MODEL": "scripted/demo",
        "LAMBDALLM_SCRIPT": json.dumps(SCRIPT),
        "LAMBDALLM_TELEMETRY": "on",
        **variables,
    }
    return Engine(
        Settings.from_environ(environ), clock=SystemClock(), random=SystemRandom(),
        sleep=time.sleep, write_line=lines.append,
    )  # fmt: skip


@pytest.fixture
def lines() -> list[str]:
    return []


def asker(engine: Engine) -> Ask:
    def ask(path: str, message: Any = None, *, method: str = "POST") -> tuple[int, dict[str, Any]]:
        body = b"" if message is None else json.dumps(message).encode()
        status, reply = engine.handle(method, path, body, connection=1)
        return status, json.loads(reply)

    return ask


@pytest.fixture
def ask(lines: list[str]) -> Ask:
    return asker(make_engine(lines))


_numbers = count(1)


def begin(session: str | None = None, **rule: Any) -> dict[str, Any]:
    work_id = f"work-{next(_numbers)}"
    message: dict[str, Any] = {
        "wire_version": names.WIRE_VERSION,
        "sdk_version": VERSION,
        "work_id": work_id,
        "request_id": work_id,
        "deadline_epoch_ms": int(time.time() * 1_000) + 20_000,
        "cold_start": False,
        "session": None,
    }
    if session is not None:
        message["session"] = {
            "session_id": session,
            "identity": work_id,
            "ttl_seconds": 60,
            "memory": {"strategy": "sliding_window", "max_messages": 20},
            "durability": "before_response",
            **rule,
        }
    return message


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content, "metadata": {}, "at_epoch_ms": 1}


def chat(work: dict[str, Any], text: str) -> dict[str, Any]:
    return {
        "work_id": work["work_id"],
        "call_id": f"call-{next(_numbers)}",
        "model": "",
        "messages": [{"role": "user", "content": text}],
    }


def test_a_unit_of_work_from_begin_to_end(ask: Ask, lines: list[str]) -> None:
    first = begin("s")
    status, handshake = ask("/v1/begin", first)
    assert (status, handshake["wire_version"]) == (200, names.WIRE_VERSION)
    assert handshake["sidecar_version"] == VERSION

    ask("/v1/session/append", {"work_id": first["work_id"], "turns": [turn("user", "Ada")]})
    status, answer = ask("/v1/chat", chat(first, "Ada"))
    assert (status, answer["text"], answer["cost_pico_usd"]) == (200, "Hello, Ada!", 0)
    answered = {"work_id": first["work_id"], "turns": [turn("assistant", answer["text"])]}
    assert ask("/v1/session/append", answered) == (200, {"accepted": 1})
    assert ask("/v1/session/save", {"work_id": first["work_id"]}) == (200, {"version": 1})
    status, totals = ask("/v1/end", {"work_id": first["work_id"], "outcome": "ok"})
    assert (status, totals["calls"], totals["session_version"]) == (200, 1, 1)

    second = begin("s")
    ask("/v1/begin", second)
    status, window = ask("/v1/session/window", {"work_id": second["work_id"]})
    assert [entry["content"] for entry in window["turns"]] == ["Ada", "Hello, Ada!"]
    metrics = [json.loads(line) for line in lines if line.startswith("{")]
    assert [entry["workId"] for entry in metrics] == [first["work_id"]]


def test_no_content_is_ever_in_a_line(ask: Ask, lines: list[str]) -> None:
    work = begin("secret-session")
    ask("/v1/begin", work)
    ask("/v1/chat", chat(work, "sesame"))
    ask("/v1/session/append", {"work_id": work["work_id"], "turns": [turn("user", "sesame")]})
    ask("/v1/chat", {**chat(work, "sesame"), "model": "scripted/other", "messages": "sesame"})
    ask("/v1/end", {"work_id": work["work_id"], "outcome": "error", "error_code": "ValueError"})

    assert lines
    assert not [line for line in lines if "sesame" in line or "secret-session" in line]


def test_health_says_who_it_is(ask: Ask) -> None:
    status, health = ask("/v1/health", method="GET")

    assert (status, health["status"], health["sidecar_version"]) == (200, "ok", VERSION)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/begin"), ("POST", "/v2/begin"), ("POST", "/"), ("PUT", "")]
)
def test_an_unknown_route_is_named(ask: Ask, method: str, path: str) -> None:
    status, problem = ask(path, {}, method=method)

    assert (status, problem["code"]) == (404, "not_found")
    assert f"{method} {path}" in problem["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"work_id": ""},
        {"work_id": 7},
        {"work_id": None},
        {"request_id": ""},
        {"deadline_epoch_ms": "soon"},
    ],
)
def test_a_begin_that_does_not_fit_is_refused_by_field(ask: Ask, change: dict[str, Any]) -> None:
    status, problem = ask("/v1/begin", {**begin(), **change})

    assert (status, problem["code"]) == (400, "invalid_request")
    assert next(iter(change)) in problem["detail"]


@pytest.mark.parametrize(
    "rule",
    [
        {"session_id": ""},
        {"session_id": "a#b"},
        {"session_id": "x" * 257},
        {"session_id": "käse"},
        {"session_id": "a\nb"},
        {"identity": "x" * 513},
        {"ttl_seconds": 0},
        {"durability": "sometimes"},
        {"memory": {"strategy": "telepathy"}},
        {"memory": {"strategy": "sliding_window"}},
    ],
)
def test_a_session_rule_that_does_not_fit_is_refused(ask: Ask, rule: dict[str, Any]) -> None:
    work = begin("s")
    work["session"] |= rule

    assert ask("/v1/begin", work)[1]["code"] == "invalid_request"


@pytest.mark.parametrize("body", [b"not json", b"[]", b"\xff", b'{"work_id": ', b"{" * 100_000])
def test_garbage_is_refused_and_the_engine_lives(lines: list[str], body: bytes) -> None:
    engine = make_engine(lines)
    status, reply = engine.handle("POST", "/v1/begin", body, connection=1)

    assert (status, json.loads(reply)["code"]) == (400, "invalid_request")
    assert asker(engine)("/v1/begin", begin())[0] == 200


def test_fields_of_a_newer_sdk_are_no_fault(ask: Ask) -> None:
    assert ask("/v1/begin", {**begin("s"), "from_the_future": {"a": 1}})[0] == 200


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/end", "/v1/session/window", "/v1/session/save"])
def test_a_unit_of_work_that_was_not_begun_is_refused(ask: Ask, path: str) -> None:
    message = {"work_id": "nobody", "call_id": "c", "messages": []}

    assert "begin it first" in ask(path, message)[1]["detail"]


def test_a_session_in_lambda_without_a_store_names_the_variable(lines: list[str]) -> None:
    variables = {"LAMBDALLM_STORE": "", "AWS_LAMBDA_FUNCTION_NAME": "f"}
    ask = asker(make_engine(lines, **variables))

    status, problem = ask("/v1/begin", begin("s"))
    assert (status, problem["code"]) == (500, "configuration")
    assert "LAMBDALLM_STORE" in problem["detail"]
    work = begin()
    assert ask("/v1/begin", work)[0] == 200, "without a session no store is needed"
    assert ask("/v1/chat", chat(work, "Ada"))[0] == 200


def test_an_unknown_provider_is_answered_with_the_known_ones(ask: Ask) -> None:
    work = begin()
    ask("/v1/begin", work)
    status, problem = ask("/v1/chat", {**chat(work, "x"), "model": "acme/big"})

    assert (status, problem["code"]) == (500, "configuration")
    assert "bedrock" in problem["detail"]


def test_a_fault_of_ours_is_a_problem_and_a_line_never_an_exception(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(lines)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(engine.invocations, "begin", fail)
    status, problem = asker(engine)("/v1/begin", begin())

    assert (status, problem["code"], problem["retryable"]) == (503, "sidecar", True)
    assert "ZeroDivisionError" in lines[-1]


def test_a_store_that_does_not_answer_holds_the_environment_less_until_it_does(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(lines)
    ask = asker(engine)
    silent = Event()
    store = engine.store()
    transact = store.transact
    monkeypatch.setattr(
        store, "transact", lambda *args, **rest: silent.wait(10) and transact(*args, **rest)
    )
    work = begin("s", durability="after_response")
    ask("/v1/begin", work)
    engine.hold(work["request_id"])
    said = {"work_id": work["work_id"], "turns": [turn("user", "q"), turn("assistant", "a")]}
    ask("/v1/session/append", said)
    ask("/v1/end", {"work_id": work["work_id"], "outcome": "ok"})

    assert engine.hold_ms() == flush.PERSIST_MAX_MS
    assert not engine.wait_persisted(0.02)
    assert engine.hold_ms() == flush.OUTAGE_MAX_MS
    assert not engine.wait_persisted(0.02)
    assert not engine.wait_persisted(0.02)
    assert engine.hold_ms() == 0
    silent.set()
    assert engine.wait_persisted(10)
    ask("/v1/begin", work)
    ask("/v1/chat", chat(work, "Ada"))
    assert engine.hold_ms() == 0, "it is left alone until the pause is over"
    engine.finish(10)
    assert engine.hold_ms() == flush.PERSIST_MAX_MS


def test_what_was_not_stored_at_the_end_is_counted_and_said(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(lines)
    ask = asker(engine)

    def refuse(*_: object, **__: object) -> None:
        message = "The table is throttled."
        raise errors.StoreUnavailableError(message)

    monkeypatch.setattr(engine.store(), "put_if", refuse)
    work = begin()
    ask("/v1/begin", work)
    ask("/v1/chat", chat(work, "Ada"))
    engine.finish(10)

    (metric,) = [line for line in map(json.loads, lines[:1]) if "RecordsDropped" in line]
    assert metric["RecordsDropped"] == 1
    assert metric["_aws"]["CloudWatchMetrics"][0]["Metrics"] == [
        {"Name": "RecordsDropped", "Unit": "Count"}
    ]
    assert "1 call records" in lines[1]
    assert "The table is throttled." in lines[1]


@pytest.mark.parametrize(
    ("apart", "code"),
    [(-2, "configuration"), (-1, ""), (0, ""), (1, ""), (2, "configuration")],
)
def test_only_neighbouring_versions_shake_hands(ask: Ask, apart: int, code: str) -> None:
    _, reply = ask("/v1/begin", {**begin(), "wire_version": names.WIRE_VERSION + apart})

    assert reply.get("code", "") == code


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("x" * 3_990_000, 200),
        ("x" * 4_000_001, 400),
        ("\u00e4" * 2_000_001, 400),
        ([{"text": "x" * 4_000_000}], 400),
    ],
)
def test_a_message_that_no_store_could_keep_is_refused_at_once(
    ask: Ask, content: Any, status: int
) -> None:
    message = begin("large")
    ask("/v1/begin", message)
    turn = {"role": "user", "content": content, "at_epoch_ms": 1}

    answered, reply = ask("/v1/session/append", {"work_id": message["work_id"], "turns": [turn]})

    assert answered == status
    assert ("cannot be kept in a session" in reply.get("detail", "")) == (status == 400)


def test_versions_that_differ_are_said_once(ask: Ask, lines: list[str]) -> None:
    for sdk_version in ("9.9.9", "9.9.8"):
        ask("/v1/begin", {**begin(), "sdk_version": sdk_version})

    assert [line for line in lines if "The SDK is" in line] == [lines[0]]
    assert lines[0].startswith("lambdallm: The SDK is 9.9.9, the layer ")


def test_environments_have_ids_of_their_own_made_at_the_first_use() -> None:
    settings = Settings.from_environ({"LAMBDALLM_STORE": "memory:"})
    one, other = build(settings), build(settings)

    assert one.environment_id() == one.environment_id() != other.environment_id()
    assert len(one.environment_id()) == 16


def test_opening_needs_no_network_and_survives_wrong_settings(lines: list[str]) -> None:
    make_engine(lines, LAMBDALLM_STORE="dynamodb://table", LAMBDALLM_MODEL="bedrock/a.m").open()
    (line,) = lines
    assert line.startswith("lambdallm: started ")

    make_engine(lines, LAMBDALLM_STORE="floppy:", LAMBDALLM_MODEL="acme/big").open()
    assert any("acme" in line for line in lines)


@pytest.mark.parametrize("alias", ["fast", "mine"])
def test_a_default_model_may_be_an_alias_or_of_the_functions_own(
    lines: list[str], tmp_path: Path, alias: str
) -> None:
    configuration = tmp_path / "lambdallm.yaml"
    configuration.write_text(
        "providers:\n  own: {kind: own, class: app:Own}\n"
        "models:\n  fast: {model: bedrock/us.amazon.nova-micro-v1:0}\n  mine: {model: own/large}\n"
    )
    make_engine(
        lines, LAMBDALLM_STORE="memory:", LAMBDALLM_MODEL=alias, LAMBDALLM_CONFIG=str(configuration)
    ).open()

    (line,) = lines
    assert line.startswith("lambdallm: started ")
