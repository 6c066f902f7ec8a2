"""128 MB and 3 s: a start after a kill has 7 % of a CPU, inside the function's own timeout.

That is where extensions have trapped functions for ever: each start takes longer than the timeout,
so each invocation ends with a kill, and the next one begins with a start.
"""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from faults.processes import sidecar_pid
from lambda_runtime_api.emulator.confinement import why_no_cpu_share

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Service, Start
    from lambda_runtime_api.emulator import Environment

STARTS_MAX = 2
"""Tries on a machine that is busy with other things; a loop would need endlessly many."""

pytestmark = pytest.mark.skipif(bool(why_no_cpu_share()), reason=why_no_cpu_share())

FUNCTION = """
import os, time
from lambdallm import Session, handler

@handler(session=Session(store="dynamodb", ttl_hours=1))
def chat(event, context):
    session = context.session
    session.add_message("user", event["message"])
    if event["message"] == "hang":
        time.sleep(60)
    if event["message"] == "exit":
        os._exit(1)
    answer = context.invoke(session.format_history())
    session.add_message("assistant", answer)
    return {"seen": len(session.messages)}
"""


@pytest.fixture
def small(emulator: Start, layer: Path, dynamodb: Service) -> Environment:
    variables = {
        "LAMBDALLM_STORE": f"dynamodb://{dynamodb.table}",
        "LAMBDALLM_MODEL": "scripted/echo",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
    }
    return emulator(  # type: ignore[return-value]  # this is ours
        {"app.py": FUNCTION}, "app.chat", opt=layer, variables=variables,
        memory_mb=128, timeout_seconds=3, cpu_share=True, freeze=True,
    )  # fmt: skip


def say(environment: Environment, session: str, message: str = "Hello") -> Any:
    invocation = environment.invoke({"session_id": session, "message": message})
    environment.wait_until_idle()
    return invocation


def seen(invocation: Any) -> Any:
    assert invocation.error_type is None, (invocation.payload, invocation.logs)
    return invocation.json()["body"]


def recover(environment: Environment, session: str) -> list[Any]:
    """Invoke until it works: at once, where nothing else keeps this machine from it."""
    tries = [say(environment, session)]
    while tries[-1].error_type is not None and len(tries) < STARTS_MAX:
        tries.append(say(environment, session))
    return tries


@pytest.mark.parametrize("fault", ["hang", "exit"])
def test_after_each_kill_the_function_recovers(small: Environment, fault: str) -> None:
    with small:
        stored = 2
        assert seen(say(small, fault)) == '{"seen": 2}'
        for _ in range(2):
            assert say(small, fault, fault).error_type is not None
            first, *more = tries = recover(small, fault)
            assert first.cold
            assert first.init_ms is None, "the start was part of the invocation"
            found = json.loads(seen(tries[-1]))["seen"]
            assert found == stored + 2 or (more and found > stored), "nothing was lost"
            stored = found


def test_a_killed_sidecar_makes_no_loop(small: Environment) -> None:
    with small:
        assert seen(say(small, "sidecar")) == '{"seen": 2}'
        launcher = small.pids["lambdallm"]
        sidecar = sidecar_pid(launcher)
        assert sidecar is not None
        small.thaw()
        os.kill(sidecar, signal.SIGKILL)

        for number in range(2, 5):
            answer = say(small, "sidecar")
            assert seen(answer) == f'{{"seen": {2 * number}}}'
            assert not answer.cold
