"""Rows about streams: what a chunk costs, and what it is held up for, on its way through."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import FUNCTIONS, Result, ask, figure, sidecar_pids

from lambda_runtime_api.emulator import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench import Bench

CHUNKS = 500
GAP_MS = 2
"""Between the chunks whose CPU is counted: they come one by one, as those of a fast model do."""

CALM_CHUNKS = 60
CALM_GAPS_MS = {1: 10, 16: 40, 64: 160}
"""Between those whose way is timed, by the streams at once: 100 chunks a second, or 400. The
machine must not be the limit, nor be asleep.
"""

BOUND_STREAMS_MAX = 16
"""More at once are printed, without a bound."""


@contextlib.contextmanager
def model_served(bench: Bench) -> Iterator[dict[str, str]]:
    """Start the model that streams; yield what a process must know to ask it."""
    script = str(Path(__file__).parent / "stream_peer.py")
    key = bench.certificate.with_suffix(".key")
    with subprocess.Popen(  # its end closes the peer's input, and it ends
        [sys.executable, script, str(bench.certificate), str(key)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as peer:
        if peer.stdout is None or not (line := peer.stdout.readline()):
            raise RuntimeError("the model did not start")
        port = line.strip()
        yield {
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": f"https://localhost:{port}",
            "OPENAI_BASE_URL": f"https://localhost:{port}/v1",
            "OPENAI_API_KEY": "bench",
            "AWS_CA_BUNDLE": str(bench.certificate),
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "STREAM_PORT": port,
            "PACKAGES": sysconfig.get_path("purelib"),
        }


def reader_of(
    bench: Bench, variables: dict[str, str], handler: str = "streams.handler"
) -> Environment:
    """Make an execution environment whose function asks that model."""
    return Environment(
        FUNCTIONS,
        handler,
        opt=bench.opt,
        variables=variables,
        memory_mb=1_769,
        timeout_seconds=120,
    )


def _ask(environment: Environment, **event: Any) -> dict[str, Any]:
    if environment.pids:
        event["sidecar"] = sidecar_pids(environment)[-1]
    environment.wait_until_idle()
    return ask(environment, **event)


def _chunk_us(seen: dict[str, Any], *processes: int) -> float:
    """Return the CPU of a chunk in these processes: 0 the function's, 1 the sidecar's."""
    return sum(seen["seen"][process] for process in processes) * 1e6 / int(seen["pieces"])


def stream_rows(bench: Bench) -> list[Result]:
    """Measure what a chunk costs, and how long it is on its way."""
    rounds = max(3, bench.rounds // 3)
    model = f"{CHUNKS}-{GAP_MS}"
    costs: dict[str, list[dict[str, Any]]] = {"sdk": [], "boto3": [], "openai": []}
    with model_served(bench) as variables, reader_of(bench, variables) as environment:
        for reader in costs:
            _ask(environment, reader=reader, model="20-1")
        for number in range(rounds):
            bench.say(f"{number + 1} of {rounds}")
            for reader, seen in costs.items():
                seen.append(_ask(environment, reader=reader, model=model))
        ways = {streams: _ways(bench, environment, streams, rounds) for streams in CALM_GAPS_MS}
    rows = [
        Result(
            "stream_cpu", "a streamed chunk, CPU of SDK and sidecar", "us",
            "boto3 converse_stream in process", 0.6,
            figure([_chunk_us(seen, 0, 1) for seen in costs["sdk"]]),
            figure([_chunk_us(seen, 0) for seen in costs["boto3"]]),
        ),
        Result(
            "stream_client", "a streamed chunk of an unmodified client, the sidecar's CPU", "us",
            "the openai client's own", 0.5,
            figure([_chunk_us(seen, 1) for seen in costs["openai"]]),
            figure([_chunk_us(seen, 0) for seen in costs["openai"]]),
        ),
    ]  # fmt: skip
    for streams, added in ways.items():
        bound = 100.0 if streams <= BOUND_STREAMS_MAX else None
        what = f"a streamed chunk, p50 added to its way, streams at once: {streams}"
        rows.append(Result(f"stream_p50_{streams}", what, "us", "", bound, figure(added)))
    return rows


def _ways(bench: Bench, environment: Environment, streams: int, rounds: int) -> list[float]:
    """Return by how much the median way through the sidecar is longer than the direct one."""
    added = []
    for number in range(rounds):
        bench.say(f"{number + 1} of {rounds}, {streams} at once")
        median = {}
        for direct in (True, False):
            seen = _ask(
                environment,
                reader="raw",
                model=f"{CALM_CHUNKS}-{CALM_GAPS_MS[streams]}",
                streams=streams,
                direct=direct,
            )
            median[direct] = statistics.median(seen["ways"])
        added.append(median[False] - median[True])
    return added
