"""Rows about prices: the first question of an environment, and a call that is settled."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from bench import Result, figure

if TYPE_CHECKING:
    from bench import Bench

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"

CALLS = 2_000

PROGRAM = f"""
import json, sys, time
sys.path.insert(0, sys.argv[1])
from lambdallm_extension.settings import Settings
from lambdallm_extension.ports import Used
begun = time.perf_counter()
from lambdallm_extension.price_book.pricing import Pricing
pricing = Pricing(Settings.from_environ({{}}), None, None, None, None, None)
usage = dict.fromkeys(("uncached_input_tokens", "output_tokens", "cache_read_tokens",
                       "cache_write_5m_tokens", "cache_write_1h_tokens"), 1000)
used = Used(usage, "default", {{"inputTokens": 1000}})
def ask():
    pricing.prepare("bedrock/{MODEL}")
    return pricing.cost_pico_usd("bedrock/{MODEL}", "{MODEL}", used, epoch_ms=1795000000000,
                                 region="us-east-1")
assert ask() == 1000 * (3300000 + 16500000 + 330000 + 4125000 + 6600000)
first = time.perf_counter() - begun
begun = time.process_time()
for _ in range({CALLS}):
    ask()
print(json.dumps([first * 1000, (time.process_time() - begun) * 1000 / {CALLS}]))
"""


def price_rows(bench: Bench) -> list[Result]:
    """Measure `price_first` and `price_call`, each time in a new process."""
    (book,) = bench.opt.glob("**/price_book/prices.json")
    first: list[float] = []
    later: list[float] = []
    for _ in range(bench.rounds):
        done = subprocess.run(
            [bench.python, "-I", "-S", "-c", PROGRAM, str(book.parents[2])],
            check=True,
            capture_output=True,
            text=True,
        )
        one, other = json.loads(done.stdout)
        first.append(one)
        later.append(other)
    return [
        Result(
            "price_first", "loading the price book, with its modules, and the first question, wall",
            "ms", "", 3, figure(first),
        ),
        Result("price_call", "what a settled call costs, CPU", "ms", "", 0.2, figure(later)),
    ]  # fmt: skip
