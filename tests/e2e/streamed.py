"""A function whose answers are streamed, and what the tests of it say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from e2e.conftest import Start

PROGRAM = (Path(__file__).parent / "programs/streams.py").read_text()
PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response"
PIECES = 150

SCRIPT = {
    "models": {
        "slow": [{"chunks": ["piece "] * 100, "delay_ms": 100}],
        "long": [{"chunks": ["piece "] * PIECES, "delay_ms": 5}],
    }
}

VARIABLES = {"LAMBDALLM_STORE": "memory:", "LAMBDALLM_SCRIPT": json.dumps(SCRIPT)}


def event(path: str = "/", session: str = "", **query: str) -> dict[str, Any]:
    return {
        "version": "2.0",
        "rawPath": path,
        "requestContext": {"http": {"method": "GET", "path": path}},
        "headers": {"x-session-id": session} if session else {},
        "queryStringParameters": query,
    }


def start(host: Start, layer: Path, name: str, **options: Any) -> Any:
    variables = {**VARIABLES, **options.pop("variables", {})}
    return host(
        {"app.py": PROGRAM}, f"app.{name}", opt=layer, variables=variables,
        timeout_seconds=options.pop("timeout_seconds", 10), **options,
    )  # fmt: skip


def parted(data: bytes) -> tuple[Any, bytes]:
    """Part a response into its prelude and its body."""
    prelude, _, body = data.partition(bytes(8))
    return json.loads(prelude), body


def read_until(stream: Any, words: bytes) -> bytes:
    read = b""
    for piece in stream:
        read += piece
        if words in read:
            return read
    pytest.fail(f"it ended before {words!r}: {read!r}, {stream.error}")
