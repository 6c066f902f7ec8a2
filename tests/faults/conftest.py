"""The environments of the end-to-end tests, for faults."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e.conftest import (
    both,
    chat_variables,
    dynamodb,
    emulator,
    host,
    layer,
    model_server,
    runtimes,
)
from faults.chats import FUNCTION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.conftest import Service, Start

__all__ = [
    "both",
    "chat_variables",
    "dynamodb",
    "emulator",
    "host",
    "layer",
    "model_server",
    "runtimes",
]


@pytest.fixture
def start(host: Start, layer: Path, dynamodb: Service) -> Callable[..., Any]:
    """Start an environment with the chat in it, in either emulator."""
    return _starter(host, layer, dynamodb)


@pytest.fixture
def start_ours(emulator: Start, layer: Path, dynamodb: Service) -> Callable[..., Any]:
    """Start one in ours, for what AWS's cannot do."""
    return _starter(emulator, layer, dynamodb)


def _starter(host: Start, layer: Path, dynamodb: Service) -> Callable[..., Any]:
    def start(*, variables: dict[str, str] | None = None, **more: Any) -> Any:
        told = {
            "LAMBDALLM_STORE": f"dynamodb://{dynamodb.table}",
            "LAMBDALLM_MODEL": "scripted/echo",
            "LAMBDALLM_SCRIPT": json.dumps(["Heard {count}."]),
            "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
        }
        return host(
            {"app.py": FUNCTION}, "app.chat", opt=layer, variables=told | (variables or {}),
            **{"timeout_seconds": 2, **more},
        )  # fmt: skip

    return start
