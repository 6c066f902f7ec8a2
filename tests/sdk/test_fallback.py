"""A sidecar that is stopped or killed at each point of an invocation: who serves, what is kept.

The sidecar is a real process with the real engine, the store a SQLite file that both hosts write,
the model a server that counts.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lambdallm import (
    MemoryStrategy,
    Session,
    _embedded,
    _lines,
    _settings,
    _sidecar,
    _transport,
    handler,
)
from lambdallm._work import Work
from lambdallm.testing import Answer, MockLambdaContext, ModelServer
from lambdallm_extension import engine
from lambdallm_extension.settings import Settings
from lambdallm_wire import codec, names, routes

STOP, KILL = signal.SIGSTOP, signal.SIGKILL
FULL = Session(memory=MemoryStrategy.FULL_HISTORY)


class SidecarProcess:
    """The sidecar, and the lines that it has written."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "sidecar_process.py")],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        line = ""
        while line != "serving\n":
            line = self._process.stdout.readline()
            assert line

    def send(self, number: signal.Signals) -> None:
        """Send a signal, and wait until it has had its effect."""
        self._process.send_signal(number)
        if number == KILL:
            self._process.wait()
        elif number == STOP:
            self._wait_stopped()
            while _is_locked():  # by a process that stands still: no table of DynamoDB would be
                self._process.send_signal(signal.SIGCONT)
                time.sleep(0.005)
                self._process.send_signal(STOP)
                self._wait_stopped()

    def _wait_stopped(self) -> None:
        status = Path(f"/proc/{self._process.pid}/stat")
        while status.read_text().rpartition(")")[2].split()[0] != "T":
            pass

    def finish(self) -> list[dict[str, Any]]:
        """Let it end; return its metric lines."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
        output, _ = self._process.communicate("")
        return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def _is_locked() -> bool:
    """Say whether a write to the store would have to wait."""
    path = os.environ["LAMBDALLM_STORE"].removeprefix("sqlite:///")
    database = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        database.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return True
    finally:
        database.close()
    return False


class Bedrock:
    """A model that numbers its answers; `asked` is called while it is being asked."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.asked: Callable[[], None] = lambda: None
        self.server = ModelServer(self._answer)

    def _answer(self, messages: list[dict[str, Any]]) -> Answer:
        self.prompts.append(messages[-1]["content"][0]["text"])
        self.asked()
        return Answer(f"answer {len(self.prompts) - 1}", input_tokens=10, output_tokens=5)


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process: nothing was chosen and nothing was told."""
    monkeypatch.setattr(_transport, "_choice", _transport._Choice())


@pytest.fixture
def bedrock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bedrock]:
    model = Bedrock()
    with model.server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", model.server.url)
        yield model


@pytest.fixture
def process(
    bedrock: Bedrock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[SidecarProcess]:
    variables = {
        "LAMBDALLM_STORE": f"sqlite:///{tmp_path}/sessions.db",
        "LAMBDALLM_MODEL": "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
        "LAMBDALLM_TELEMETRY": "on",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    started = SidecarProcess()
    yield started
    started.finish()


def conversation() -> list[str]:
    """Return what the store has of the session, as a new environment would read it."""
    new = engine.build(Settings.from_environ({**os.environ, "LAMBDALLM_TELEMETRY": "off"}))
    begin = {
        "wire_version": names.WIRE_VERSION,
        "work_id": "reader",
        "request_id": "reader",
        "deadline_epoch_ms": _settings.epoch_ms() + 60_000,
        "session": FULL.rule("s", "reader"),
    }
    for route, message in ((routes.BEGIN, begin), (routes.WINDOW, {"work_id": "reader"})):
        status, body = new.handle(route.method, route.path, codec.encode(message), connection=1)
        assert status == 200, body
    new.disconnected(1)
    new.finish(2.0)
    return [turn["content"] for turn in codec.decode(body)["turns"]]


def invoke(
    said: str, at: Callable[[str], None] = lambda point: None, *, milliseconds: int = 60_000
) -> Any:
    """Run one invocation of a chat; `at` is called before and between what it does."""

    @handler(session=FULL, timeout_buffer=0.1)
    def chat(event: Any, context: Any) -> Any:
        at("begun")
        context.session.add_message("user", said)
        at("asked")
        answer = context.invoke(context.session.format_history())
        context.session.add_message("assistant", answer)
        at("answered")
        context.session.add_message("user", f"more of {said}")
        second = context.invoke(context.session.format_history())
        context.session.add_message("assistant", second)
        context.session.save()
        at("saved")
        return {"answers": [answer, second], "cost": context.total_cost_pico_usd}

    at("before")
    response = chat({"body": {"session_id": "s"}}, MockLambdaContext(timeout_ms=milliseconds))
    return response["statusCode"], json.loads(response["body"])


POINTS = ("before", "begun", "asked", "answered", "saved")


@pytest.mark.parametrize("number", [STOP, KILL], ids=["stopped", "killed"])
@pytest.mark.parametrize("point", POINTS)
def test_an_invocation_succeeds_wherever_its_sidecar_is_lost(
    process: SidecarProcess,
    bedrock: Bedrock,
    capfd: pytest.CaptureFixture[str],
    number: signal.Signals,
    point: str,
) -> None:
    """No prompt is asked twice, no turn is lost or doubled; a sidecar that goes on harms none."""
    first = invoke("one")
    lost = invoke("two", lambda reached: process.send(number) if reached == point else None)
    assert isinstance(_transport.current(), _embedded.EmbeddedTransport)
    stored = conversation()
    after = invoke("three")
    reports = process.finish()

    assert [first[0], lost[0], after[0]] == [200, 200, 200]
    assert first[1]["cost"] == lost[1]["cost"] == after[1]["cost"] > 0
    said = [f"{more}{name}" for name in ("one", "two", "three") for more in ("", "more of ")]
    assert bedrock.prompts == said
    whole = [text for number, asked in enumerate(said) for text in (asked, f"answer {number}")]
    assert stored == whole[:8]
    assert conversation() == whole
    written = capfd.readouterr()
    embedded = [json.loads(line) for line in written.out.splitlines() if line.startswith("{")]
    assert [report["outcome"] for report in embedded] == ["ok", "ok"]
    assert {report["host"] for report in embedded} == {"embedded"}
    assert len([line for line in written.err.splitlines() if "the embedded engine" in line]) == 1
    assert {report["host"] for report in reports} == {"sidecar"}
    assert {report["environmentId"] for report in embedded}.isdisjoint(
        report["environmentId"] for report in reports
    )
    if number == STOP:
        calls = sum(report["Calls"] for report in (*embedded, *reports))
        assert calls == len(said)
        assert sum(report["FailedInvocations"] for report in reports) == 0
        moved = [report["outcome"] for report in reports[1:]]
        assert moved == {"before": [], "saved": ["ok"]}.get(point, ["moved"])


@pytest.mark.parametrize("number", [STOP, KILL], ids=["stopped", "killed"])
def test_a_model_call_that_was_sent_is_never_asked_again(
    process: SidecarProcess, bedrock: Bedrock, number: signal.Signals
) -> None:
    """It is lost with its sidecar; the next event is served, and sees nothing of it."""
    assert invoke("one")[0] == 200
    bedrock.asked = lambda: process.send(number)

    status, problem = invoke("two", milliseconds=1_000)

    assert status == 500
    assert problem["code"] == "sidecar"
    assert problem["retryable"] is False, "it may be billed"
    assert "may have happened" in problem["detail"]
    bedrock.asked = lambda: None
    assert invoke("three")[0] == 200
    assert bedrock.prompts[2:] == ["two", "three", "more of three"]
    process.finish()
    assert [text for text in conversation() if "answer" not in text] == [
        "one", "more of one", "three", "more of three",
    ]  # fmt: skip


@pytest.mark.parametrize("point", POINTS[1:-1])
def test_a_sidecar_that_goes_on_before_the_end_changes_nothing(
    process: SidecarProcess, bedrock: Bedrock, point: str
) -> None:
    """What it still had to write, and what it makes of the end of its line, is refused."""
    signals = {point: STOP, "saved": signal.SIGCONT}

    assert invoke("one")[0] == 200
    two = invoke(
        "two", lambda reached: process.send(signals[reached]) if reached in signals else None
    )
    process.finish()

    assert two[0] == 200
    assert len(bedrock.prompts) == 4
    assert conversation() == [
        text
        for number, asked in enumerate(("one", "more of one", "two", "more of two"))
        for text in (asked, f"answer {number}")
    ]


def test_a_sidecar_that_goes_on_is_used_again(process: SidecarProcess) -> None:
    assert invoke("one")[0] == 200
    process.send(STOP)
    assert invoke("two")[0] == 200
    process.send(signal.SIGCONT)

    assert invoke("three")[0] == 200
    assert isinstance(_transport.current(), _sidecar.SidecarTransport)


def test_units_at_once_do_not_wait_for_each_others_end(sidecar: Any) -> None:
    """An `end` that waits for its store holds up nobody's `begin` or `end`."""
    entered, release = threading.Event(), threading.Event()
    handle = sidecar.handle

    def slowly(method: str, path: str, body: bytes, *, connection: int) -> tuple[int, bytes]:
        if path == "/v1/end" and b'"slow"' in body:
            entered.set()
            release.wait()
        result: tuple[int, bytes] = handle(method, path, body, connection=connection)
        return result

    sidecar.handle = slowly
    slow, quick = make_work("slow"), make_work("quick")
    slow.begin()
    ending = threading.Thread(target=slow.end, args=("ok", "", 1.0))
    ending.start()
    entered.wait()
    quick.begin()
    quick.end("ok", "", 1.0)

    assert ending.is_alive()
    release.set()
    ending.join()
    assert isinstance(_transport.current(), _sidecar.SidecarTransport)
    assert sidecar.disconnections == []


def test_more_units_at_once_than_lines_share_them(sidecar: Any) -> None:
    works = [make_work(f"work-{number}") for number in range(2 * _lines.LINES_MAX)]
    for work in works:
        work.begin()
    begun_on = {connection for path, connection in sidecar.requests if path == "/v1/begin"}
    for work in works:
        work.end("ok", "", 1.0)

    assert len(begun_on) == _lines.LINES_MAX
    assert sidecar.paths.count("/v1/end") == len(works)


def make_work(name: str) -> Work:
    return Work(name, name, _settings.epoch_ms() + 60_000)
