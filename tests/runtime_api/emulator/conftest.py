"""A function and an extension that say what they see, and environments of our emulator for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lambda_runtime_api.emulator import Environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FUNCTION = """
import json, os, signal, subprocess, sys, time

def handler(event, context):
    print("event", json.dumps(event))
    if event == "environ":
        return dict(os.environ)
    if event == "path":
        return [sys.executable, *sys.path]
    if event == "context":
        return {"tenant": context.tenant_id, "client": context.client_context.custom,
                "trace": os.environ["_X_AMZN_TRACE_ID"], "memory": context.memory_limit_in_mb,
                "name": context.function_name, "arn": context.invoked_function_arn}
    if event == "child":
        return subprocess.Popen(["sleep", "1000"]).pid
    if event == "stranger":
        return subprocess.Popen(["sleep", "1000"], start_new_session=True).pid
    if event == "exit":
        os._exit(1)
    if event == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    if event == "hang":
        print("hanging", flush=True)
        time.sleep(60)
    return event
"""

EXTENSION = """#!/usr/bin/env python3
import http.client, json, os, sys, time

API = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

def call(method, path, headers, body=None):
    API.request(method, "/2020-01-01/extension" + path, body, headers)
    response = API.getresponse()
    return response.headers, json.loads(response.read())

headers, registration = call("POST", "/register", {
    "Lambda-Extension-Name": os.path.basename(sys.argv[0]),
    "Lambda-Extension-Accept-Feature": "other, accountId",
}, '{"events": ["INVOKE", "SHUTDOWN"]}')
print(json.dumps([registration, dict(os.environ)]), flush=True)
while True:
    _, event = call("GET", "/event/next", {
        "Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]})
    if event["eventType"] == "SHUTDOWN":
        print("shutdown", event["shutdownReason"], flush=True)
        break
    gate = os.environ.get("GATE")
    while gate and not os.path.exists(gate):
        time.sleep(0.005)
    print("finished", event["requestId"], flush=True)
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Environment]:
    task_root = tmp_path / "task"
    task_root.mkdir()
    (task_root / "app.py").write_text(FUNCTION)

    def make(handler: str = "app.handler", **options: Any) -> Environment:
        return Environment(task_root, handler, **options)

    return make


@pytest.fixture
def opt(tmp_path: Path) -> Path:
    extension = tmp_path / "opt" / "extensions" / "watcher"
    extension.parent.mkdir(parents=True)
    extension.write_text(EXTENSION)
    extension.chmod(0o755)
    return tmp_path / "opt"
