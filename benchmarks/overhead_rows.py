"""A row about what lambdallm itself costs: requests of its table and lines of its log, in USD."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from bench import ROOT, Figure, Result, figure
from capacity import READ_USD, WRITE_USD, Meter, serve
from conversation_rows import make_tables

if TYPE_CHECKING:
    from bench import Bench

MODEL = "bedrock/anthropic.claude-3-haiku-20240307-v1:0"

CALLS = 100
"""Invocations of the chat example: a session is read and saved, and a model asked once, in each."""

CEILING_USD = 0.01
"""For 1,000 calls in the default configuration."""


def overhead_rows(bench: Bench) -> list[Result]:
    """Measure `overhead_usd`, and `overhead_table`, the part of it that a counting proxy sees."""
    from lambda_runtime_api.emulator import Environment

    sys.path.insert(0, str(ROOT / "tests"))
    from fakes.ministack import serve_ministack
    from lambdallm.testing.model_server import Answer, ModelServer

    calls = min(CALLS, bench.calls)
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="lambdallm-costs-")))
        upstream = ends.enter_context(serve_ministack(folder))
        make_tables(upstream, {"lambdallm": ("pk", "sk")})
        meter = Meter(upstream)
        proxy = serve(meter)
        ends.callback(proxy.server_close)
        ends.callback(proxy.shutdown)
        model = ends.enter_context(ModelServer([Answer("A line of an answer, as they are.")]))
        variables = {
            "AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{proxy.server_port}",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model.url,
            "AWS_REGION": "us-east-1",
            "LAMBDALLM_STORE": "dynamodb://lambdallm",
            "LAMBDALLM_MODEL": MODEL,
        }
        environment = Environment(
            ROOT / "examples/chat", "app.chat_handler", opt=bench.opt, variables=variables
        )
        with environment:
            for number in range(calls):
                bench.say(f"{number + 1} of {calls}")
                environment.invoke(_event(number))
                environment.wait_until_idle()
            environment.shutdown()
            lines = [line.text for line in environment.logs if line.text.startswith("{")]
    read = [json.loads(line, parse_float=Decimal) for line in lines]
    told = [line["OverheadUSD"] for line in read]
    own = sum("outcome" in line for line in read)
    bills = sum("ComputeUSD" in line for line in read)
    if (own, bills) != (calls, calls):
        message = f"{calls} invocations wrote {own} metric lines, and {bills} of bills."
        raise RuntimeError(message)
    table = meter.write_units * WRITE_USD + meter.read_units * READ_USD
    return [
        Result(
            "overhead_usd",
            f"what lambdallm causes, for 1,000 calls of chats of 10 turns ({calls} made)",
            "USD", "", CEILING_USD, _thousand(float(sum(told)), calls),
        ),
        Result(
            "overhead_table", "of that the table's requests, as a proxy counts them",
            "USD", "", None, _thousand(table, calls),
        ),
    ]  # fmt: skip


def _thousand(usd: float, calls: int) -> Figure:
    return figure([usd * 1_000 / calls])


def _event(number: int) -> dict[str, object]:
    return {
        "version": "2.0",
        "requestContext": {"http": {"method": "POST", "path": "/"}},
        "headers": {"content-type": "application/json", "x-session-id": f"s{number // 10}"},
        "body": json.dumps({"message": "A line of a question, as people write them."}),
        "isBase64Encoded": False,
    }
