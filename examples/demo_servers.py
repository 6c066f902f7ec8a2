"""What the demo needs beside the function: a store and a model, each a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

STARTING_SECONDS, ENDING_SECONDS = 30, 5

MODEL_SERVER, DYNAMODB_SERVER = "lambdallm.testing.model_server", "ministack"


class ProblemError(Exception):
    """What stops the demo, worded for its user.

    Attributes:
        status: The exit code that tells a script about it.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class InterruptionError(BaseException):
    """A signal asked the demo to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


class Signals:
    """Turns the first Ctrl-C into an `InterruptionError`, but never while something is held."""

    def __init__(self) -> None:
        self._holding = False
        self._waiting = 0
        self._raised = False

    def listen(self) -> None:
        """Handle what asks a process to end."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._take)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Start or end a process without being interrupted halfway."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            if self._waiting:
                self._raise(self._waiting)

    def _take(self, number: int, _frame: object) -> None:
        if self._holding:
            self._waiting = number
        else:
            self._raise(number)

    def _raise(self, number: int) -> None:
        if not self._raised:  # what ends the children is not interrupted a second time
            self._raised = True
            raise InterruptionError(number)


SIGNALS = Signals()


@contextlib.contextmanager
def model_server(folder: Path, script: Sequence[str]) -> Iterator[str]:
    """Serve scripted answers; the value is the server's URL."""
    answers = folder / "answers.json"
    answers.write_text(json.dumps(script))
    with _child(MODEL_SERVER, "--script", str(answers), folder=folder) as process:
        url = process.stdout.readline().strip() if process.stdout else ""
        if not url:
            message = f"The model server did not start:\n{_tail(folder, MODEL_SERVER)}"
            raise ProblemError(message)
        yield url


@contextlib.contextmanager
def dynamodb_server(folder: Path) -> Iterator[str]:
    """Serve a store that forgets everything at its end; the value is its URL."""
    from lambda_runtime_api.emulator.server import free_port

    port = free_port()
    settings = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
    with _child(DYNAMODB_SERVER, folder=folder, **settings) as process:
        give_up = time.monotonic() + STARTING_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > give_up:
                tail = _tail(folder, DYNAMODB_SERVER)
                message = f"The DynamoDB-compatible server did not start:\n{tail}"
                raise ProblemError(message)
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"


def create_table(url: str, name: str, region: str) -> Any:
    """Create the table as `template.yaml` does."""
    import boto3

    keys = {"pk": "HASH", "sk": "RANGE"}
    table = boto3.resource(
        "dynamodb",
        endpoint_url=url,
        region_name=region,
        aws_access_key_id="demo",
        aws_secret_access_key="demo",  # noqa: S106 - the server checks no signature
    ).create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
    )
    table.wait_until_exists()
    return table


@contextlib.contextmanager
def _child(module: str, *arguments: str, folder: Path, **variables: str) -> Iterator[Any]:
    """Run a module of this Python's, in a session of its own: Ctrl-C reaches us alone."""
    process = None
    try:
        with SIGNALS.held(), (folder / f"{module}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env={**os.environ, "HOME": str(folder), **variables},
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if module == MODEL_SERVER else log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        yield process
    finally:
        if process is not None:
            with SIGNALS.held():
                _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _tail(folder: Path, name: str) -> str:
    return "\n".join((folder / f"{name}.log").read_text().splitlines()[-10:])
