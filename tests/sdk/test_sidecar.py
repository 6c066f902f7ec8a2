"""The way to the sidecar: found or not, gone, hung, stale, forked."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lambdallm
from lambdallm import _embedded, _settings, _sidecar, _transport
from lambdallm._work import Work
from lambdallm_extension.server.token import write_token
from lambdallm_wire import routes

FAR = 60_000


def make_work(name: str = "work") -> Work:
    return Work(name, name, _settings.epoch_ms() + FAR)


def settings() -> _settings.Settings:
    return _settings.Settings.from_environ()


# Finding it


def test_the_sidecar_serves_when_it_is_there(sidecar: Any) -> None:
    work = make_work()
    work.begin()
    work.end("ok", "", 1.0)

    assert isinstance(_transport.current(), _sidecar.SidecarTransport)
    assert sidecar.paths == ["/v1/health", "/v1/begin", "/v1/end"]


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


def test_off_means_off(
    sidecar: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAMBDALLM_SIDECAR", "off")

    make_work().begin()

    assert isinstance(_transport.current(), _embedded.EmbeddedTransport)
    assert sidecar.paths == []
    assert "no sidecar" not in capsys.readouterr().err


# Sidecars that do not behave


class Misbehaving:
    """A server on the sidecar's port that does with each connection what a test says."""

    def __init__(self, directory: Path, serve: Callable[[socket.socket], None]) -> None:
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._serve = serve
        self._open: list[socket.socket] = []
        write_token(str(directory), self._listener.getsockname()[1], "abc")
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.append(accepted)
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # closed before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for accepted in self._open:
            accepted.close()


