"""Rows about answers that are streamed to a client: when it has the first byte, what a chunk costs.

model ──TLS──► sidecar ─► function ─► Runtime API ─► client        ours: the two in the middle
model ──TLS──► boto3, FastAPI, uvicorn ────────────► client        theirs: the one in the middle
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import Figure, Result, cpu_seconds, family, figure, sidecar_pids
from stream_rows import CHUNKS, GAP_MS, model_served, reader_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench import Bench

    from lambda_runtime_api.emulator import Environment

FIRST_MS = 5.0
"""Until the client has the first byte, from when the model sent it."""

FIRST_MODEL = "5-10"

AGAINST = "FastAPI's StreamingResponse over boto3, alone: no registry has the web adapter"

_INSTANT = re.compile(rb"data: (\d+) ")
"""At which the model sent a chunk (`stream_peer`), in nanoseconds."""


class Side(NamedTuple):
    """One of the two ways from a model to a client.

    Attributes:
        pids: Of the processes whose CPU counts.
        ask: Has the model called that is named, and gives the pieces as the client gets them.
        settle: Waits until everything after an answer is done.
    """

    pids: Callable[[], list[int]]
    ask: Callable[[str], Iterator[bytes]]
    settle: Callable[[], None]


def names() -> tuple[str, ...]:
    """Return the rows' names."""
    return ("response_first", "response_cpu", "response_cpu_0")


def response_rows(bench: Bench) -> list[Result]:
    """Measure `response_first`, `response_cpu` and `response_cpu_0`."""
    rounds = max(3, bench.rounds // 3)
    with (
        model_served(bench) as variables,
        reader_of(bench, variables, "responses.handler") as environment,
        fastapi(variables) as theirs,
    ):
        sides = {"ours": _ours(environment), "theirs": theirs}
        for side in sides.values():
            b"".join(side.ask("20-1"))
        first = [first_ms(sides["ours"]) for _ in range(max(5, bench.calls // 4))]
        costs = {gap_ms: _costs(bench, sides, rounds, gap_ms) for gap_ms in (GAP_MS, 0)}
    what = "a chunk from model to client, CPU of all processes between them"
    return [
        Result(
            "response_first", "a stream's first byte at the client, after the model sent it", "ms",
            "", FIRST_MS, figure(first),
        ),
        Result(
            "response_cpu", f"{what}, {GAP_MS} ms apart", "us", AGAINST, 1.0,
            costs[GAP_MS]["ours"], costs[GAP_MS]["theirs"],
        ),
        Result(
            "response_cpu_0", f"{what}, as fast as they are taken", "us", AGAINST, 1.0,
            costs[0]["ours"], costs[0]["theirs"],
        ),
    ]  # fmt: skip


def _ours(environment: Environment) -> Side:
    def ask(model: str) -> Iterator[bytes]:
        stream = environment.invoke_stream(_event(model))
        yield from stream
        if stream.error is not None or not stream.streamed:
            lines = "\n".join(line.text for line in environment.logs[-20:])
            message = f"The function did not stream: {stream.error}\n{lines}"
            raise RuntimeError(message)

    def pids() -> list[int]:
        return [*family(environment.pids["runtime"]), *sidecar_pids(environment)]

    return Side(pids, ask, environment.wait_until_idle)


def _event(model: str) -> dict[str, object]:
    """Make a function URL's event."""
    return {
        "version": "2.0",
        "model": model,
        "rawPath": "/",
        "headers": {},
        "requestContext": {"http": {"method": "GET", "path": "/"}, "requestId": "1"},
        "isBase64Encoded": False,
    }


@contextlib.contextmanager
def fastapi(variables: dict[str, str]) -> Iterator[Side]:
    """Start their side; the variables lead it to the model."""
    keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
    with subprocess.Popen(  # its end closes their input, and they end
        [sys.executable, str(Path(__file__).parent / "web_adapter_peer.py")],
        env={**os.environ, **variables, **keys},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if process.stdout is None or not (line := process.stdout.readline()):
            raise RuntimeError("FastAPI did not start")
        port = int(line)
        yield Side(lambda: family(process.pid), lambda model: _get(port, model), lambda: None)


def _get(port: int, model: str) -> Iterator[bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with contextlib.closing(connection):
        connection.request("GET", f"/{model}")
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            message = f"FastAPI answered with status {response.status}."
            raise RuntimeError(message)
        while piece := response.read1():
            yield piece


def first_ms(side: Side) -> float:
    """Return how long a first chunk is on its way from the model to the client."""
    side.settle()
    received, came_at = b"", 0
    for piece in side.ask(FIRST_MODEL):
        if not _INSTANT.search(received):
            received, came_at = received + piece, time.monotonic_ns()
    sent = _INSTANT.search(received)
    if sent is None:
        message = f"This has no instant: {received[:200]!r}"
        raise RuntimeError(message)
    return (came_at - int(sent[1])) / 1e6


def _costs(bench: Bench, sides: dict[str, Side], rounds: int, gap_ms: int) -> dict[str, Figure]:
    """Return what a chunk costs on both sides, asked by turns in random order."""
    chance = random.Random(1)
    seen: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds):
        bench.say(f"{number + 1} of {rounds}, chunks {gap_ms} ms apart")
        for side in chance.sample(list(sides), len(sides)):
            seen[side].append(chunk_us(sides[side], CHUNKS, gap_ms))
    return {side: figure(values) for side, values in seen.items()}


def chunk_us(side: Side, chunks: int, gap_ms: int) -> float:
    """Return what each chunk of an answer costs.

    Raises:
        RuntimeError: Not all of them came.
    """
    side.settle()
    begun = cpu_seconds(side.pids())
    text = b"".join(side.ask(f"{chunks}-{gap_ms}"))
    side.settle()
    used = cpu_seconds(side.pids()) - begun
    if len(_INSTANT.findall(text)) != chunks:
        message = f"Of {chunks} chunks there came {len(_INSTANT.findall(text))}."
        raise RuntimeError(message)
    return used * 1e6 / chunks
