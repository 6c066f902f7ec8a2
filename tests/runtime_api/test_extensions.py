"""The client of the Extensions API, against a peer that says what a test wants."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lambda_runtime_api
from lambda_runtime_api import extensions, http1
from lambda_runtime_api.extensions import ApiRefusedError, ExtensionClient

if TYPE_CHECKING:
    from collections.abc import Iterator

IDENTIFIER = "8f0a2c5e-0000-4000-8000-000000000001"
REGISTRATION = b'{"functionName":"f","functionVersion":"$LATEST","handler":"app.handler"}'
SHUTDOWN = {"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": 1}


def registered() -> bytes:
    return http1.encode_response(200, [("Lambda-Extension-Identifier", IDENTIFIER)], REGISTRATION)


def answer(value: Any, *, status: int = 200, headers: list[tuple[str, str]] | None = None) -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return http1.encode_response(status, headers or [], body)


@pytest.fixture
def client(peer) -> Iterator[ExtensionClient]:
    client = ExtensionClient(peer.address)
    yield client
    client.close()


def test_what_is_sent_to_register(peer, client: ExtensionClient) -> None:
    peer.answers = [registered()]

    assert client.register("lambdallm", ["INVOKE", "SHUTDOWN"]) == REGISTRATION

    request, body = peer.requests[0]
    assert (request.method, request.target) == ("POST", "/2020-01-01/extension/register")
    assert request.header("lambda-extension-name") == "lambdallm"
    assert request.header("lambda-extension-accept-feature") == "accountId"
    assert request.header("host") == peer.address
    assert json.loads(body) == {"events": ["INVOKE", "SHUTDOWN"]}


def test_events_come_over_the_same_connection(peer, client: ExtensionClient) -> None:
    peer.answers = [registered(), answer({"eventType": "INVOKE"}), answer(SHUTDOWN)]
    client.register("lambdallm", [])

    assert [client.next_event()["eventType"] for _ in range(2)] == ["INVOKE", "SHUTDOWN"]

    assert peer.connections == 1
    assert json.loads(peer.requests[0][1]) == {"events": []}
    for request, body in peer.requests[1:]:
        assert (request.method, request.target) == ("GET", "/2020-01-01/extension/event/next")
        assert request.header("lambda-extension-identifier") == IDENTIFIER
        assert body == b""


def test_a_content_type_says_nothing(peer, client: ExtensionClient) -> None:
    peer.answers = [registered(), answer(SHUTDOWN, headers=[("content-type", "text/plain")])]
    client.register("lambdallm", [])

    assert client.next_event() == SHUTDOWN


@pytest.mark.parametrize(
    ("sent", "status", "error_type"),
    [
        (answer({"errorType": "Extension.InvalidEventType", "errorMessage": "no"}, status=403), 403,
         "Extension.InvalidEventType"),
        (answer(b"<html>", status=500), 500, ""),
        (answer(REGISTRATION), 200, "MissingIdentifier"),
    ],
)  # fmt: skip
def test_a_refused_registration(
    peer, client: ExtensionClient, sent: bytes, status: int, error_type: str
) -> None:
    peer.answers = [sent]

    with pytest.raises(ApiRefusedError) as raised:
        client.register("lambdallm", ["INVOKE"])

    assert (raised.value.status, raised.value.error_type) == (status, error_type)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"not JSON", b'{"eventType": 1}'])
def test_what_is_no_event_is_not_taken_for_one(peer, client: ExtensionClient, body: bytes) -> None:
    peer.answers = [registered(), answer(body)]
    client.register("lambdallm", [])

    with pytest.raises(ApiRefusedError) as raised:
        client.next_event()

    assert (raised.value.status, raised.value.error_type) == (200, "NotAnEvent")


def test_waiting_for_an_event_has_no_timeout(
    peer, client: ExtensionClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extensions, "REGISTER_TIMEOUT_SECONDS", 0.05)
    peer.answers = [registered(), answer(SHUTDOWN)]
    client.register("lambdallm", [])
    peer.gate.clear()
    threading.Timer(0.2, peer.gate.set).start()

    assert client.next_event() == SHUTDOWN


def test_registering_has_one(
    peer, client: ExtensionClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extensions, "REGISTER_TIMEOUT_SECONDS", 0.05)
    peer.answers = [registered()]
    peer.gate.clear()

    with pytest.raises(TimeoutError):
        client.register("lambdallm", [])
    client.close()
    peer.gate.set()


def test_a_connection_that_died_between_events_is_replaced(peer, client: ExtensionClient) -> None:
    peer.answers = [registered(), None, answer(SHUTDOWN)]
    client.register("lambdallm", [])

    assert client.next_event() == SHUTDOWN
    assert peer.connections == 2


def test_a_connection_that_says_it_ends_is_not_used_again(peer, client: ExtensionClient) -> None:
    peer.answers = [registered(), answer({"eventType": "INVOKE"}, headers=[("connection", "close"),
                                         ("x", "bye")]), answer(SHUTDOWN)]  # fmt: skip
    client.register("lambdallm", [])

    assert client.next_event() == {"eventType": "INVOKE"}
    assert client.next_event() == SHUTDOWN
    assert peer.connections == 2


def test_a_new_connection_that_dies_is_not_tried_again(peer, client: ExtensionClient) -> None:
    peer.answers = [registered(), None, None]
    client.register("lambdallm", [])

    with pytest.raises(http1.ConnectionEndedError):
        client.next_event()


def test_an_event_cut_short_is_not_asked_for_again(peer, client: ExtensionClient) -> None:
    peer.answers = [registered(), answer(SHUTDOWN)[:20]]
    client.register("lambdallm", [])

    with pytest.raises(http1.ConnectionEndedError) as raised:
        client.next_event()

    assert not raised.value.clean


def test_nobody_listens(peer) -> None:
    client = ExtensionClient(peer.address.replace("127.0.0.1", "127.0.0.2"))

    with pytest.raises(ConnectionRefusedError):
        client.register("lambdallm", [])


def test_what_registering_imports() -> None:
    """Everything else that it would import is added to every cold start."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules);"
        "from lambda_runtime_api import extensions;"
        "print(*sorted(set(sys.modules) - before))"
    )
    root = str(Path(lambda_runtime_api.__file__).parents[1])
    command = [sys.executable, "-IS", "-c", script, root]

    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    assert printed == [
        "__future__",
        "_socket",
        "lambda_runtime_api",
        "lambda_runtime_api.extensions",
        "lambda_runtime_api.heads",
        "lambda_runtime_api.http1",
    ]
