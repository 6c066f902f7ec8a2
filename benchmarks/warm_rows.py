"""Rows about warm invocations: reads, saves, whole turns, and what the sidecar holds."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import FUNCTIONS, Figure, Result, ask, cpu_seconds, figure, sidecar_pids

from lambda_runtime_api.emulator.confinement import CpuShareUnavailableError

if TYPE_CHECKING:
    from bench import Bench

    from lambda_runtime_api.emulator import Environment

DELAY_MS = 4
"""Of the store, where a row has one: what DynamoDB takes in its own region."""

BURN_MS = 10
"""Of the handler between question and answer; a model takes a hundred times as long."""

IDLE_SECONDS = 10

TURN_GAP_SECONDS = 0.1
"""Between turns of a small function, so that none begins with the debts of the one before."""

Seen = list[dict[str, Any]]


def _pair(bench: Bench, delay_ms: int, **options: Any) -> dict[str, Environment]:
    return {side: bench.environment(side, delay_ms, **options) for side in ("ours", "theirs")}


def _event(side: str, environment: Environment, **event: Any) -> dict[str, Any]:
    """Tell our function which process its sidecar is, whose CPU it counts too."""
    if side == "ours" and environment.pids:
        event["sidecar"] = sidecar_pids(environment)[-1]
    return event


def _interleave(
    bench: Bench, pair: dict[str, Environment], rounds: int, **event: Any
) -> dict[str, Seen]:
    """Ask both sides by turns, in random order; return what each has seen."""
    chance = random.Random(1)
    seen: dict[str, Seen] = {"ours": [], "theirs": []}
    for side, environment in pair.items():
        for _ in range(5):
            ask(environment, **_event(side, environment, **event))
    for number in range(rounds):
        bench.say(f"{number + 1} of {rounds}")
        for side in chance.sample(["ours", "theirs"], 2):
            environment = pair[side]
            environment.wait_until_idle()
            seen[side] += ask(environment, **_event(side, environment, **event))["seen"]
    return seen


def _cpu(seen: Seen, part: str) -> Figure:
    return figure([(each[part][1] + each[part][2]) * 1e6 for each in seen])


def _wall(seen: Seen, part: str, unit: float = 1e3) -> Figure:
    return figure([each[part][0] * unit for each in seen])


def _own_ms(seen: dict[str, Any]) -> float:
    """Return what a turn took but for the handler's own work between question and answer."""
    took: float = sum(seen[part][0] for part in ("read", "ask", "save")) * 1e3
    return took


