"""State machines in moto's interpreter (LocalStack's), whose tasks this process does."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen
from uuid import uuid4

import boto3
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROLE = "arn:aws:iam::123456789012:role/states"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:work"
GIVE_UP_SECONDS = 30


class States:
    """A Step Functions that runs definitions of ours.

    Attributes:
        work: The function that its tasks are given to: `(event) -> answer`.
        events: What it was given, in order.
    """

    def __init__(self, client: Any) -> None:
        """Stand on a boto3 client."""
        self.client = client
        self.work: Callable[[Any], Any] = lambda event: event
        self.events: list[Any] = []

    def invoke(self, event: Any) -> tuple[Any, bool]:
        """Call the function as Lambda does; return its answer, and whether it is an error."""
        self.events.append(event)
        try:
            return json.loads(json.dumps(self.work(event))), False
        except Exception as error:  # noqa: BLE001 - as the runtime tells it
            return {"errorType": type(error).__name__, "errorMessage": str(error)}, True

    def start(self, definition: dict[str, Any], given: Any, name: str | None = None) -> str:
        """Start an execution, and return its ARN."""
        made = self.client.create_state_machine(
            name=f"m-{uuid4().hex}", definition=json.dumps(definition), roleArn=ROLE
        )
        started = self.client.start_execution(
            stateMachineArn=made["stateMachineArn"],
            name=name or f"e-{uuid4().hex}",
            input=json.dumps(given),
        )
        return str(started["executionArn"])

    def wait(self, arn: str) -> dict[str, Any]:
        """Return an execution that has ended, its output decoded."""
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while True:
            found: dict[str, Any] = self.client.describe_execution(executionArn=arn)
            if found["status"] != "RUNNING":
                return {**found, "output": json.loads(found.get("output") or "null")}
            if time.monotonic() > give_up:
                pytest.fail(f"The execution does not end: {self.events[-1]}")
            time.sleep(0.02)

    def run(
        self, definition: dict[str, Any], given: Any, name: str | None = None
    ) -> dict[str, Any]:
        """Do an execution, and return it as it has ended."""
        return self.wait(self.start(definition, given, name))


@contextlib.contextmanager
def serve_states(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[States]:
    """Let moto run state machines, and ask a Lambda here for their tasks.

    Args:
        moto: Endpoint of a moto server of this process.
        monkeypatch: Says where moto finds Lambda.
    """
    config = json.dumps({"stepfunctions": {"execute_state_machine": True}}).encode()
    with urlopen(Request(f"{moto}/moto-api/config", config, method="POST")):
        pass
    client = boto3.client(
        "stepfunctions",
        endpoint_url=moto,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    states = States(client)

    class Invocations(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer, failed = states.invoke(json.loads(body))
            text = json.dumps(answer).encode()
            self.send_response(200)
            if failed:
                self.send_header("X-Amz-Function-Error", "Unhandled")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Invocations)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("MOTO_PORT", str(server.server_address[1]))
    try:
        yield states
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        client.close()
