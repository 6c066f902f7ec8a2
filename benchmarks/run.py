"""Measure every row of the table of budgets, both sides in one run, and say which bounds hold.

    ./build.sh bench                 all rows, about ten minutes
    ./build.sh bench --quick         few samples: does it run? its figures mean little
    ./build.sh bench warm_cpu save   these rows, with those that are measured together with them

It writes benchmarks/results.json and draws benchmarks/cold_path.svg. Exit code 1: a bound is
missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import budget_rows  # noqa: E402
import chart  # noqa: E402
import cold_rows  # noqa: E402
import conversation_rows  # noqa: E402
import overhead_rows  # noqa: E402
import price_rows  # noqa: E402
import response_rows  # noqa: E402
import run_rows  # noqa: E402
import stream_rows  # noqa: E402
import warm_rows  # noqa: E402
from bench import prepared  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench import Bench, Figure, Result

GROUPS: list[tuple[tuple[str, ...], Callable[[Bench], list[Result]]]] = [
    (("register", "first_next", "overlap", "overlap_ms"), cold_rows.start_rows),
    (("import", "first_read"), cold_rows.first_rows),
    (("warm_cpu", "warm_cpu_idle", "warm_p50"), warm_rows.read_rows),
    (("save", "before_response", "after_response"), warm_rows.save_rows),
    (("turn",), warm_rows.turn_rows),
    (
        ("stream_cpu", "stream_client", "stream_p50_1", "stream_p50_16", "stream_p50_64"),
        stream_rows.stream_rows,
    ),
    (response_rows.names(), response_rows.response_rows),
    (("rss", "private", "idle"), warm_rows.memory_rows),
    (tuple(conversation_rows.names()), conversation_rows.conversation_rows),
    (run_rows.names(), run_rows.run_rows),
    (("price_first", "price_call"), price_rows.price_rows),
    (("overhead_usd", "overhead_table"), overhead_rows.overhead_rows),
    (budget_rows.names(), budget_rows.budget_rows),
    (("layer",), cold_rows.layer_rows),
]
NAMES = [name for names, _ in GROUPS for name in names]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    options = _parse(arguments)
    wanted = options.rows or NAMES
    results: list[Result] = []
    with prepared(_say, quick=options.quick) as bench:
        for names, measure in GROUPS:
            if set(names) & set(wanted):
                _say(", ".join(names))
                results += measure(bench)
    _say("")
    print("\n".join(table(results)))
    if not options.rows:
        _write(results, options.output, quick=options.quick)
    return 1 if any(result.met is False for result in results) else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./build.sh bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", choices=[*NAMES, []], help="a row's name")
    parser.add_argument("--quick", action="store_true", help="few samples")
    parser.add_argument("--output", type=Path, default=HERE, help="where the files are written")
    return parser.parse_args(arguments)


def table(results: list[Result]) -> list[str]:
    """Write the rows as people read them."""
    lines = [f"{'':16} {'ours':>16} {'theirs':>16} {'ratio':>7} {'bound':>7}"]
    for result in results:
        if result.not_run:
            lines.append(f"{result.row:16} not run: {result.not_run}")
            continue
        ratio = "" if result.ratio is None else f"{result.ratio:.3f}"
        bound = "" if result.bound is None else f"{result.bound:g}"
        verdict = {True: "met", False: "MISSED", None: ""}[result.met]
        ours, theirs = _figure(result.ours, result.unit), _figure(result.theirs, result.unit)
        against = f" / {result.against}" if result.against else ""
        lines.append(
            f"{result.row:16} {ours:>16} {theirs:>16} {ratio:>7} {bound:>7} {verdict:7}"
            f"{result.what}{against}"
        )
    return lines


def _figure(figure: Figure | None, unit: str) -> str:
    if figure is None:
        return ""
    spread = f"±{figure.spread:.3g}" if figure.spread else ""
    return f"{figure.median:.4g}{spread} {unit}"


def _write(results: list[Result], folder: Path, *, quick: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    said: dict[str, Any] = {
        "date": datetime.now(tz=timezone.utc).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}",
        "python": platform.python_version(),
        "quick": quick,
        "rows": [result.to_json() for result in results],
    }
    (folder / "results.json").write_text(json.dumps(said, indent=1) + "\n")
    (folder / "cold_path.svg").write_text(chart.cold_path(said))


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif not text[:1].isdigit():
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