def read_rows(bench: Bench) -> list[Result]:
    """Measure `warm_cpu`, `warm_cpu_idle` and `warm_p50`."""
    pair = _pair(bench, 0)
    with pair["ours"], pair["theirs"]:
        close = _interleave(bench, pair, bench.rounds, count=bench.calls // bench.rounds or 1)
        apart = _interleave(bench, pair, bench.rounds, count=4, gap_ms=40)
    idle = {side: [each for n, each in enumerate(seen) if n % 4] for side, seen in apart.items()}
    against = "boto3 GetItem"
    return [
        Result(
            "warm_cpu", "warm session read, CPU of both processes", "us", against, 0.10,
            _cpu(close["ours"], "read"), _cpu(close["theirs"], "read"),
        ),
        Result(
            "warm_cpu_idle", "the same after 40 ms idle", "us", against, 0.30,
            _cpu(idle["ours"], "read"), _cpu(idle["theirs"], "read"),
        ),
        Result(
            "warm_p50", "warm session read, wall, no network delay", "us", against, 0.15,
            _wall(close["ours"], "read", 1e6), _wall(close["theirs"], "read", 1e6),
        ),
    ]  # fmt: skip


def save_rows(bench: Bench) -> list[Result]:
    """Measure `save`, `before_response` and `after_response`."""
    pair = _pair(bench, DELAY_MS)
    event = {"save": True, "burn_ms": BURN_MS}
    with pair["ours"], pair["theirs"]:
        after = _interleave(bench, pair, bench.calls // 4, **event, durability="after_response")
        before = _interleave(bench, pair, bench.calls // 4, **event, durability="before_response")
    own = {
        name: figure([_own_ms(each) - delays * DELAY_MS for each in seen["ours"]])
        for name, seen, delays in (("before", before, 2), ("after", after, 1))
    }
    return [
        Result(
            "save", f"save seen by the handler, store of {DELAY_MS} ms, after_response", "ms",
            "boto3 PutItem", 0.10, _wall(after["ours"], "save"), _wall(after["theirs"], "save"),
        ),
        Result(
            "before_response", "load and save, less two store delays and the handler's own work",
            "ms", "", 1.5, own["before"],
        ),
        Result(
            "after_response", "load and save, less one store delay and the handler's own work",
            "ms", "", 1.0, own["after"],
        ),
    ]  # fmt: skip


def turn_rows(bench: Bench) -> list[Result]:
    """Measure `turn`, at the CPU share of 256 MB."""
    result = Result("turn", "read, 5 ms CPU, save: at the CPU share of 256 MB", "ms", "boto3", 0.5)
    try:
        pair = _pair(bench, DELAY_MS, cpu_share=True, memory_mb=256)
    except CpuShareUnavailableError as error:
        return [result._replace(not_run=str(error))]
    seen: dict[str, Seen] = {"ours": [], "theirs": []}
    event = {"save": True, "burn_ms": 5, "durability": "after_response"}
    with pair["ours"], pair["theirs"]:
        for number in range(bench.calls // 4 + 5):
            bench.say(f"turn {number + 1}")
            for side, environment in pair.items():
                environment.wait_until_idle()
                time.sleep(TURN_GAP_SECONDS)
                answer = ask(environment, **event)
                if number >= 5:  # noqa: PLR2004 - the first ones warm up
                    seen[side] += answer["seen"]
    return [result._replace(ours=_wall(seen["ours"], "all"), theirs=_wall(seen["theirs"], "all"))]


TOLD_SECONDS = 0.5
"""After the last invocation, for its bill, which the platform tells a moment later."""


def memory_rows(bench: Bench) -> list[Result]:
    """Measure `rss`, `private` and `idle`."""
    with bench.environment("ours") as environment:
        for _ in range(bench.calls):
            ask(environment, save=True)
        environment.wait_until_idle()
        pids = sidecar_pids(environment)
        ours = _memory_mb(pids[-1])
        time.sleep(TOLD_SECONDS)
        begun = cpu_seconds(pids)
        time.sleep(IDLE_SECONDS)
        idle_ms = (cpu_seconds(pids) - begun) * 1_000
    theirs = _boto3_memory_mb(bench)
    return [
        Result(
            "rss", f"sidecar's resident memory after {bench.calls} turns", "MB",
            "a boto3 process", 0.45, Figure(ours[0], 0.0, 1), Figure(theirs[0], 0.0, 1),
        ),
        Result(
            "private", "the part of it that it shares with nobody", "MB",
            "a boto3 process", 0.30, Figure(ours[1], 0.0, 1), Figure(theirs[1], 0.0, 1),
        ),
        Result("idle", f"CPU of {IDLE_SECONDS} idle seconds", "ms", "", 0, Figure(idle_ms, 0.0, 1)),
    ]  # fmt: skip


def _boto3_memory_mb(bench: Bench) -> tuple[float, float]:
    code = (
        f"import sys; sys.path.insert(0, {str(FUNCTIONS)!r}); import theirs; theirs.one({{}});"
        "print(flush=True); sys.stdin.read()"
    )
    keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
    process = subprocess.Popen(
        [bench.boto3_python, "-s", "-c", code],
        env={**bench.variables(), **keys},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        if process.stdout is not None:
            process.stdout.readline()
        return _memory_mb(process.pid)
    finally:
        process.communicate()


def _memory_mb(pid: int) -> tuple[float, float]:
    """Return resident and private memory."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    private = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return kilobytes["Rss"] / 1_024, private / 1_024
