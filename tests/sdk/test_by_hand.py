"""Sessions in scripts: begun by `load`, ended by whatever comes first, never left `killed`."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lambdallm
from fakes.waiting import until
from lambdallm import Session, _receipts, _session, _settings, _transport, handler
from lambdallm._work import Work
from lambdallm.testing import MockLambdaContext


def reports(text: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"')]
    return [line for line in lines if "outcome" in line]


def contents(session: Session) -> list[Any]:
    return [message.content for message in session.messages]


def script(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "LAMBDALLM_STORE": "sqlite:///script.db",
            "LAMBDALLM_TELEMETRY": "on",
            **environ,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


SCRIPT = """
from lambdallm import Session
s = Session(store="dynamodb"); s.load("ada")
s.add_message("user", "Hello"); s.add_message("assistant", "Hi")
{save}
"""


@pytest.mark.parametrize("save", ["s.save()", "pass", "s.save(); s.save(); s.load(); s.save()"])
def test_a_script_ends_what_it_began(save: str) -> None:
    ended = script(SCRIPT.format(save=save))

    assert ended.returncode == 0, ended.stderr
    assert [report["outcome"] for report in reports(ended.stdout)] == ["ok"] * (
        2 if "load" in save else 1
    )
    assert "WARNING" not in ended.stderr
    seen = script("from lambdallm import Session; print(Session().load('ada').format_history())")
    assert "user: Hello\nassistant: Hi" in seen.stdout


def test_a_script_that_fails_keeps_what_was_answered_and_says_so() -> None:
    failed = script(
        "from lambdallm import Session\n"
        "with Session() as s:\n"
        "    s.load('ada')\n"
        "    s.add_message('user', 'q'); s.add_message('assistant', 'a')\n"
        "    s.add_message('user', 'never answered')\n"
        "    raise ValueError\n"
    )

    assert failed.returncode == 1
    assert [report["outcome"] for report in reports(failed.stdout)] == ["error"]
    seen = script("from lambdallm import Session; print(Session().load('ada').format_history())")
    assert "assistant: a" in seen.stdout
    assert "never answered" not in seen.stdout


def test_a_store_that_is_gone_at_the_exit_is_told(tmp_path: Path) -> None:
    ended = script(
        "from lambdallm import Session\n"
        "s = Session(durability='after_response').load('ada')\n"
        "s.add_message('user', 'q'); s.add_message('assistant', 'a')\n"
        "import pathlib\n"
        "for name in pathlib.Path('.').glob('script.db*'): name.unlink()\n"
        "pathlib.Path('script.db').mkdir()\n"
        "from lambdallm import _transport\n"
        "_transport.current()._engine.store().close()\n"
    )

    assert ended.returncode == 0
    assert "was not closed" in ended.stderr or "not stored" in ended.stdout


def test_a_block_saves_at_its_end() -> None:
    with Session().load("s") as session:
        session.add_message("user", "q")
        session.add_message("assistant", "a")
        session.metadata["plan"] = {"steps": [1]}

    assert contents(Session().load("s")) == ["q", "a"]
    assert Session().load("s").metadata == {"plan": {"steps": [1]}}
    with pytest.raises(lambdallm.InvalidRequestError, match="ended"):
        session.add_message("user", "too late")


def test_a_closed_session_may_be_loaded_again() -> None:
    session = Session().load("s")
    session.add_message("user", "q")
    session.add_message("assistant", "a")
    session.close()
    session.close()

    assert contents(session.load()) == ["q", "a"]
    assert session.version == 1


def test_one_that_nobody_holds_is_ended_when_another_one_is_used(
    embedded: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    embedded(LAMBDALLM_TELEMETRY="on")
    for number in range(20):
        Session().load(f"s-{number}")
    gc.collect()
    Session().load("last")
    outcomes = [report["outcome"] for report in reports(capsys.readouterr().out)]

    assert outcomes == ["ok"] * 20


def test_each_saved_exchange_counts() -> None:
    session = Session()
    assert session.version == 0
    for number in range(1, 4):
        session.load("s")
        assert session.version == number - 1
        session.add_message("user", "q")
        session.add_message("assistant", "a")
        session.save()
        assert session.version == number

    @handler(session=Session())
    def see(event: Any, context: Any) -> int:
        return context.session.version  # type: ignore[no-any-return]

    assert see({"session_id": "s"}, MockLambdaContext())["body"] == "3"


def test_a_load_without_an_id_reads_the_declared_one() -> None:
    with Session(session_id="s").load() as session:
        session.add_message("user", "q")
        session.add_message("assistant", "a")

    assert contents(Session(session_id="s").load()) == ["q", "a"]
    with pytest.raises(lambdallm.InvalidRequestError, match="session id"):
        Session().load()


def test_owners_in_a_script() -> None:
    with Session().load("s", owner="lambda:ada") as session:
        session.add_message("user", "ada's")
        session.add_message("assistant", "yes")

    assert contents(Session().load("s")) == []
    assert contents(Session().load("s", owner="")) == []
    both = Session().load("s", owner="lambda:ada")
    assert contents(both) == ["ada's", "yes"]
    assert contents(both.load("other")) == []
    assert contents(both.load("s")) == ["ada's", "yes"], "it stays with its owner"
    with pytest.raises(lambdallm.InvalidRequestError, match="512"):
        Session().load("s", owner="x" * 513)


# Coroutines


def test_every_method_that_waits_has_a_twin() -> None:
    async def talk() -> None:
        async with await Session().aload("s") as session:
            session.add_message("user", "q")
            session.add_message("assistant", "a")
            await session.asave()
            assert [message.content for message in await session.amessages()] == ["q", "a"]
        other = await Session().aload("s", owner="lambda:ada")
        other.add_message("user", "hers")
        other.add_message("assistant", "yes")
        await other.aclose()

    asyncio.run(talk())

    assert contents(Session().load("s")) == ["q", "a"]
    assert contents(Session().load("s", owner="lambda:ada")) == ["hers", "yes"]


def test_threads_that_all_read_first_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with Session().load("s") as session:
        session.add_message("user", "q")
        session.add_message("assistant", "a")
    window, ready = Work.window, threading.Barrier(8)

    def late(self: Work, *arguments: Any) -> Any:
        found = window(self, *arguments)
        ended.wait(0.05)  # so that the others are there before anybody has it
        return found

    ended = threading.Event()
    monkeypatch.setattr(Work, "window", late)

    @handler(session=Session())
    def ask(event: Any, context: Any) -> list[int]:
        def read(_number: int) -> int:
            ready.wait(10)
            return len(context.session.messages)

        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(read, range(8)))

    body = ask({"session_id": "s"}, MockLambdaContext())["body"]
    assert json.loads(body) == [2] * 8


def test_an_async_handler_reads_without_standing_in_the_way() -> None:
    @handler(session=Session())
    async def ask(event: Any, context: Any) -> int:
        first, second = await asyncio.gather(
            context.session.amessages(), context.session.aload("s")
        )
        assert first is second.messages
        context.session.add_message("user", "q")
        context.session.add_message("assistant", "a")
        await context.session.asave()
        return len(first)

    assert ask({"session_id": "s"}, MockLambdaContext())["body"] == "2"
    assert ask({"session_id": "s"}, MockLambdaContext())["body"] == "4"


def test_an_async_block_that_fails_forgets_what_nobody_answered() -> None:
    async def talk() -> None:
        async with await Session().aload("s") as session:
            session.add_message("user", "q")
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(talk())

    assert contents(Session().load("s")) == []


def test_the_transport_that_served_it_may_be_gone() -> None:
    session = Session().load("s")
    used = _transport.replace(None)
    assert used is not None
    used.close()
    del session
    gc.collect()

    assert contents(Session().load("s")) == []


def test_an_object_that_outlives_its_unit_can_be_loaded_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as short:
        short.setattr(_session, "SCRIPT_SECONDS", 3)
        session = Session().load("s")
    session.add_message("user", "q")
    session.add_message("assistant", "a")
    begun = _receipts.decode(session.receipt)
    until(lambda: _settings.epoch_ms() > begun["until_epoch_ms"])

    assert contents(session.load("s")) == ["q", "a"]
    session.add_message("user", "q2")
    session.add_message("assistant", "a2")
    session.save()
    assert contents(Session().load("s")) == ["q", "a", "q2", "a2"]


def test_one_of_a_handler_waits_no_longer_than_its_event() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ended = script(
            "import lambdallm\n"
            "from lambdallm.testing import MockLambdaContext\n"
            "@lambdallm.handler()\n"
            "def handle(event, context):\n"
            "    try: lambdallm.Session().load('s')\n"
            "    except lambdallm.StateError: print('told')\n"
            "    return 'ok'\n"
            "handle({}, MockLambdaContext(1_500))\n",
            LAMBDALLM_STORE=f"redis://127.0.0.1:{silent.getsockname()[1]}",
            LAMBDALLM_TELEMETRY="off",
        )

    assert ended.stdout == "told\n", ended.stderr


def test_what_a_handler_has_left_open_is_stored_when_its_event_ends(
    embedded: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    embedded(LAMBDALLM_TELEMETRY="on")

    @handler()
    def handle(event: Any, context: Any) -> str:
        session = Session().load("left")
        session.add_message("user", "q")
        session.add_message("assistant", "a")
        session.metadata["n"] = 1
        return "ok"

    handle({}, MockLambdaContext())

    outcomes = [report["outcome"] for report in reports(capsys.readouterr().out)]
    assert outcomes == ["ok", "ok"], "the event's, and that of its session"
    assert Session().load("left").metadata == {"n": 1}


@pytest.mark.parametrize("owner", [None, "team"])
def test_an_object_of_the_module_is_read_anew_when_the_event_of_before_is_over(
    owner: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, seen = Session(), []

    @handler()
    def handle(event: Any, context: Any) -> str:
        if event["number"] == 1:
            kept.load("s", owner=owner)
        kept.add_message("user", f"q{event['number']}")
        kept.add_message("assistant", "a")
        kept.save()
        seen.append(contents(kept))
        return "ok"

    handle({"number": 1}, MockLambdaContext())
    now_ms = _settings.epoch_ms()
    monkeypatch.setattr(_settings, "epoch_ms", lambda: now_ms + 40_000)
    handle({"number": 2}, MockLambdaContext())

    assert seen == [["q1", "a"], ["q1", "a", "q2", "a"]]


def test_an_object_that_is_loaded_again_and_again_is_noted_once() -> None:
    session = Session()
    for number in range(20):
        session.load(f"s{number}")

    assert weakref.getweakrefcount(session) == 1
