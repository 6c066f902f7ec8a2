"""The benchmark: how rows are judged and written; and, with `--all`, that it runs."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BENCHMARKS = REPOSITORY / "benchmarks"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType, ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import bench
    import chart
    import run

    return bench, chart, run


def test_a_figure_is_a_median_and_its_spread(
    modules: tuple[ModuleType, ModuleType, ModuleType],
) -> None:
    bench, _, _ = modules

    assert bench.figure([1.0, 9.0, 2.0, 3.0, 2.0]) == (2.0, 1.0, 5)


def test_a_bound_is_of_the_ratio_or_of_our_own_figure(
    modules: tuple[ModuleType, ModuleType, ModuleType],
) -> None:
    bench, _, _ = modules
    ours, theirs = bench.Figure(2.0, 0, 1), bench.Figure(20.0, 0, 1)
    row = bench.Result("r", "what", "ms", "boto3", 0.1, ours, theirs)

    assert (row.ratio, row.met) == (0.1, True)
    assert row._replace(bound=0.09).met is False
    assert row._replace(theirs=None, bound=2).met is True
    assert row._replace(theirs=None, bound=1.9).met is False
    assert row._replace(ours=None, not_run="no control groups").met is None


def test_the_table_says_what_is_missed_and_what_was_not_run(
    modules: tuple[ModuleType, ModuleType, ModuleType],
) -> None:
    bench, _, run = modules
    missed = bench.Result(
        "slow", "a read", "us", "boto3", 0.1, bench.Figure(9, 0.5, 3), bench.Figure(10, 0, 3)
    )
    lines = run.table([missed, bench.Result("turn", "", "ms", "", 1, not_run="no control groups")])

    assert "9±0.5 us" in lines[1]
    assert "0.900" in lines[1]
    assert "MISSED" in lines[1]
    assert lines[2].endswith("not run: no control groups")


def test_the_figures_that_are_committed_have_every_row_and_the_chart_shows_them(
    modules: tuple[ModuleType, ModuleType, ModuleType],
) -> None:
    _, chart, run = modules
    said = json.loads((BENCHMARKS / "results.json").read_text())

    assert [row["row"] for row in said["rows"]] == run.NAMES
    assert said["quick"] is False
    assert (BENCHMARKS / "cold_path.svg").read_text() == chart.cold_path(said)


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", "--quick", "--output", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode in (0, 1), done.stderr
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["row"] for row in rows if row["ours"] is None and not row["not_run"]] == []
    assert (tmp_path / "cold_path.svg").read_text().startswith("<svg")
