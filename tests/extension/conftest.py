"""A peer on a real socket that does what a test says, connection by connection."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from fakes.clocks import HandClock
from lambda_runtime_api import http1
from lambdallm_extension.aws.client import AwsClient
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.settings import Settings, SystemClock

KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


class Line:
    """The server's end of one connection."""

    def __init__(self, connected: socket.socket, number: int, requests: list) -> None:
        self.socket = connected
        self.number = number
        self._reader = http1.Reader(requests=True)
        self._requests = requests

    def read(self) -> tuple[http1.Request, bytes]:
        """Read one request and keep it in the peer's list."""
        head, body = http1.receive(self._reader, self.socket.recv)
        self._requests.append((head, body))
        return head, body

    def reply(self, body: bytes = b"{}", status: int = 200, headers=()) -> None:
        self.socket.sendall(http1.encode_response(status, headers, body))

    def reset(self) -> None:
        """Close so that the client sees a reset, not an end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def wait_for_end(self) -> None:
        while self.socket.recv(4096):
            pass


class Peer:
    """A listening server; `behave(line)` runs in a thread for each connection."""

    def __init__(self, behave: Callable[[Line], None], tls: ssl.SSLContext | None) -> None:
        self._behave = behave
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.requests: list[tuple[http1.Request, bytes]] = []
        self.connections = 0
        self._lines: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._lines.append(connected)
            thread = threading.Thread(target=self._serve, args=(connected, self.connections))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connected: socket.socket, number: int) -> None:
        try:
            if self._tls is not None:
                connected = self._tls.wrap_socket(connected, server_side=True)
                self._lines.append(connected)
            self._behave(Line(connected, number, self.requests))
        except (OSError, http1.ProtocolError):
            pass
        finally:
            connected.close()

    def refuse(self) -> None:
        """Listen no more; connections that are open go on."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def stop(self) -> None:
        with contextlib.suppress(OSError):  # It refuses already.
            self.refuse()
        for connected in self._lines:
            with contextlib.suppress(OSError):  # It is closed already.
                connected.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def start(behave: Callable[[Line], None], tls: ssl.SSLContext | None = None) -> Peer:
        peers.append(Peer(behave, tls))
        return peers[-1]

    yield start
    for peer in peers:
        peer.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., AwsClient]]:
    """Make a client of a local port, or of an endpoint."""
    clients: list[AwsClient] = []

    def make(endpoint: int | str, clock=None, environ=None) -> AwsClient:
        url = f"http://127.0.0.1:{endpoint}" if isinstance(endpoint, int) else endpoint
        settings = Settings.from_environ({**KEYS, "AWS_ENDPOINT_URL": url, **(environ or {})})
        clock = clock or SystemClock()
        clients.append(AwsClient("dynamodb", settings, CredentialSource(settings, clock), clock))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


class Authority(NamedTuple):
    """A certificate authority of this test run; its server is `localhost` and `remote.example`."""

    bundle: str
    server: ssl.SSLContext


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    (folder / "ca.conf").write_text(
        "[req]\ndistinguished_name=dn\nprompt=no\nx509_extensions=ext\n"
        "[dn]\nCN=Test authority\n[ext]\nbasicConstraints=critical,CA:TRUE\n"
        "keyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n"
    )
    (folder / "server.conf").write_text(
        "subjectAltName=DNS:localhost,DNS:remote.example\nbasicConstraints=CA:FALSE\n"
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    run("req", "-x509", "-config", "ca.conf", *key, "-keyout", "ca.key", "-out", "ca.pem")
    run("req", "-subj", "/CN=localhost", *key, "-keyout", "server.key", "-out", "server.csr")
    run(
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
        *("-CAcreateserial", "-extfile", "server.conf", "-out", "server.pem"),
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem", folder / "server.key")
    return Authority(str(folder / "ca.pem"), server)


@pytest.fixture
def hand_clock() -> HandClock:
    return HandClock()
