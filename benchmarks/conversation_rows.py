"""Rows about one long conversation, beside what others keep it with, on one server.

LangGraph's checkpointer and the earlier package live in virtual environments of their own, made
here. All three speak to the same DynamoDB-compatible server through one proxy that counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import FUNCTIONS, ROOT, Figure, Result, figure
from capacity import READ_USD, WRITE_USD, Meter, serve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench import Bench

RIVALS = {
    "langgraph": ("langgraph==1.2.22", "langgraph-checkpoint-aws==1.2.6"),
    "earlier": ("substrai-lambdallm==2.3.0", "boto3"),
}

TABLES = {
    "lambdallm": ("pk", "sk"),
    "langgraph": ("PK", "SK"),
    "lambdallm-sessions": ("session_id",),
}

TURNS, TURNS_QUICK = 200, 60

LAST = 20
"""Turns at the end of the conversation, compared with as many in its middle."""


class Kept(NamedTuple):
    """What one side's conversation took, by its turns."""

    cpu_us: list[float]
    bytes_written: list[int]
    read_units: int
    write_units: int

    @property
    def growth(self) -> float:
        """Bytes written in the last turns to those in the middle, of a turn."""
        middle = len(self.bytes_written) // 2
        return sum(self.bytes_written[-LAST:]) / sum(self.bytes_written[middle : middle + LAST])

    @property
    def usd(self) -> float:
        """Of 1,000 turns at this length."""
        return (
            1_000 * (self.read_units * READ_USD + self.write_units * WRITE_USD) / len(self.cpu_us)
        )


def conversation_rows(bench: Bench) -> list[Result]:
    """Measure `conversation_bytes`, `conversation_cpu` and `conversation_usd`."""
    turns = TURNS if bench.calls >= TURNS else TURNS_QUICK
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="lambdallm-rivals-")))
        sides: dict[str, Kept | str] = {}
        sys.path.insert(0, str(ROOT / "tests"))
        from fakes.ministack import serve_ministack

        upstream = ends.enter_context(serve_ministack(folder))
        make_tables(upstream, TABLES)
        for side in ("ours", *RIVALS):
            bench.say(f"{turns} turns of {side}")
            try:
                sides[side] = _converse(side, python_of(side, folder), upstream, turns)
            except subprocess.CalledProcessError as error:
                sides[side] = f"{error.cmd[-1]} ended with status {error.returncode}"
    return [row for rival in RIVALS for row in _rows(sides["ours"], sides[rival], rival, turns)]


def _rows(ours: Kept | str, theirs: Kept | str, rival: str, turns: int) -> list[Result]:
    what = {
        "bytes": (f"bytes written a turn, at the end of {turns} to the middle", "x"),
        "last": (f"bytes written by the last of {turns} turns", "B"),
        "cpu": ("CPU of a turn's load and save, engine included", "us"),
        "units": ("write and read units of a turn", "units"),
        "usd": ("DynamoDB's price of 1,000 turns", "USD"),
    }
    bounds = {"bytes": None, "cpu": 0.2}
    if isinstance(ours, str) or isinstance(theirs, str):
        why = ours if isinstance(ours, str) else str(theirs)
        return [Result(f"{rival}_{name}", *say, rival, None, not_run=why)
                for name, say in what.items()]  # fmt: skip
    return [
        Result(f"{rival}_{name}", *say, rival, bounds.get(name), _value(ours, name),
               _value(theirs, name))
        for name, say in what.items()
    ]  # fmt: skip


def _value(kept: Kept, name: str) -> Figure:
    turns = len(kept.cpu_us)
    if name == "cpu":
        return figure(kept.cpu_us[5:])
    if name == "last":
        return figure(kept.bytes_written[-LAST:])
    values = {
        "bytes": kept.growth, "usd": kept.usd,
        "units": (kept.read_units + kept.write_units) / turns,
    }  # fmt: skip
    return Figure(values[name], 0.0, turns)


def _converse(side: str, python: str, upstream: str, turns: int) -> Kept:
    meter = Meter(upstream)
    server = serve(meter)
    try:
        return _run(side, python, meter, f"http://127.0.0.1:{server.server_port}", turns)
    finally:
        server.shutdown()
        server.server_close()


def _run(side: str, python: str, meter: Meter, url: str, turns: int) -> Kept:
    """Run the turns in one process; its first line is printed when all are done."""
    variables = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "LAMBDALLM_STORE": "dynamodb://lambdallm",
        "LAMBDALLM_SIDECAR": "off",
        "LAMBDALLM_TELEMETRY": "off",
    }
    done = subprocess.Popen(
        [python, str(FUNCTIONS / "conversation.py"), side, str(turns)],
        env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    if done.stdin is None or done.stdout is None:
        raise RuntimeError("no pipes")
    cpu_us, written = [], []
    for _ in range(turns):
        before = meter.bytes_written
        done.stdin.write("\n")
        done.stdin.flush()
        line = done.stdout.readline()
        if not line:
            break
        cpu_us.append(float(line) * 1e6)
        written.append(meter.bytes_written - before)
    done.stdin.close()
    done.stdout.close()
    if done.wait(30) or len(cpu_us) < turns:
        raise subprocess.CalledProcessError(done.returncode or 1, [side])
    return Kept(cpu_us, written, meter.read_units, meter.write_units)


def python_of(side: str, folder: Path) -> str:
    """Return an interpreter that finds one side's package."""
    if side == "ours":
        return sys.executable
    subprocess.run([sys.executable, "-m", "venv", str(folder / side)], check=True)
    python = str(folder / side / "bin" / "python")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *RIVALS[side]],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return python


def make_tables(upstream: str, tables: Mapping[str, tuple[str, ...]]) -> None:
    """Make tables, each with the names of its keys."""
    import boto3

    client: Any = boto3.client(
        "dynamodb", endpoint_url=upstream, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",  # noqa: S106 - a server that asks for none
    )  # fmt: skip
    for table, names in tables.items():
        kinds = dict(zip(names, ("HASH", "RANGE"), strict=False))
        client.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": n, "KeyType": kind} for n, kind in kinds.items()],
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in names],
        )
    client.close()


def names() -> Sequence[str]:
    """Return the names of the rows."""
    kinds = ("bytes", "last", "cpu", "units", "usd")
    return [f"{rival}_{kind}" for rival in RIVALS for kind in kinds]
