"""The way to the sidecar: found or not, gone, hung, stale, forked."""

import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

import lambdallm
from fakes.units import make_work
from fakes.waiting import until
from lambdallm import _embedded, _settings, _sidecar, _token, _transport
from lambdallm._pool import IDLE_CONNECTIONS_MAX
from lambdallm_extension.server.token import write_token

FAR = 60_000


def settings() -> _settings.Settings:
    return _settings.Settings.from_environ()


# Finding it


def test_the_sidecar_serves_when_it_is_there(sidecar: Any) -> None:
    work = make_work()
    work.begin()
    work.end("ok", "", 1.0)

    assert isinstance(_transport.current(), _sidecar.SidecarTransport)
    asked = [path for path in sidecar.paths[1:] if path != "/v1/health"]  # if `end` took a while
    assert sidecar.paths[0] == "/v1/health"
    assert asked == ["/v1/begin", "/v1/end"]


def test_begin_and_end_share_one_connection_and_calls_use_others(sidecar: Any) -> None:
    work = make_work()
    session = lambdallm.Session()
    work.begin(session.rule("s", "identity"))
    work.window()
    work.window()
    work.end("ok", "", 1.0)

    by_path: dict[str, set[int]] = {}
    for path, connection in sidecar.requests:
        by_path.setdefault(path, set()).add(connection)
    assert by_path["/v1/begin"] == by_path["/v1/end"] == by_path["/v1/health"]
    assert len(by_path["/v1/session/window"]) == 1
    assert by_path["/v1/session/window"] != by_path["/v1/begin"]


def embedded_serves(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the reason that was logged, once, while the embedded engine served twice."""
    for name in ("one", "two"):
        work = make_work(name)
        work.begin()
        work.end("ok", "", 1.0)
        assert isinstance(_transport.current(), _embedded.EmbeddedTransport)
    lines = [line for line in capsys.readouterr().err.splitlines() if "no sidecar" in line]
    assert len(lines) == 1
    message: str = json.loads(lines[0])["message"]
    assert message.startswith("lambdallm: no sidecar answered on 127.0.0.1:2772 (")
    return message


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process: nothing was chosen and nothing was told."""
    monkeypatch.setattr(_transport, "_choice", _transport._Choice())


def test_without_a_token_file_the_embedded_engine_serves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "no token in" in embedded_serves(capsys)


def test_a_refused_connection_is_no_sidecar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    write_token(str(tmp_path / "lambdallm"), port, "abc")

    assert "refused" in embedded_serves(capsys)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_token_that_others_could_read_is_not_used(
    sidecar: Any, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    (sidecar.directory / "token").chmod(mode)

    assert "open to others" in embedded_serves(capsys)


def test_a_token_behind_a_link_is_not_used(
    sidecar: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    real = sidecar.directory / "elsewhere"
    (sidecar.directory / "token").rename(real)
    (sidecar.directory / "token").symlink_to(real)

    embedded_serves(capsys)


@pytest.mark.parametrize("text", ["", "2772", "x y", "70000 abc", "2772 a\tb", "2772 \r\nhost:"])
def test_a_token_file_with_something_else_in_it_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    directory = tmp_path / "lambdallm"
    directory.mkdir()
    (directory / "token").write_text(text)
    (directory / "token").chmod(0o600)

    assert "does not hold" in embedded_serves(capsys)


def test_a_wrong_token_is_no_sidecar(sidecar: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_token(str(sidecar.directory), sidecar.port, "0" * 64)

    assert "lambdallm-token" in embedded_serves(capsys)


@pytest.mark.parametrize("known", [True, False])
def test_at_the_first_look_too_a_sidecar_that_is_only_slow_is_waited_for(
    sidecar: Any, capsys: pytest.CaptureFixture[str], known: bool
) -> None:
    """That it is slow and not stopped is known from its process, by the file that names it."""
    answer = sidecar.handle
    given_up = threading.Event()

    def slowly(method: str, path: str, body: bytes, *, connection: int) -> tuple[int, bytes]:
        given_up.wait(0.3)
        reply: tuple[int, bytes] = answer(method, path, body, connection=connection)
        return reply

    sidecar.handle = slowly
    if known:
        (sidecar.directory / "running").write_text(str(os.getpid()))
    make_work().begin()
    given_up.set()

    assert ("no sidecar answered" in capsys.readouterr().err) is not known


def test_off_means_off(
    sidecar: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAMBDALLM_SIDECAR", "off")

    make_work().begin()

    assert isinstance(_transport.current(), _embedded.EmbeddedTransport)
    assert sidecar.paths == []
    assert "no sidecar" not in capsys.readouterr().err


@pytest.mark.parametrize("silent", [True, False])
def test_a_sidecar_that_was_still_starting_serves_as_soon_as_it_can(
    sidecar: Any, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "chat")
    monkeypatch.setenv("LAMBDALLM_TELEMETRY", "off")

    def starting(_settings: Any) -> None:
        raise _token.SidecarAbsentError("not yet", silent=silent)

    with monkeypatch.context() as start:
        start.setattr(_sidecar.SidecarTransport, "find", starting)
        make_work("one").begin()
        make_work("two").begin()
    make_work("three").begin()

    assert isinstance(_transport.current(), _sidecar.SidecarTransport)


def test_a_sidecar_that_was_replaced_is_noticed_before_begin_is_sent(
    sidecar: Any, tmp_path: Path
) -> None:
    one = make_work("one")
    one.begin()
    first = _transport.current()
    sidecar.close()
    until(lambda: not first.usable)
    from lambdallm_extension.server.http import Server, listen

    listener = listen(0)
    server = Server(listener, sidecar.token, sidecar, lambda _: None)
    server.start()
    write_token(str(sidecar.directory), listener.getsockname()[1], sidecar.token)
    try:
        make_work("two").begin()
        assert isinstance(_transport.current(), _sidecar.SidecarTransport)
        assert _transport.current() is not first
        one.end("ok", "", 1.0)
    finally:
        server.close()


def test_calls_from_many_threads_get_their_own_answers(sidecar: Any) -> None:
    work = make_work()
    work.begin(lambdallm.Session().rule("s", "identity"))
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(work.window()["session_id"]))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == ["s"] * 20
    transport = _transport.current()
    assert isinstance(transport, _sidecar.SidecarTransport)
    assert len(transport._pool._idle) <= IDLE_CONNECTIONS_MAX
