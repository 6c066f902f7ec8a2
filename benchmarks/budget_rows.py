"""Rows about budgets: what admission costs a call, and how well many share one limit."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import ROOT, Figure, Result, figure

if TYPE_CHECKING:
    from bench import Bench

CALLS = 2_000

QUICK_CALLS = 100
"""With as many as that or fewer it is only tried whether the rows run."""

PROGRAM = f"""
import json, sys, time
sys.path.insert(0, sys.argv[1])
from lambdallm_extension.budget_settings import Budget, SpendingRules
from lambdallm_extension.domain.answers import ChatAnswer
from lambdallm_extension.price_book.pricing import Pricing
from lambdallm_extension.services.budgets import Budgets
from lambdallm_extension.services.calls import Books
from lambdallm_extension.services.metering import Totals
from lambdallm_extension.services.spending import Spending
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_extension.stores.memory import MemoryStore

MODEL = "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0"
clock = SystemClock()
store = MemoryStore(clock)
limit = 10 ** 21
rules = [Budget("daily", "organisation", limit_pico_usd=limit),
         Budget("monthly", "organisation", window="month", limit_pico_usd=limit),
         Budget("users", "user", limit_pico_usd=limit)]
pricing = Pricing(Settings.from_environ({{}}), None, None, None, None, None)
budgets = Budgets(lambda: rules, lambda: store, clock, lambda: "e1", lambda _: None)
spending = Spending(budgets, pricing, clock, SpendingRules(), "f", lambda: None)

class Recorder:
    def record(self, record, *, deadline_ms): pass

words = "Some words that somebody has said in a long conversation, as people do. " * 3
turns = [{{"role": ("user", "assistant")[place % 2], "content": [{{"text": words}}]}}
         for place in range(101)]
bodies = {{size: {{"messages": turns[:size], "inferenceConfig": {{"maxTokens": 100}}}}
          for size in (1, 101)}}
usage = dict.fromkeys(("uncached_input_tokens", "output_tokens", "cache_read_tokens",
                       "cache_write_5m_tokens", "cache_write_1h_tokens"), 10)
answer = ChatAnswer("Yes.", [], "stop", usage, MODEL, "", {{"inputTokens": 10}})

def call(books, body):
    one = books.open("c", "w", Totals(lambda: {{"user": "ada"}}), deadline_ms=1 << 50,
                     operation="chat", body=lambda _: body)
    one.intend(MODEL, region="us-east-1")
    one.settle(MODEL, answer, region="us-east-1")

def cpu_us(act):
    for _ in range(200):
        act()
    begun = time.process_time()
    for _ in range({CALLS}):
        act()
    return (time.process_time() - begun) * 1e6 / {CALLS}

def admit():
    budgets.admit({{"user": "ada"}}, 1000, deadline_ms=1 << 50).release()

held = budgets.admit({{"user": "ada"}}, 10 ** 15, deadline_ms=1 << 50)
held.release()
with_budgets = Books(Recorder(), pricing, clock, lambda: "e1", spending)
print(json.dumps([cpu_us(admit), *(cpu_us(lambda: call(with_budgets, bodies[size])) / 1000
                                   for size in (1, 101))]))
"""


def budget_rows(bench: Bench) -> list[Result]:
    """Measure what `names` lists, the first three each time in a new process."""
    (book,) = bench.opt.glob("**/price_book/prices.json")
    measured: list[list[float]] = []
    for _ in range(bench.rounds):
        done = subprocess.run(
            [bench.python, "-I", "-S", "-c", PROGRAM, str(book.parents[2])],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        measured.append(json.loads(done.stdout))
    admitted, short, long = (figure(column) for column in zip(*measured, strict=True))
    return [
        Result("budget_admit", "three budgets' admission of a call and its end, in process, CPU",
               "us", "", 20, admitted),
        Result("budget_call", "what metering and three budgets add to a call, CPU",
               "ms", "", 0.2, short),
        Result("budget_call_100", "the same with 100 messages before it", "ms", "", 0.2, long),
        *_shared(bench),
    ]  # fmt: skip


def _shared(bench: Bench) -> list[Result]:
    """Let workers share a limit over a server of others, and then those of a cached check."""
    if importlib.util.find_spec("ministack") is None:
        missing = "the DynamoDB-compatible server (PyPI: ministack) is not installed"
        return [Result(name, "", "", "", None, not_run=missing) for name in names()[-3:]]
    sys.path.insert(0, str(ROOT / "tests"))
    from e2e.conftest import make_table
    from fakes.ministack import serve_ministack
    from faults.budget_race import Race, race

    wanted = Race() if bench.calls > QUICK_CALLS else Race(calls=20)
    with tempfile.TemporaryDirectory() as folder, serve_ministack(Path(folder)) as url:
        make_table(url)
        ours, cached = (race(url, side, wanted) for side in ("leased", "cached"))
    beside = f"{wanted.workers} workers, one limit, a real server; a cached check:"

    def one(value: float, calls: int) -> Figure:
        return Figure(value, 0.0, calls)

    return [
        Result("budget_operations", f"store operations of a call, {beside} "
               f"{cached.operations_a_call:.2f}", "", "", 0.35,
               one(ours.operations_a_call, ours.calls)),
        Result("budget_unused", f"part of the limit that is never spent, {beside} "
               f"{cached.billed:.2f} times the limit", "", "", 0.01,
               one(1 - ours.billed, ours.calls)),
        Result("budget_spent", f"spent in parts of the limit; {1 / wanted.limit_share:g} were "
               "asked for", "x", "a sum read once in a minute", 1.0,
               one(ours.billed, ours.calls), one(cached.billed, cached.calls)),
    ]  # fmt: skip


def names() -> tuple[str, ...]:
    """Return the names of the rows."""
    return (
        "budget_admit", "budget_call", "budget_call_100", "budget_operations", "budget_unused",
        "budget_spent",
    )  # fmt: skip
