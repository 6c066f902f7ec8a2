"""How an environment fails and ends, where only ours does it as Lambda does; see tests/e2e."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambda_runtime_api.emulator import Environment

pytest.importorskip("awslambdaric", reason="AWS's runtime client is built for Linux")

LAST = """#!/usr/bin/env python3
# Registers for the events in its name; at SHUTDOWN it says how long it has, and who is still there.
import http.client, json, os, sys, time

API = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

def call(method, path, headers, body=None):
    API.request(method, "/2020-01-01/extension" + path, body, headers)
    response = API.getresponse()
    return response.headers, json.loads(response.read())

name = os.path.basename(sys.argv[0])
pid_file = os.path.join(os.environ["TMPDIR"], "quiet")
if name == "quiet":
    open(pid_file, "w").write(str(os.getpid()))
headers, _ = call("POST", "/register", {"Lambda-Extension-Name": name},
                  json.dumps({"events": ["SHUTDOWN"] if name == "last" else []}))
_, event = call("GET", "/event/next", {
    "Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]})
quiet, give_up = int(open(pid_file).read()), time.monotonic() + 1.5
while os.path.exists("/proc/%d/cwd" % quiet) and time.monotonic() < give_up:
    time.sleep(0.005)
print(json.dumps({"left_ms": event["deadlineMs"] - time.time() * 1000,
                  "quiet": os.path.exists("/proc/%d/cwd" % quiet)}), flush=True)
"""


def said(environment: Environment, source: str) -> list[str]:
    return [line.text for line in environment.logs if line.source == source]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/cwd").exists()


@pytest.fixture
def last(tmp_path: Path) -> Path:
    folder = tmp_path / "opt" / "extensions"
    folder.mkdir(parents=True)
    for name in ("last", "quiet"):
        (folder / name).write_text(LAST)
        (folder / name).chmod(0o755)
    return folder.parent


def test_who_does_not_ask_for_shutdown_is_killed_at_once(
    start: Callable[..., Environment], last: Path
) -> None:
    with start(opt=last) as environment:
        environment.invoke({})
        environment.shutdown()
        words = json.loads(said(environment, "extension")[-1])

    assert words["quiet"] is False
    assert 0 < words["left_ms"] <= 2_000


def test_a_runtime_that_ignores_sigterm_takes_300_ms_of_the_shutdown(
    start: Callable[..., Environment], last: Path
) -> None:
    with start(opt=last, timeout_seconds=1) as environment:
        assert environment.invoke("stubborn").error_type == "Sandbox.Timedout"
        environment.wait_until_idle()
        words = json.loads(said(environment, "extension")[-1])

    assert 0 < words["left_ms"] <= 1_700


def test_a_host_that_fails_in_an_invocation(start: Callable[..., Environment], opt: Path) -> None:
    """The caller gets an error, extensions hear nothing, and `/tmp` is another one."""
    with start(opt=opt, timeout_seconds=30) as environment:
        environment.invoke({})
        (environment.directory / "left").touch()
        results: list[Any] = []
        asking = threading.Thread(target=lambda: results.append(environment.invoke("hang")))
        asking.start()
        while "hanging" not in said(environment, "function"):
            time.sleep(0.001)
        environment.kill()
        asking.join()

        assert results[0].error_type in ("Runtime.ExitError", "Extension.Crash")
        assert environment.pids == {}
        assert not any(text.startswith("shutdown") for text in said(environment, "extension"))
        assert not (environment.directory / "left").exists()
        after = environment.invoke({})
        assert (after.error_type, after.init_ms is None) == (None, False)


IMPORTS_FOR_LONG = """
import os, time
if not os.path.exists(os.environ["GATE"]):
    print("importing", flush=True)
    time.sleep(60)

def handler(event, context):
    return "up"
"""


def test_a_host_that_fails_in_init(
    start: Callable[..., Environment], opt: Path, tmp_path: Path
) -> None:
    """Nothing begins anew on a host that is gone: the invocation fails."""
    (tmp_path / "task" / "slow.py").write_text(IMPORTS_FOR_LONG)
    gate = tmp_path / "gate"
    with start("slow.handler", opt=opt, variables={"GATE": str(gate)}) as environment:
        results: list[Any] = []
        asking = threading.Thread(target=lambda: results.append(environment.invoke({})))
        asking.start()
        while "importing" not in said(environment, "function"):
            time.sleep(0.001)
        environment.kill()
        asking.join()
        gate.touch()

        assert results[0].error_type == "Runtime.ExitError"
        assert said(environment, "function") == ["importing"]
        assert environment.invoke({}).json() == "up"


def test_a_frozen_environment_hears_of_its_end(
    start: Callable[..., Environment], opt: Path
) -> None:
    with start(opt=opt, freeze=True) as environment:
        environment.invoke({})
        environment.wait_until_idle()
        assert environment.frozen
        environment.shutdown()

        assert said(environment, "extension")[-1] == "shutdown spindown"
        assert not environment.frozen


def test_an_environment_is_not_frozen_while_extensions_work(
    start: Callable[..., Environment], opt: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with start(opt=opt, freeze=True, variables={"GATE": str(gate)}) as environment:
        environment.invoke({})
        assert not environment.frozen
        gate.touch()
        environment.wait_until_idle()
        assert environment.frozen


def test_the_runtime_dies_frozen_and_the_next_invocation_says_so(
    start: Callable[..., Environment], opt: Path
) -> None:
    with start(opt=opt, freeze=True) as environment:
        environment.invoke({})
        environment.wait_until_idle()
        os.kill(environment.pids["runtime"], signal.SIGKILL)
        errors = [environment.invoke({}).error_type for _ in range(2)]

    assert errors == ["Runtime.ExitError", None]


def test_a_reset_ends_what_left_its_group(start: Callable[..., Environment], opt: Path) -> None:
    with start(opt=opt) as environment:
        stranger = environment.invoke("stranger").json()
        environment.invoke("exit")
        environment.wait_until_idle()

        assert not alive(int(str(stranger)))


@pytest.mark.parametrize("reason", ["spindown", "timeout", "failure", "SPINDOWN"])
def test_reasons_in_the_spelling_that_is_asked_for(
    start: Callable[..., Environment], opt: Path, reason: str
) -> None:
    with start(opt=opt) as environment:
        environment.invoke({})
        environment.shutdown(reason)

        assert said(environment, "extension")[-1] == f"shutdown {reason}"
