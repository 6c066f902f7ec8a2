"""A model that was left behind by a hedge keeps nothing waiting that is not its own."""

from __future__ import annotations

import json
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from lambdallm.testing import Answer, ModelServer
from lambdallm_extension import engine as engines
from lambdallm_extension.settings import Settings
from lambdallm_wire import names, routes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONNECTION = 7
SILENT_SECONDS = 60
LEFT_MS = 50_000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[engines.Engine]:
    (tmp_path / "lambdallm.yaml").write_text("resilience: {hedge_after_ms: 50}\n")
    with ModelServer([Answer("slow", delay_seconds=SILENT_SECONDS), Answer("quick")]) as models:
        environ = {
            "AWS_ACCESS_KEY_ID": "ASIATEST",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": models.url,
            "LAMBDALLM_STORE": f"sqlite:///{tmp_path}/sessions.db",
            "LAMBDALLM_CONFIG": str(tmp_path / "lambdallm.yaml"),
            "LAMBDALLM_MODEL": "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
            "LAMBDALLM_TELEMETRY": "off",
        }
        engine = engines.build(Settings.from_environ(environ))
        yield engine
    engine.close()


def send(engine: engines.Engine, route: routes.Route, connection: int, **message: Any) -> Any:
    body = json.dumps(message).encode()
    status, reply = engine.handle(route.method, route.path, body, connection=connection)
    assert status == 200, reply
    return json.loads(reply)


def begin(engine: engines.Engine, name: str, durability: str, connection: int) -> int:
    deadline_ms = engine.clock.epoch_ms() + LEFT_MS
    memory = {"strategy": "sliding_window", "max_messages": 20}
    rule = {"session_id": "s", "identity": name, "ttl_seconds": 60, "memory": memory}
    send(
        engine, routes.BEGIN, connection, work_id=name, request_id=name,
        deadline_epoch_ms=deadline_ms, wire_version=names.WIRE_VERSION,
        session={**rule, "durability": durability},
    )  # fmt: skip
    return deadline_ms


def say(engine: engines.Engine, role: str, text: str) -> None:
    turn = {"role": role, "content": text, "metadata": {}, "at_epoch_ms": 1}
    send(engine, routes.APPEND, CONNECTION, work_id="first", turns=[turn])


def ask(engine: engines.Engine) -> None:
    say(engine, "user", "Hi")
    messages = [{"role": "user", "content": [{"text": "Hi"}]}]
    reply = send(engine, routes.CHAT, CONNECTION, work_id="first", call_id="c", messages=messages)
    assert reply["text"] == "quick"


def heard(engine: engines.Engine) -> list[str]:
    """Read the session as the next event does."""
    begin(engine, "next", "before_response", CONNECTION + 1)
    window = send(engine, routes.WINDOW, CONNECTION + 1, work_id="next")
    return [turn["content"] for turn in window["turns"]]


@pytest.mark.parametrize("durability", ["before_response", "after_response"])
def test_a_session_is_stored_while_it_is_silent(engine: engines.Engine, durability: str) -> None:
    deadline_ms = begin(engine, "first", durability, CONNECTION)
    ask(engine)
    say(engine, "assistant", "quick")
    engine.invoked("first", deadline_ms)
    engine.hold("first")
    send(engine, routes.END, CONNECTION, work_id="first", outcome="ok", handler_ms=5.0)

    assert not engine.wait_persisted(1.0), "what may be billed is waited for"
    assert engine.invocations.unsaved == 0
    assert heard(engine) == ["Hi", "quick"]


def test_a_process_that_dies_leaves_room_for_its_retry(engine: engines.Engine) -> None:
    begin(engine, "first", "before_response", CONNECTION)
    ask(engine)
    finisher = Thread(target=engine.disconnected, args=[CONNECTION], daemon=True)
    finisher.start()
    finisher.join(5)

    assert not finisher.is_alive(), "the session waits for the model that was left behind"
    assert engine.invocations.unsaved == 0
    assert heard(engine) == []
