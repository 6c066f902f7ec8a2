"""The environments of the end-to-end tests, for faults."""

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
