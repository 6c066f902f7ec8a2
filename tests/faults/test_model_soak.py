"""The long run of model calls before models that fail: one minute of it, with `--all`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.conftest import make_table
from fakes.ministack import serve_ministack
from faults.model_asks import MODELS
from faults.model_servers import Models
from faults.model_soak import SAMPLES, report, soak

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_call_is_lost_and_nothing_grows(layer: Path, tmp_path: Path) -> None:
    for name in ("models", "function", "table"):
        (tmp_path / name).mkdir()
    with serve_ministack(tmp_path / "table") as url, Models(tmp_path / "models") as models:
        result = soak(
            60, layer=layer, table=(url, make_table(url)), models=models,
            folder=tmp_path / "function", say=print,
        )  # fmt: skip

    assert not result.problems, "\n".join(report(result))
    assert len(result.samples) == SAMPLES
    assert {made.ask for made in result.made} == set(MODELS)
    failed = sum(not (made.whole or made.broken_off) for made in result.made)
    assert 0 < failed < len(result.made) / 10
