"""Ports for programs that others start: no two processes are given the same one."""

from __future__ import annotations

import os
import subprocess
import sys

ASK = """
import sys
from lambda_runtime_api.emulator import server
server._next_port = iter(range(7, 100_000))  # all begin at the same place
print(*[server.free_port() for _ in range(40)], flush=True)
sys.stdin.read()
"""


def test_processes_side_by_side_get_other_ports() -> None:
    path = os.pathsep.join(filter(None, sys.path))
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", ASK],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        given = [each.stdout.readline().split() for each in asking if each.stdout]
    finally:
        for each in asking:
            each.communicate()

    assert [len(ports) for ports in given] == [40] * 4
    assert len({port for ports in given for port in ports}) == 160
