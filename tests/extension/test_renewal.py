"""What clones of one snapshot must not share is made anew after the restore, once."""

from __future__ import annotations

import json
import time
from threading import Barrier, Thread
from typing import TYPE_CHECKING, Any

import pytest

from fakes.clocks import HandClock
from lambdallm_extension.engine import Engine
from lambdallm_extension.settings import Settings, SystemClock, SystemRandom
from lambdallm_wire import names

if TYPE_CHECKING:
    from lambdallm_extension.ports import Clock

BEGIN = {
    "wire_version": names.WIRE_VERSION,
    "work_id": "work",
    "request_id": "request",
    "deadline_epoch_ms": 4_000_000_000_000,
}


def make_engine(kind: str = "snap-start", *, clock: Clock | None = None) -> Engine:
    environ = {
        "AWS_LAMBDA_INITIALIZATION_TYPE": kind,
        "LAMBDALLM_STORE": "memory:",
        "LAMBDALLM_MODEL": "scripted/demo",
        "LAMBDALLM_TELEMETRY": "off",
    }
    return Engine(
        Settings.from_environ(environ), clock=clock or SystemClock(), random=SystemRandom(),
        sleep=time.sleep, write_line=lambda _line: None,
    )  # fmt: skip


def ask(engine: Engine, path: str, message: Any = None) -> tuple[int, dict[str, Any]]:
    body = b"" if message is None else json.dumps(message).encode()
    status, reply = engine.handle("POST", path, body, connection=1)
    return status, json.loads(reply)


def test_the_hook_renews_id_credentials_store_and_host() -> None:
    engine, renewed = make_engine(), []
    engine.serve(lambda: renewed.append("host"))
    before = (engine.environment_id(), engine.credentials(), engine.store())

    status, reply = ask(engine, "/v1/restored")

    after = (engine.environment_id(), engine.credentials(), engine.store())
    assert status == 200
    assert reply["environment_id"] == after[0]
    assert all(old is not new for old, new in zip(before, after, strict=True))
    assert before[0] != after[0]
    assert renewed == ["host"]


def test_whoever_comes_second_finds_it_done() -> None:
    engine = make_engine()
    assert engine.renew()
    environment_id = engine.environment_id()

    assert ask(engine, "/v1/restored")[1]["environment_id"] == environment_id
    assert not engine.renew()
    assert engine.environment_id() == environment_id


def test_hook_and_invoke_at_once_renew_once() -> None:
    engine, renewed, start = make_engine(), [], Barrier(8)
    engine.serve(lambda: renewed.append("host"))

    def renew() -> None:
        start.wait(5)
        engine.renew()

    threads = [Thread(target=renew) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert renewed == ["host"]


def test_a_renewal_that_failed_is_tried_again() -> None:
    engine = make_engine()
    outcomes = iter([RuntimeError("broken"), None])

    def renew_host() -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    engine.serve(renew_host)

    assert ask(engine, "/v1/restored")[0] == 503
    assert engine.renew()


def test_units_of_init_are_gone() -> None:
    engine = make_engine()
    assert ask(engine, "/v1/begin", BEGIN)[0] == 200

    engine.renew()

    assert ask(engine, "/v1/end", {"work_id": "work", "outcome": "ok"})[0] == 400
    assert engine.wait_persisted(0)


def test_a_begin_that_comes_before_invoke_is_not_lost_by_the_renewal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lambdallm_extension.engine.RENEWAL_GRACE_SECONDS", 10)
    clock = HandClock()
    engine = make_engine(clock=clock)
    engine.serve()
    clock.jump("wall", 86_400)
    replies: list[tuple[int, dict[str, Any]]] = []
    begin = Thread(target=lambda: replies.append(ask(engine, "/v1/begin", BEGIN)))
    begin.start()

    assert engine.renew()
    begin.join(5)

    assert replies == [(200, {**replies[0][1], "environment_id": engine.environment_id()})]
    assert ask(engine, "/v1/end", {"work_id": "work", "outcome": "ok"})[0] == 200


def test_other_environments_are_never_renewed() -> None:
    engine = make_engine("on-demand")
    environment_id = engine.environment_id()

    assert ask(engine, "/v1/restored")[1]["environment_id"] == environment_id
    assert not engine.renew()
