"""Sidecars that do not behave: hung, dying at any message, and what listens in their place."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lambdallm
from fakes.waiting import until
from lambdallm import _embedded, _settings, _sidecar, _transport
from lambdallm._work import Work
from lambdallm_extension.server.token import write_token
from lambdallm_wire import routes


def make_work(name: str = "work") -> Work:
    return Work(name, name, _settings.epoch_ms() + 60_000)


def settings() -> _settings.Settings:
    return _settings.Settings.from_environ()


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process: nothing was chosen and nothing was told."""
    monkeypatch.setattr(_transport, "_choice", _transport._Choice())


class Misbehaving:
    """A server on the sidecar's port that does with each connection what a test says."""

    def __init__(self, directory: Path, serve: Callable[[socket.socket], None]) -> None:
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._serve = serve
        self._open: list[socket.socket] = []
        self._serving: list[threading.Thread] = []
        write_token(str(directory), self._listener.getsockname()[1], "abc")
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.append(accepted)
            self._serving.append(threading.Thread(target=self._run, args=(accepted,)))
            self._serving[-1].start()

    def _run(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError, StopIteration):  # the client has gone
            self._serve(accepted)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # closed before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for accepted in self._open:
            with contextlib.suppress(OSError):  # the other side was first
                accepted.shutdown(socket.SHUT_RDWR)  # whoever reads from it lets go of it
            accepted.close()
        for thread in self._serving:
            if thread is not threading.current_thread():
                thread.join()


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
    """Yield the path of one request after another, until the client has gone."""
    with connection.makefile("rb") as stream, contextlib.suppress(ConnectionResetError):
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
            if path == "/v1/chat":
                connection.shutdown(socket.SHUT_RDWR)
                return
            connection.sendall(HEALTHY if path == "/v1/health" else reply(b"{}"))

    misbehaving(serve)
    work = make_work()
    work.begin()

    with pytest.raises(lambdallm.SidecarError, match="The call may have happened") as caught:
        work.ask(
            routes.CHAT, {"work_id": "work", "call_id": "c", "messages": []}, work.deadline_epoch_ms
        )

    assert not caught.value.retryable, "it may be billed"
    assert asked.count("/v1/chat") == 1
    work.end("error", "sidecar", 1.0)  # by the embedded engine, which asked nobody
    assert asked.count("/v1/chat") == 1


def test_a_sidecar_that_dies_at_end_is_replaced_at_once(misbehaving: Any) -> None:
    misbehaving(dies_at("/v1/end"))
    work = make_work()
    work.begin()
    work.end("ok", "", 1.0)

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


def test_pooled_connections_that_died_in_a_freeze_are_not_used(misbehaving: Any) -> None:
    """The peer closes after every reply, as after a long pause; each call still works."""

    def serve(connection: socket.socket) -> None:
        for path in read_requests(connection):
            connection.sendall(HEALTHY if path == "/v1/health" else reply(b"{}"))
            if path == "/v1/session/save":
                connection.shutdown(socket.SHUT_RDWR)
                return

    server = misbehaving(serve)
    work = make_work()
    work.begin()
    transport = _transport.current()
    assert isinstance(transport, _sidecar.SidecarTransport)
    for _ in range(5):
        work.save()
        until(lambda: all(idle.is_stale() for idle in transport._pool._idle))

    assert server.accepted == 1 + 5


@pytest.mark.parametrize("route", [routes.CHAT, routes.WINDOW])
def test_a_reply_that_never_comes_is_an_error_in_time(misbehaving: Any, route: Any) -> None:
    """The sidecar lives: it is the model, or the store, that takes too long."""

    def serve(connection: socket.socket) -> None:
        for path in read_requests(connection):
            if path != route.path:
                connection.sendall(HEALTHY if path == "/v1/health" else reply(b"{}"))

    misbehaving(serve)
    transport = _sidecar.SidecarTransport.find(settings())

    with pytest.raises(lambdallm.SidecarError, match="within"):
        transport.request(route, {"work_id": "w"}, timeout_seconds=0.1)
    assert transport.usable
    transport.close()


def test_a_reply_that_comes_too_late_is_nobody_elses(misbehaving: Any) -> None:
    goes_on = threading.Event()

    def serve(connection: socket.socket) -> None:
        for path in read_requests(connection):
            if path == "/v1/end":
                goes_on.wait()
            connection.sendall(
                HEALTHY if path == "/v1/health" else reply(b'{"asked":"%b"}' % path.encode())
            )

    misbehaving(serve)
    transport = _sidecar.SidecarTransport.find(settings())
    transport.request(routes.BEGIN, {"work_id": "one"}, timeout_seconds=1)
    with pytest.raises(lambdallm.SidecarError, match="within"):
        transport.request(routes.END, {"work_id": "one"}, timeout_seconds=0.1)
    goes_on.set()

    answer = transport.request(routes.BEGIN, {"work_id": "two"}, timeout_seconds=1)
    assert answer == {"asked": "/v1/begin"}
    transport.close()
