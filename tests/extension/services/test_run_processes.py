"""Processes that want one run at the same moment, over one file."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from fakes.open_runs import Model, Owner
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_extension.stores import open_store

if TYPE_CHECKING:
    from pathlib import Path

PROCESSES, ROUNDS = 3, 12

WORKER = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from fakes.open_runs import COST, Model, Owner, done, reply
from lambdallm_extension import errors
from lambdallm_extension.settings import SystemClock
from lambdallm_extension.stores.sqlite import SqliteStore

clock, model = SystemClock(), Model()
owner = Owner(SqliteStore(sys.argv[2], clock), clock, model, sys.argv[3])
attempts = []
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[4])):
    try:
        run, opened = owner.open(attempts_max=10_000)
    except errors.RunBusyError:
        continue
    attempts.append(opened["attempt"])
    key = f"m/{sys.argv[3]}/{number}"
    asked = owner.ask(run, key)
    asked.call.settle(COST, reply(asked.call))
    run.close("interrupted", [done(key, reply(asked.call))])
print(json.dumps([attempts, len(model.asked)]))
"""


def test_each_attempt_is_one_processs_and_every_call_is_told(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    command = [sys.executable, "-c", WORKER, json.dumps(sys.path), str(file)]
    workers = [
        subprocess.Popen(
            [*command, f"p{number}", str(ROUNDS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    outcomes = [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]

    attempts = sorted(attempt for taken, _ in outcomes for attempt in taken)
    asked = sum(count for _, count in outcomes)
    assert attempts == [*range(1, len(attempts) + 1)]
    settings, clock = Settings.from_environ({"LAMBDALLM_STORE": f"sqlite:///{file}"}), SystemClock()
    store = open_store(settings, clock, CredentialSource(settings, clock))
    told = Owner(store, clock, Model()).read()
    store.close()
    assert len(told["steps"]) == len(told["calls"]) == asked == len(attempts)
    assert (told["regenerated"], told["unknown_calls"]) == (0, 0)
