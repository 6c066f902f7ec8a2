"""The Redis store behind a proxy that does what can go wrong."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from fakes.connections import ConnectionServer
from fakes.dice import HighDice
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_extension.stores.redis import RedisStore
from lambdallm_extension.stores.redis_nodes import Nodes
from lambdallm_extension.stores.redis_urls import parse_url


@pytest.fixture
def connect(waits):
    """Make a store at a URL that does not sleep but keeps what it would have slept."""
    stores = []

    def make(url, **environ):
        clock = SystemClock()
        target = parse_url(url, url)
        nodes = Nodes(target, clock, Settings.from_environ(environ).environ)
        stores.append(RedisStore(nodes, target.prefix, clock, HighDice(), waits.append))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store(connect, proxy):
    return connect(proxy.url)


@pytest.fixture
def direct(connect, redis_server):
    """The same server without faults."""
    return connect(redis_server.url)


class RedisProxy(ConnectionServer):
    """Stands before a Redis and does to each script that is run what the plan says next.

    Plan entries: `pass`, `lose` (forward, then close without an answer), `drop` (close without
    forwarding), bytes (answer with these, and forward nothing; with `close`, end then), or
    something to call first and then pass. An empty plan passes.
    """

    def __init__(self, port: int) -> None:
        self.server_port = port
        self.plan: list = []
        self.scripts = 0
        super().__init__()
        self.url = f"redis://127.0.0.1:{self.port}"

    def serve(self, connected: socket.socket) -> None:
        with (
            contextlib.suppress(OSError, EOFError),
            connected,
            socket.create_connection(("127.0.0.1", self.server_port)) as server,
            connected.makefile("rb") as commands,
            server.makefile("rb") as replies,
        ):
            while self._pass(connected, server, commands, replies):
                pass

    def _pass(self, connected, server, commands, replies) -> bool:
        command = read_resp(commands)
        step = "pass"
        if b"EVAL" in command[:30]:
            self.scripts += 1
            step = self.plan.pop(0) if self.plan else "pass"
        if step == "drop":
            return False
        if isinstance(step, bytes):
            connected.sendall(step.removesuffix(b"close"))
            return not step.endswith(b"close")
        if callable(step):
            step()
        server.sendall(command)
        reply = read_resp(replies)
        if step == "lose":
            return False
        connected.sendall(reply)
        return True


def read_resp(stream) -> bytes:
    """Read one whole value of the protocol, and return its bytes."""
    line = stream.readline()
    if not line:
        raise EOFError
    kind, size = line[:1], line[1:-2]
    if kind in b"$=!":
        return line + (stream.read(int(size) + 2) if int(size) >= 0 else b"")
    count = {b"*": 1, b"~": 1, b">": 1, b"%": 2}.get(kind, 0)
    return line + b"".join(read_resp(stream) for _ in range(count and count * int(size)))


@pytest.fixture
def proxy(redis_server) -> Iterator[RedisProxy]:
    redis_proxy = RedisProxy(redis_server.port)
    yield redis_proxy
    redis_proxy.stop()