@pytest.fixture
def misbehaving(tmp_path: Path) -> Iterator[Callable[..., Misbehaving]]:
    servers: list[Misbehaving] = []

    def start(serve: Callable[[socket.socket], None]) -> Misbehaving:
        servers.append(Misbehaving(tmp_path / "lambdallm", serve))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def reply(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


HEALTHY = reply(b'{"status":"ok","wire_version":1,"sidecar_version":"0.1.0","environment_id":"e"}')


def read_requests(connection: socket.socket) -> Iterator[str]:
    """Yield the path of one request after another."""
    stream = connection.makefile("rb")
    while line := stream.readline():
        length = 0
        while (header := stream.readline()) not in (b"\r\n", b""):
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        stream.read(length)
        yield line.split()[1].decode()


def test_a_hung_sidecar_costs_milliseconds_and_is_asked_again_a_few_times(
    misbehaving: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server = misbehaving(lambda connection: None)
    started = time.monotonic()
    make_work("one").begin()

    assert time.monotonic() - started < 5
    assert isinstance(_transport.current(), _embedded.EmbeddedTransport)
    for number in range(6):
        make_work(f"further-{number}").begin()
    assert server.accepted == 1 + _transport.SECOND_LOOKS_MAX
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("silent", [True, False])
def test_a_sidecar_that_was_still_starting_serves_as_soon_as_it_can(
    sidecar: Any, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "chat")
    monkeypatch.setenv("LAMBDALLM_TELEMETRY", "off")

    def starting(_settings: Any) -> None:
        raise _sidecar.SidecarAbsentError("not yet", silent=silent)

    with monkeypatch.context() as start:
        start.setattr(_sidecar.SidecarTransport, "find", starting)
        make_work("one").begin()
        make_work("two").begin()
    make_work("three").begin()

    assert isinstance(_transport.current(), _sidecar.SidecarTransport)


@pytest.mark.parametrize("answer", [b"220 mail ready\r\n\r\n", reply(b"<html>"), reply(b"{}")])
def test_something_else_on_the_port_is_no_sidecar(misbehaving: Any, answer: bytes) -> None:
    misbehaving(lambda connection: connection.sendall(answer))

    make_work().begin()

    assert isinstance(_transport.current(), _embedded.EmbeddedTransport)


def dies_at(path: str) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        for asked in read_requests(connection):
            if asked == path:
                connection.shutdown(socket.SHUT_RDWR)
                return
            connection.sendall(HEALTHY if asked == "/v1/health" else reply(b"{}"))

    return serve


def test_a_call_that_was_sent_is_never_sent_again(misbehaving: Any) -> None:
    asked: list[str] = []

    def serve(connection: socket.socket) -> None:
        for path in read_requests(connection):
            asked.append(path)
            if path == "/v1/session/append":
                connection.shutdown(socket.SHUT_RDWR)
                return
            connection.sendall(HEALTHY if path == "/v1/health" else reply(b"{}"))

    misbehaving(serve)
    work = make_work()
    work.begin()

    with pytest.raises(lambdallm.SidecarError) as caught:
        work.append([], metadata=None, clear=False)

    assert caught.value.retryable
    assert asked.count("/v1/session/append") == 1


def test_a_sidecar_that_dies_is_replaced_at_the_next_begin(misbehaving: Any) -> None:
    server = misbehaving(dies_at("/v1/end"))
    work = make_work()
    work.begin()
    with pytest.raises(lambdallm.SidecarError):
        work.end("ok", "", 1.0)
    server.close()

    make_work("next").begin()

    assert isinstance(_transport.current(), _embedded.EmbeddedTransport)


def test_a_sidecar_that_dies_at_begin_is_replaced_at_once(misbehaving: Any) -> None:
    server = misbehaving(lambda connection: None)

    def serve(connection: socket.socket) -> None:
        requests = read_requests(connection)
        next(requests)
        connection.sendall(HEALTHY)
        next(requests)
        server.close()
        connection.shutdown(socket.SHUT_RDWR)

    server._serve = serve
    make_work().begin()

    assert isinstance(_transport.current(), _embedded.EmbeddedTransport)


def test_a_sidecar_that_was_replaced_is_noticed_before_begin_is_sent(
    sidecar: Any, tmp_path: Path
) -> None:
    make_work("one").begin()
    first = _transport.current()
    sidecar.close()
    wait_until(lambda: not first.usable)
    from lambdallm_extension.server.http import Server, listen

    listener = listen(0)
    server = Server(listener, sidecar.token, sidecar, lambda _: None)
    server.start()
    write_token(str(sidecar.directory), listener.getsockname()[1], sidecar.token)
    try:
        make_work("two").begin()
        assert isinstance(_transport.current(), _sidecar.SidecarTransport)
        assert _transport.current() is not first
    finally:
        server.close()


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_pooled_connections_that_died_in_a_freeze_are_not_used(misbehaving: Any) -> None:
    """The peer closes after every reply, as after a long pause; each call still works."""

    def serve(connection: socket.socket) -> None:
        for path in read_requests(connection):
            connection.sendall(HEALTHY if path == "/v1/health" else reply(b"{}"))
            if path == "/v1/session/append":
                connection.shutdown(socket.SHUT_RDWR)
                return

    server = misbehaving(serve)
    work = make_work()
    work.begin()
    transport = _transport.current()
    assert isinstance(transport, _sidecar.SidecarTransport)
    for _ in range(5):
        work.append([], metadata=None, clear=False)
        wait_until(lambda: all(idle.is_stale() for idle in transport._idle))

    assert server.accepted == 1 + 5


def test_a_reply_that_never_comes_is_an_error_in_time(misbehaving: Any) -> None:
    def serve(connection: socket.socket) -> None:
        for path in read_requests(connection):
            if path != "/v1/session/append":
                connection.sendall(HEALTHY if path == "/v1/health" else reply(b"{}"))

    misbehaving(serve)
    transport = _sidecar.SidecarTransport.find(settings())

    with pytest.raises(lambdallm.SidecarError, match="within"):
        transport.request(routes.APPEND, {"work_id": "w"}, timeout_seconds=0.02)
    transport.close()


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
    assert len(transport._idle) <= _sidecar.IDLE_CONNECTIONS_MAX
