"""Who may ask the localhost API, and what everybody else hears."""

import http.client
import json
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Event

import pytest

from lambda_runtime_api import http1
from lambdallm_extension.server import token as token_file
from lambdallm_extension.server.http import CONNECTIONS_MAX, Server, listen
from lambdallm_extension.server.replies import Reply, plain
from lambdallm_wire import names, routes

TOKEN = "secret-token"


class EchoApi:
    """Answers every request, and remembers which connections have ended."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.ended: Queue[int] = Queue()

    def handle(self, method: str, path: str, body: bytes, *, connection: int) -> tuple[int, bytes]:
        self.asked.append((method, path, body))
        return 200, json.dumps({"connection": connection}).encode()

    def serve_request(self, request: http1.Request, body: bytes, *, connection: int) -> Reply:
        return plain(*self.handle(request.method, request.target, body, connection=connection))

    def disconnected(self, connection: int) -> None:
        self.ended.put(connection)


@pytest.fixture
def api() -> EchoApi:
    return EchoApi()


@pytest.fixture
def port(api: EchoApi) -> Iterator[int]:
    listener = listen(0)
    server = Server(listener, TOKEN, api, lambda _: None)
    server.start()
    yield listener.getsockname()[1]
    server.close()


def ask(
    port: int, headers: dict[str, str], *, host: str | None = None
) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.putrequest("POST", "/v1/begin", skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{port}")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", "2")
    connection.endheaders(b"{}")
    reply = connection.getresponse()
    body = json.loads(reply.read())
    connection.close()
    return reply.status, body


GOOD = {names.TOKEN_HEADER: TOKEN}


def test_a_request_with_the_token_is_answered(port: int) -> None:
    assert ask(port, GOOD)[0] == 200
    assert ask(port, GOOD, host=f"localhost:{port}")[0] == 200


def test_another_token_takes_the_place_of_the_one_before(api: EchoApi) -> None:
    listener = listen(0)
    port = listener.getsockname()[1]
    server = Server(listener, TOKEN, api, lambda _: None)
    server.start()
    other = "b" * len(TOKEN)
    fresh = {names.TOKEN_HEADER: other}
    seen: list[int] = []

    def hand_out(token: str) -> None:
        assert token == other
        seen.extend(ask(port, headers)[0] for headers in (GOOD, fresh))

    try:
        server.renew(other, hand_out)

        assert seen == [200, 200]
        assert [ask(port, headers)[0] for headers in (GOOD, fresh)] == [401, 200]
    finally:
        server.close()


def test_a_token_that_could_not_be_handed_out_closes_the_api(api: EchoApi) -> None:
    listener = listen(0)
    server = Server(listener, TOKEN, api, lambda _: None)
    server.start()

    def hand_out(_token: str) -> None:
        raise OSError(30, "Read-only file system")

    try:
        with pytest.raises(OSError, match="Read-only"):
            server.renew("b" * len(TOKEN), hand_out)

        assert ask(listener.getsockname()[1], GOOD)[0] == 401
    finally:
        server.close()


@pytest.mark.parametrize(
    ("headers", "host", "status", "code"),
    [
        ({}, None, 401, "unauthorized"),
        ({names.TOKEN_HEADER: ""}, None, 401, "unauthorized"),
        ({names.TOKEN_HEADER: TOKEN[:-1]}, None, 401, "unauthorized"),
        ({names.TOKEN_HEADER: TOKEN + "x"}, None, 401, "unauthorized"),
        ({names.TOKEN_HEADER: "gehéim"}, None, 401, "unauthorized"),
        (GOOD, "evil.example", 403, "forbidden"),
        (GOOD, "127.0.0.1", 403, "forbidden"),
        (GOOD, "127.0.0.1:1", 403, "forbidden"),
        ({**GOOD, "Origin": "https://evil.example"}, None, 403, "forbidden"),
        ({**GOOD, "origin": "null"}, None, 403, "forbidden"),
        ({**GOOD, "X-Forwarded-For": "10.0.0.1"}, None, 403, "forbidden"),
    ],
)
def test_everybody_else_is_refused_before_the_routes(
    port: int, api: EchoApi, headers: dict[str, str], host: str | None, status: int, code: str
) -> None:
    refused, problem = ask(port, headers, host=host)

    assert (refused, problem["code"]) == (status, code)
    assert api.asked == []


def other_addresses() -> list[str]:
    addresses = ["127.0.0.2"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: it asks the kernel for a route
        addresses.append(probe.getsockname()[0])
    return addresses


@pytest.mark.skipif(not Path("/proc/net/route").exists(), reason="127.0.0.2 is Linux's")
def test_no_other_address_of_the_machine_answers(port: int) -> None:
    try:
        addresses = other_addresses()
    except OSError:
        addresses = ["127.0.0.2"]
    for address in addresses:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, port), timeout=5)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nhost : x\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"x" * (http1.HEAD_MAX_BYTES + 10), 431),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n", 413),
    ],
)
def test_garbage_is_answered_with_its_status_and_a_closed_connection(
    port: int, api: EchoApi, sent: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(sent)
        received = b""
        while data := connection.recv(65_536):
            received += data

    assert received.startswith(b"HTTP/1.1 %d" % status)
    assert api.asked == []


def test_one_connection_serves_many_requests_and_its_end_is_told(port: int, api: EchoApi) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    for _ in range(3):
        connection.request("POST", "/v1/x", b"{}", GOOD)
        assert json.loads(connection.getresponse().read()) == {"connection": 1}
    connection.close()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as next_one:
        next_one.shutdown(socket.SHUT_WR)
        assert next_one.recv(1) == b""

    assert {api.ended.get(timeout=5), api.ended.get(timeout=5)} == {1, 2}


def test_connections_are_bounded(port: int) -> None:
    held = [
        socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(CONNECTIONS_MAX)
    ]
    try:
        for connection in held:
            connection.sendall(
                http1.encode_request("GET", "/", [("host", f"127.0.0.1:{port}"), *GOOD.items()])
            )
            assert connection.recv(4_096)
        with socket.create_connection(("127.0.0.1", port), timeout=5) as one_more:
            assert one_more.recv(1) == b""
    finally:
        for connection in held:
            connection.close()


def test_the_token_file_opens_for_its_user_alone(tmp_path: Path) -> None:
    directory = tmp_path / "lambdallm"
    token_file.write_token(str(directory), 2772, "aa")
    token_file.write_token(str(directory), 2773, "bb")
    found = directory / names.TOKEN_FILE

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(found.stat().st_mode) == 0o600
    assert found.read_text() == "2773 bb\n"
    assert list(directory.iterdir()) == [found]


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_directory_that_is_there_stays_as_it_is(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    token_file.write_token(str(tmp_path), 2772, "aa")

    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / names.TOKEN_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_directory_that_others_write_to_is_not_used(tmp_path: Path, mode: int) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    with pytest.raises(PermissionError, match="shared/lambdallm, which is made"):
        token_file.write_token(str(shared), 2772, "aa")

    assert stat.S_IMODE(shared.stat().st_mode) == mode
    assert list(shared.iterdir()) == []


def test_a_directory_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    with pytest.raises(PermissionError):
        token_file.write_token(str(tmp_path / "link"), 2772, "aa")


def test_tokens_do_not_repeat() -> None:
    assert len({token_file.make_token() for _ in range(100)}) == 100
    assert len(token_file.make_token()) == 2 * token_file.TOKEN_BYTES


@pytest.mark.parametrize(
    ("path", "acted_upon"), [("/v1/begin", False), ("/v1/chat", False), ("/v1/end", True)]
)
def test_a_request_whose_sender_has_left_is_acted_upon_only_if_it_is_a_farewell(
    api: EchoApi, port: int, path: str, acted_upon: bool
) -> None:
    """As after a time in which this process stood still."""
    stands_still, goes_on = Event(), Event()
    answer = api.handle

    def handle(method: str, path: str, body: bytes, *, connection: int) -> tuple[int, bytes]:
        if path == "/v1/health":
            stands_still.set()
            goes_on.wait()
        return answer(method, path, body, connection=connection)

    api.handle = handle  # type: ignore[method-assign]
    headers = [("host", f"127.0.0.1:{port}"), (names.TOKEN_HEADER, TOKEN)]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            http1.encode_request("GET", "/v1/health", headers)
            + http1.encode_request("POST", path, headers, b"{}")
        )
        stands_still.wait()
    goes_on.set()

    api.ended.get(timeout=5)
    assert (("POST", path, b"{}") in api.asked) is acted_upon


def post(port: int, path: str, body: bytes = b"{}") -> bytes:
    head = [("host", f"127.0.0.1:{port}"), *GOOD.items()]
    return http1.encode_request("POST", path, head, body)


SAYING = """
import os, signal, socket, sys
said = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
said.sendall(sys.stdin.buffer.read())
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("answered", [True, False])
def test_what_a_process_said_before_it_was_killed_counts(
    api: EchoApi, port: int, answered: bool
) -> None:
    """It dies with answers unread, which resets the connection."""
    go, handle = Event(), api.handle

    def slow(method: str, path: str, body: bytes, *, connection: int) -> tuple[int, bytes]:
        go.wait(5)
        return handle(method, path, body, connection=connection)

    api.handle = slow  # type: ignore[method-assign]
    said = [f'{{"number": {number}}}'.encode() for number in range(5)]
    data = b"".join(post(port, routes.APPEND.path, body) for body in said)
    data += post(port, routes.CHAT.path) + post(port, routes.END.path)
    if answered:
        go.set()
    killed = subprocess.run([sys.executable, "-c", SAYING, str(port)], input=data, check=False)
    go.set()

    assert killed.returncode == -signal.SIGKILL
    assert api.ended.get(timeout=5) == 1
    assert [body for _, path, body in api.asked if path == routes.APPEND.path] == said
    assert api.asked[-1][1] == routes.END.path
    assert answered or routes.CHAT.path not in {path for _, path, _ in api.asked}
