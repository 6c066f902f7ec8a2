"""A relay that breaks as networks do, in front of a server that echoes."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lambda_runtime_api.emulator.network import Relay


def echo(listener: socket.socket) -> None:
    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(100):
                    connection.sendall(data)
            except OSError:
                return

    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


@pytest.fixture
def relay() -> Iterator[Relay]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        with Relay(f"http://127.0.0.1:{listener.getsockname()[1]}") as relay:
            yield relay
        listener.shutdown(socket.SHUT_RDWR)


def connect(relay: Relay) -> socket.socket:
    host, _, port = relay.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def say(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return connection.recv(100)


def test_it_passes_on_what_is_said(relay: Relay) -> None:
    with connect(relay) as one, connect(relay) as other:
        assert (say(one, b"one"), say(other, b"other")) == (b"one", b"other")
    assert relay.connections == 2


def test_a_cut_resets_connections_and_new_ones_work(relay: Relay) -> None:
    with connect(relay) as connection:
        say(connection, b"x")
        relay.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with connect(relay) as connection:
        assert say(connection, b"again") == b"again"


def test_a_swallowed_connection_is_silent_and_new_ones_work(relay: Relay) -> None:
    with connect(relay) as connection:
        say(connection, b"x")
        relay.swallow()
        connection.sendall(b"lost")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        with connect(relay) as another:
            assert say(another, b"again") == b"again"


def test_it_refuses_until_it_is_told_otherwise(relay: Relay) -> None:
    relay.refuse()
    with pytest.raises(ConnectionError), connect(relay) as connection:
        say(connection, b"x")
    relay.refuse(refuse=False)
    with connect(relay) as connection:
        assert say(connection, b"again") == b"again"


def test_the_server_sees_that_a_client_has_ended(relay: Relay) -> None:
    with connect(relay) as connection:
        say(connection, b"x")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_replies_come_later(relay: Relay) -> None:
    relay.delay_seconds = 0.2
    with connect(relay) as connection:
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            say(connection, b"late")
        connection.settimeout(5)
        assert connection.recv(100) == b"late"


def test_an_end_that_resets_its_connection_resets_the_other() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Relay(f"http://127.0.0.1:{listener.getsockname()[1]}") as relay,
    ):
        client = connect(relay)
        server, _ = listener.accept()
        server.settimeout(5)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        with server, pytest.raises(ConnectionResetError):
            server.recv(1)


def test_connections_that_have_ended_hold_nothing(relay: Relay) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    for _ in range(20):
        with connect(relay) as connection:
            assert say(connection, b"x") == b"x"
    give_up = time.monotonic() + 5
    while descriptors() > before and time.monotonic() < give_up:
        time.sleep(0.01)

    assert descriptors() <= before
