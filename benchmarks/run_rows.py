"""Rows about runs: what it costs to keep a chain's steps, beside LangGraph and its DynamoDB saver.

Both do the same steps, ask a model that their own package brings for tests and that answers at
once, and store what it said before the next step begins. Of ours the CPU is the function's and its
sidecar's. Times and CPU are measured at a store that takes 4 ms; requests, units and reads at a
DynamoDB-compatible server, through a proxy that counts.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import FUNCTIONS, ROOT, Figure, Result, ask, figure, sidecar_pids
from capacity import READ_USD, WRITE_USD, Meter, serve
from conversation_rows import make_tables, python_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench import Bench

    Runs = Callable[..., list[list[float]]]

STEPS, MORE_STEPS, RESUMED_STEPS = 3, 9, 50

DELAY_MS = 4
"""Of the store: what DynamoDB takes in its own region."""

TABLES = {"lambdallm": ("pk", "sk"), "langgraph": ("PK", "SK")}

ANSWER = "What was answered, in three times as many characters. " * 5
"""As `functions/chains.py` has it."""

WARM_RUNS, BATCH = 5, 5

MODEL = {
    "LAMBDALLM_MODEL": "scripted/bench",
    "LAMBDALLM_SCRIPT": json.dumps([{"chunks": [ANSWER]}]),
}

READS = ("GetItem", "Query", "BatchGetItem", "Scan")


class Kept(NamedTuple):
    """What one side's runs took.

    Attributes:
        runs: So many were counted.
        requests, write_units, bytes_written: Of a run of three steps.
        usd: Of 1,000 of them.
        resumed_ms: Of runs that go on with their 50th step.
        reads: Requests that read, of such a run.
    """

    runs: int
    requests: float
    write_units: float
    bytes_written: float
    usd: float
    resumed_ms: list[float]
    reads: float


def run_rows(bench: Bench) -> list[Result]:
    """Measure what `names` lists."""
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="lambdallm-runs-")))
        pythons: dict[str, str] = {}
        try:
            pythons["langgraph"] = python_of("langgraph", folder)
        except subprocess.CalledProcessError as error:
            missing = f"langgraph cannot be installed: pip ended with status {error.returncode}"
            return [Result(name, "", "", "", None, not_run=missing) for name in names()]
        steps = _step_rows(bench, pythons["langgraph"])
        return steps + _kept_rows(bench, pythons["langgraph"], folder)


def names() -> tuple[str, ...]:
    """Return the names of the rows."""
    return (
        "run_step", "run_step_wall", "run_cpu", "run_resume_reads", "run_resume", "run_requests",
        "run_units", "run_bytes", "run_usd",
    )  # fmt: skip


def _step_rows(bench: Bench, python: str) -> list[Result]:
    """Compare runs of three steps with runs of nine: what a step adds is a sixth of it."""
    variables = bench.variables(DELAY_MS)
    rounds = max(2, bench.calls // (4 * BATCH))
    made: dict[tuple[str, int], list[list[float]]] = {}
    with _ours(bench, variables) as ours, _theirs(python, variables) as theirs:
        bare = []
        for number in range(-1, rounds):
            bench.say(f"{number + 1} of {rounds}")
            for side, runs in (("ours", ours), ("langgraph", theirs)):
                for steps in (STEPS, MORE_STEPS):
                    seen = runs(steps=steps, name=f"wall-{steps}-{number}", count=BATCH)
                    if number >= 0:
                        made.setdefault((side, steps), []).extend(seen)
            bare += _bare_requests_ms(bench, BATCH)
    added = {side: _added_ms(made, side) for side in ("ours", "langgraph")}
    store_ms = statistics.median(bare)
    calls = len(made["ours", STEPS])
    return [
        Result(
            "run_step",
            f"wall clock that a step adds, over one request to the store ({store_ms:.2f} ms of a "
            "bare client)",
            "ms", "", 1.0, Figure(added["ours"] - store_ms, 0.0, calls),
        ),
        Result(
            "run_step_wall", f"wall clock that a step adds, store of {DELAY_MS} ms", "ms",
            "langgraph", None, Figure(added["ours"], 0.0, calls),
            Figure(added["langgraph"], 0.0, calls),
        ),
        Result(
            "run_cpu",
            f"a run of {STEPS} steps, CPU of SDK and sidecar, store of {DELAY_MS} ms", "us",
            "langgraph", 0.2, _cpu_us(made["ours", STEPS]), _cpu_us(made["langgraph", STEPS]),
        ),
    ]  # fmt: skip


def _added_ms(made: dict[tuple[str, int], list[list[float]]], side: str) -> float:
    few, more = (
        statistics.median([wall for wall, _, _ in made[side, steps]])
        for steps in (STEPS, MORE_STEPS)
    )
    return (more - few) * 1_000 / (MORE_STEPS - STEPS)


def _cpu_us(runs: list[list[float]]) -> Figure:
    return figure([(cpu + sidecar) * 1e6 for _, cpu, sidecar in runs])


def _bare_requests_ms(bench: Bench, count: int) -> list[float]:
    """Return how long the store takes for a request of a client that does nothing else."""
    context = ssl.create_default_context(cafile=str(bench.certificate))
    line = http.client.HTTPSConnection("localhost", bench.ports[str(DELAY_MS)], context=context)
    head = {"X-Amz-Target": "DynamoDB_20120810.TransactWriteItems"}
    taken = []
    for _ in range(count + 1):
        began = time.perf_counter()
        line.request("POST", "/", b" " * 4_096, head)
        line.getresponse().read()
        taken.append((time.perf_counter() - began) * 1_000)
    line.close()
    return taken[1:]


def _kept_rows(bench: Bench, python: str, folder: Path) -> list[Result]:
    sys.path.insert(0, str(ROOT / "tests"))
    from fakes.ministack import serve_ministack

    with serve_ministack(folder) as upstream, ExitStack() as ends:
        make_tables(upstream, TABLES)
        sides: dict[str, tuple[Meter, Runs]] = {}
        for side in ("ours", "langgraph"):
            meter = Meter(upstream)
            proxy = serve(meter)
            ends.callback(proxy.server_close)
            ends.callback(proxy.shutdown)
            url = f"http://127.0.0.1:{proxy.server_port}"
            variables = {
                "AWS_ENDPOINT_URL_DYNAMODB": url,
                "AWS_REGION": "us-east-1",
                "LAMBDALLM_STORE": "dynamodb://lambdallm",
            }
            begun = _ours(bench, variables) if side == "ours" else _theirs(python, variables)
            sides[side] = meter, ends.enter_context(begun)
        kept = _measure(bench, sides)
    ours, theirs = kept["ours"], kept["langgraph"]
    three = f"a run of {STEPS} steps"
    many = f"a run of {RESUMED_STEPS} steps that goes on with its last one"

    def pair(name: str, what: str, unit: str, each: Callable[[Kept], float]) -> Result:
        figures = [Figure(each(side), 0.0, side.runs) for side in (ours, theirs)]
        return Result(name, what, unit, "langgraph", None, *figures)

    return [
        Result("run_resume_reads", f"requests that read, of {many}; of langgraph: "
               f"{theirs.reads:g}", "", "", 2, Figure(ours.reads, 0.0, len(ours.resumed_ms))),
        Result("run_resume", many, "ms", "langgraph", None, figure(ours.resumed_ms),
               figure(theirs.resumed_ms)),
        pair("run_requests", f"requests to the store a step, of {three}", "",
             lambda side: side.requests / STEPS),
        pair("run_units", f"write units a step, of {three}", "",
             lambda side: side.write_units / STEPS),
        pair("run_bytes", f"bytes written a step, of {three}", "B",
             lambda side: side.bytes_written / STEPS),
        pair("run_usd", f"DynamoDB's price of 1,000 times {three}", "USD", lambda side: side.usd),
    ]  # fmt: skip


def _measure(bench: Bench, sides: dict[str, tuple[Meter, Runs]]) -> dict[str, Kept]:
    """Let both sides run by turns, so that what else the machine does is the same to them."""
    rounds, resumed = max(2, bench.calls // (10 * BATCH)), max(2, bench.rounds)
    for meter, runs in sides.values():
        runs(steps=STEPS, name="warm", count=WARM_RUNS)
        meter.reset()
    for number in range(rounds):
        bench.say(f"{number + 1} of {rounds}")
        for _, runs in sides.values():
            runs(steps=STEPS, name=f"run-{number}", count=BATCH)
    kept = {}
    for side, (meter, runs) in sides.items():
        made = rounds * BATCH
        usd = 1_000 * (meter.write_units * WRITE_USD + meter.read_units * READ_USD) / made
        totals = [meter.requests / made, meter.write_units / made, meter.bytes_written / made]
        bench.say(f"{resumed} runs of {side} go on")
        runs(steps=RESUMED_STEPS, name="long", count=resumed, fails=True)
        meter.reset()
        again = runs(steps=RESUMED_STEPS, name="long", count=resumed, resumes=True)
        reads = sum(meter.asked[operation] for operation in READS) / resumed
        kept[side] = Kept(made, *totals, usd, [each[0] * 1_000 for each in again], reads)
    return kept


@contextmanager
def _ours(bench: Bench, variables: dict[str, str]) -> Iterator[Runs]:
    """Begin a function with the layer; what is yielded lets it run chains."""
    from lambda_runtime_api.emulator import Environment

    environment = Environment(
        FUNCTIONS, "chains.handler", opt=bench.opt, variables={**variables, **MODEL},
        timeout_seconds=300, memory_mb=1_769,
    )  # fmt: skip
    with environment:
        ask(environment, steps=STEPS, name="first")

        def run(**asked: Any) -> list[list[float]]:
            environment.wait_until_idle()
            answer = ask(environment, sidecar=sidecar_pids(environment)[-1], **asked)
            environment.wait_until_idle()
            seen: list[list[float]] = answer["seen"]
            return seen

        yield run


@contextmanager
def _theirs(python: str, variables: dict[str, str]) -> Iterator[Runs]:
    """Begin a process with LangGraph; what is yielded lets it run graphs."""
    endpoint = variables["AWS_ENDPOINT_URL_DYNAMODB"]
    own = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test",
           "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip
    process = subprocess.Popen(
        [python, str(FUNCTIONS / "chains.py")], env={**own, **variables},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    written, read = process.stdin, process.stdout
    if written is None or read is None:
        raise RuntimeError("no pipes")

    def run(**asked: Any) -> list[list[float]]:
        written.write(json.dumps(asked) + "\n")
        written.flush()
        line = read.readline()
        if not line:
            message = f"LangGraph's process ended with status {process.wait(10)}"
            raise RuntimeError(message)
        seen: list[list[float]] = json.loads(line)
        return seen

    try:
        yield run
    finally:
        written.close()
        process.wait(30)
        read.close()
