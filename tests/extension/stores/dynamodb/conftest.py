"""The DynamoDB store behind a proxy that does what can go wrong."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from fakes.connections import ConnectionServer
from fakes.dice import HighDice
from lambda_runtime_api import http1
from lambdallm_extension.aws.client import AwsClient
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_extension.stores.dynamodb import DynamoDBStore

TABLE = "lambdallm-contract"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@pytest.fixture
def connect(waits):
    """Make a store at an endpoint that does not sleep but keeps what it would have slept."""
    clients = []

    def make(endpoint, table=TABLE, **environ):
        environ = {
            **KEYS, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_DYNAMODB": endpoint, **environ
        }  # fmt: skip
        settings, clock = Settings.from_environ(environ), SystemClock()
        clients.append(AwsClient("dynamodb", settings, CredentialSource(settings, clock), clock))
        return DynamoDBStore(clients[-1], table, clock, HighDice(), waits.append)

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def store(connect, proxy):
    return connect(proxy.url)


@pytest.fixture
def direct(connect, ministack):
    """The same table without faults."""
    return connect(ministack)


class FaultProxy(ConnectionServer):
    """Stands before a DynamoDB server and does to each request what the plan says next.

    Plan entries: `pass`, `lose` (forward, then close without an answer), `drop` (close without
    forwarding), `break` (forward, then answer 500), a bytes reply of its own (status 400), or
    something to call first and then pass, or `(headers, body)`: answer 200 with that, and forward
    nothing, as a captive portal does. An empty plan passes.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream.rpartition(":")[2]
        self.plan: list = []
        self.operations: list[str] = []
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}"

    def serve(self, connected: socket.socket) -> None:
        reader = http1.Reader(requests=True)
        try:
            with connected:
                while self._answer(connected, *http1.receive(reader, connected.recv)):
                    pass
        except (OSError, http1.ProtocolError):
            pass

    def _answer(self, connected: socket.socket, head: http1.Request, body: bytes) -> bool:
        self.operations.append(head.header("x-amz-target").partition(".")[2])
        step = self.plan.pop(0) if self.plan else "pass"
        if step == "drop":
            return False
        if isinstance(step, bytes):
            connected.sendall(http1.encode_response(400, [], step))
            return True
        if isinstance(step, tuple):
            connected.sendall(http1.encode_response(200, *step))
            return True
        if callable(step):
            step()
        reply = self._forward(head, body)
        if step == "lose":
            return False
        if step == "break":
            reply = http1.encode_response(500, [], b'{"__type": "x#InternalServerError"}')
        connected.sendall(reply)
        return True

    def _forward(self, head: http1.Request, body: bytes) -> bytes:
        headers = [pair for pair in head.headers if pair[0] != "content-length"]
        with socket.create_connection(("127.0.0.1", int(self._upstream))) as upstream:
            upstream.sendall(http1.encode_request("POST", head.target, headers, body))
            answer, content = http1.receive(http1.Reader(requests=False), upstream.recv)
        return http1.encode_response(answer.status, [], content)


@pytest.fixture
def proxy(ministack) -> Iterator[FaultProxy]:
    fault_proxy = FaultProxy(ministack)
    yield fault_proxy
    fault_proxy.stop()


@pytest.fixture
def serve_bytes() -> Iterator[Callable[[bytes], str]]:
    """Answer every request with the same bytes, whatever they are; return the endpoint."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(reply: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))

        def accept() -> None:
            while True:
                try:
                    connected, _ = listener.accept()
                except OSError:
                    return
                with connected:
                    http1.receive(http1.Reader(requests=True), connected.recv)
                    connected.sendall(reply)

        threads.append(threading.Thread(target=accept))
        threads[-1].start()
        listeners.append(listener)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join()
