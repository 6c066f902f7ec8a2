"""The kernel ends the sidecar, out of memory for example: no invocation fails for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Start

FUNCTION = r"""
import os, pathlib, signal, threading

MINE = f"LAMBDALLM_PORT={os.environ['LAMBDALLM_PORT']}".encode()

def sidecar():
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if arguments[-2:-1] and arguments[-2].endswith(b"lambdallm/main.py") and MINE in variables:
            return int(process.name)

def kill(pid):
    os.kill(pid, signal.SIGKILL)

def handler(event, context):
    pid = sidecar()
    if event == "kill now":
        kill(pid)
    if event == "kill soon":
        threading.Timer(0.05, kill, [pid]).start()
    return {"runtime": os.getpid(), "sidecar": pid}
"""


@pytest.mark.parametrize("moment", ["now", "soon"])
def test_the_function_outlives_its_sidecar(host: Start, layer: Path, moment: str) -> None:
    """`now`: in an invocation; `soon`: while it waits for the next one."""
    with host({"app.py": FUNCTION}, opt=layer, variables={"LAMBDALLM_STORE": "memory:"}) as env:
        killed = env.invoke(f"kill {moment}").json()
        assert killed["sidecar"]
        while env.invoke(None).json()["sidecar"]:
            pass  # the timer is still to come
        answers = [env.invoke(None) for _ in range(3)]

    for answer in answers:
        assert answer.json() == {"runtime": killed["runtime"], "sidecar": None}
        assert not answer.cold
