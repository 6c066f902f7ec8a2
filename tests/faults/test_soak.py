"""The long run with faults: a short one always, ten thousand invocations with `--all`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.processes import slope_per_thousand
from faults.soak import Result, report, soak
from lambdallm.testing import ModelServer

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Service

RISE_MAX_KB = 300
"""In 1,000 invocations, once the first fifth is over. A leaked session would be thousands."""


def run(invocations: int, layer: Path, dynamodb: Service, folder: Path) -> tuple[Result, Result]:
    lines: list[str] = []
    with ModelServer(["Heard {count}."]) as model:
        results = soak(
            invocations, layer=layer, table=tuple(dynamodb), model_url=model.url, folder=folder,
            say=lines.append,
        )  # fmt: skip
    assert lines
    return results


def assert_nothing_failed(results: tuple[Result, Result]) -> None:
    for name, result in zip(("gentle", "deadly"), results, strict=True):
        assert not result.problems, "\n".join(report(name, result))


def test_faults_fail_no_invocation(layer: Path, dynamodb: Service, tmp_path: Path) -> None:
    gentle, deadly = run(250, layer, dynamodb, tmp_path)

    assert_nothing_failed((gentle, deadly))
    assert gentle.faults.total() > 5


@pytest.mark.slow
def test_ten_thousand_invocations_leave_memory_files_and_threads_as_they_were(
    layer: Path, dynamodb: Service, tmp_path: Path
) -> None:
    gentle, deadly = run(10_000, layer, dynamodb, tmp_path)

    assert_nothing_failed((gentle, deadly))
    assert set(deadly.faults) == {
        "function exits", "function runs into its timeout", "host fails", "sidecar is killed",
        "spindown",
    }  # fmt: skip
    for samples in (gentle.sidecar, gentle.function):
        settled = samples[len(samples) // 5 :]
        rises = {
            field: slope_per_thousand([(number, getattr(each, field)) for number, each in settled])
            for field in settled[0][1]._fields
        }
        assert rises["private_kb"] < RISE_MAX_KB, rises
        assert abs(rises["descriptors"]) < 0.5, rises
        assert abs(rises["threads"]) < 0.5, rises
