"""What is said to the APIs, and where it leads: the states of extensions and of the runtime.

    extension   Started ─register► Registered ─next► Ready ─event► Running ─next► Ready …
                                   └─init/error► InitError          └─exit/error► ExitError
    runtime     Started ─next► Ready ─event► Running ─response│error► ResponseSent ─next► Ready …
                │                            └─first byte► InvocationResponse ─last► ResponseSent
                ├─restore/next► RestoreReady ─snapshot, restored► Restoring ─next► Ready …
                │                                                  └─restore/error► RestoreError
                └─init/error► InitError

Source for moves and refusals: AWS's Runtime Interface Emulator, observed from outside
(`tests/e2e/test_agreement.py` asks both), and the Lambda developer guide, "Extensions API".
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class State(str, Enum):
    """Where an extension or the runtime stands; the values stand in refusals."""

    STARTED = "Started"
    REGISTERED = "Registered"
    READY = "Ready"
    RUNNING = "Running"
    RESPONDING = "InvocationResponse"
    RESPONSE_SENT = "RuntimeResponseSentState"
    RESTORE_READY = "RestoreReady"
    RESTORING = "Restoring"
    INIT_ERROR = "InitError"
    RESTORE_ERROR = "RestoreError"
    EXIT_ERROR = "ExitError"


Moves = dict[str, tuple[str, dict[State, State]]]
"""What is said: the state that a refusal names as its aim, and from where to where it leads."""

EXTENSION_MOVES: Moves = {
    "register": ("Registered", {State.STARTED: State.REGISTERED}),
    "next": ("Ready", {State.REGISTERED: State.READY, State.RUNNING: State.READY}),
    "event": ("Running", {State.READY: State.RUNNING}),
    "init/error": (
        "InitError",
        {State.REGISTERED: State.INIT_ERROR, State.INIT_ERROR: State.INIT_ERROR},
    ),
    "exit/error": (
        "Exited",
        {
            State.REGISTERED: State.EXIT_ERROR,
            State.READY: State.EXIT_ERROR,
            State.RUNNING: State.EXIT_ERROR,
            State.EXIT_ERROR: State.EXIT_ERROR,
        },
    ),
}

RUNTIME_MOVES: Moves = {
    "next": (
        "Ready",
        {
            State.STARTED: State.READY,
            State.RESTORING: State.READY,
            State.READY: State.READY,
            State.RUNNING: State.RUNNING,  # asked again: the same invocation comes again
            State.RESPONSE_SENT: State.READY,
        },
    ),
    "event": ("Running", {State.READY: State.RUNNING, State.RUNNING: State.RUNNING}),
    "response": ("InvocationResponse", {State.RUNNING: State.RESPONSE_SENT}),
    "streamed response": ("InvocationResponse", {State.RUNNING: State.RESPONDING}),
    "end of response": ("RuntimeResponseSentState", {State.RESPONDING: State.RESPONSE_SENT}),
    "error": ("InvocationErrorResponse", {State.RUNNING: State.RESPONSE_SENT}),
    "init/error": ("InitError", {State.STARTED: State.INIT_ERROR}),
    "restore/next": ("RestoreReady", {State.STARTED: State.RESTORE_READY}),
    "restored": ("Restoring", {State.RESTORE_READY: State.RESTORING}),
    "restore/error": ("RestoreError", {State.RESTORING: State.RESTORE_ERROR}),
}


class RefusedError(Exception):
    """What was said is not allowed now. Nothing has changed."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(f"{status} {error_type}: {message}")
        self.status = status
        self.error_type = error_type
        self.message = message


class Fault(NamedTuple):
    """Why this life cannot go on; the first fault is the one that is reported."""

    error_type: str
    message: str
    payload: bytes = b""
    """What the runtime itself said, where it said something."""
