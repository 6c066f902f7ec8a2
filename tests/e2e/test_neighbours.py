"""Other extensions beside ours, as functions in production have them."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.chats import CHAT, lines_with, post, reply_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.conftest import Start

WATCHER = Path(__file__).parent / "programs/watcher"
RUNTIME_PROXY = Path(__file__).parent / "programs/runtime_proxy"

EXTENSIONS_MAX = 10
"""External and internal ones together (Lambda developer guide, "Extensions API", 2026-10)."""

INTERNAL = """
import http.client, json, os, threading

def call(method, path, headers, body=None):
    API.request(method, "/2020-01-01/extension/" + path, body, headers)
    response = API.getresponse()
    return response.headers["Lambda-Extension-Identifier"], response.read()

def watch():
    while True:
        _, event = call("GET", "event/next", {"Lambda-Extension-Identifier": ME})
        print("internal extension saw", json.loads(event)["eventType"])

API = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
ME, _ = call("POST", "register", {"Lambda-Extension-Name": "inside"}, '{"events": ["INVOKE"]}')
threading.Thread(target=watch, daemon=True).start()
"""


def beside(layer: Path, folder: Path, *names: str) -> Path:
    """Put other extensions of these names beside ours; the layer's own files are linked."""
    opt = shutil.copytree(
        layer, folder / "opt", copy_function=lambda source, target: Path(target).hardlink_to(source)
    )
    for name in names:
        shutil.copy(WATCHER, opt / "extensions" / name)
    return opt


def events_of(environment: Any) -> list[str]:
    """What the watchers were told so far, in their words."""
    lines = [json.loads(line) for line in lines_with(environment, '["event", [200')]
    return [line[1][1]["eventType"] for line in lines]


def converse(environment: Any, session: str) -> None:
    assert reply_of(environment.invoke(post(session, "one"))) == "You said 1 things."
    assert reply_of(environment.invoke(post(session, "two"))) == "You said 2 things."


@pytest.mark.parametrize("others", [1, EXTENSIONS_MAX - 1])
def test_extensions_of_others(
    host: Start, layer: Path, chat_variables: dict[str, str], tmp_path: Path, others: int
) -> None:
    names = [f"other{number}" for number in range(others)]
    with host(
        {"app.py": CHAT.read_text()},
        "app.chat_handler",
        opt=beside(layer, tmp_path, *names),
        variables={**chat_variables, "EXTENSION_PLAN": "{}"},
        timeout_seconds=20,
    ) as environment:
        converse(environment, f"beside-{others}-{host.name}")
        assert events_of(environment) == ["INVOKE"] * 2 * others
        assert not lines_with(environment, "embedded engine serves")
        assert len(lines_with(environment, '"CostUSD"')) == 2


def test_an_extension_inside_the_function(
    host: Start, layer: Path, chat_variables: dict[str, str]
) -> None:
    with host(
        {"app.py": INTERNAL + CHAT.read_text()},
        "app.chat_handler",
        opt=layer,
        variables=chat_variables,
        timeout_seconds=20,
    ) as environment:
        converse(environment, f"inside-{host.name}")
        assert lines_with(environment, "internal extension saw INVOKE")
        assert not lines_with(environment, "embedded engine serves")


def test_another_extension_that_crashes(
    host: Start, layer: Path, chat_variables: dict[str, str], tmp_path: Path
) -> None:
    """Lambda fails that invocation and starts everything anew; its retry is no second exchange."""
    session = f"crash-{host.name}"
    first = post(session, "one")
    first["headers"]["idempotency-key"] = "the first event"
    with host(
        {"app.py": CHAT.read_text()},
        "app.chat_handler",
        opt=beside(layer, tmp_path, "other"),
        variables={**chat_variables, "EXTENSION_PLAN": '{"exit": 3}'},
        timeout_seconds=20,
    ) as environment:
        environment.invoke(first)
        environment.wait_until_idle()
        again = environment.invoke(first)
        assert again.cold
        assert reply_of(again) == "You said 1 things."
        assert reply_of(environment.invoke(post(session, "two"))) == "You said 2 things."
        assert not lines_with(environment, "embedded engine serves")


def test_an_extension_that_the_runtime_speaks_through(
    host: Start, layer: Path, chat_variables: dict[str, str], tmp_path: Path, free_port: int
) -> None:
    opt = beside(layer, tmp_path)
    shutil.copy(RUNTIME_PROXY, opt / "extensions")
    wrapper = opt / "proxy_wrapper"
    wrapper.write_text(
        '#!/bin/sh\nexport AWS_LAMBDA_RUNTIME_API="127.0.0.1:$PROXY_PORT"\nexec "$@"\n'
    )
    wrapper.chmod(0o755)
    variables = {
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/lambdallm/exec-wrapper",
        "LAMBDALLM_NEXT_WRAPPER": "/opt/proxy_wrapper",
        "PROXY_PORT": str(free_port),
    }
    with host(
        {"app.py": CHAT.read_text()},
        "app.chat_handler",
        opt=opt,
        variables={**chat_variables, **variables},
        timeout_seconds=20,
    ) as environment:
        converse(environment, f"proxied-{host.name}")
        assert lines_with(environment, "the runtime speaks through us")
        assert not lines_with(environment, "embedded engine serves")


@pytest.fixture
def squatter() -> Iterator[tuple[int, list[bytes]]]:
    """Somebody who listens on a port and answers everybody; his port, and what he was sent."""
    heard: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                heard.append(connection.recv(65_536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1], heard
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_our_port_is_taken(
    host: Start,
    layer: Path,
    chat_variables: dict[str, str],
    squatter: tuple[int, list[bytes]],
) -> None:
    port, heard = squatter
    with host(
        {"app.py": CHAT.read_text()},
        "app.chat_handler",
        opt=layer,
        variables={**chat_variables, "LAMBDALLM_PORT": str(port)},
        timeout_seconds=20,
    ) as environment:
        converse(environment, f"taken-{host.name}")
        (line,) = lines_with(environment, f"Port {port} cannot be listened on")
        assert "set LAMBDALLM_PORT to a free one" in line
        assert len(lines_with(environment, "the embedded engine serves")) == 1
        assert len(lines_with(environment, '"CostUSD"')) == 2
    assert heard == []
