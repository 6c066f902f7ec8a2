"""Workers share one limit over servers of others, in real time; beside them a cached check."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from e2e.conftest import make_table
from fakes.dynalite import serve_dynalite
from fakes.ministack import serve_ministack
from faults.budget_race import Race, race

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SERVERS = {"ministack": serve_ministack, "dynalite": serve_dynalite}


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A server with the table; dynalite does not say why a condition is refused."""
    with SERVERS[request.param](tmp_path) as served:
        make_table(served)
        yield served


@pytest.mark.parametrize(
    "wanted",
    [
        Race(workers=8, calls=30, call_seconds=0.01),
        pytest.param(Race(), marks=pytest.mark.slow),
    ],
    ids=["a few", "64"],
)
def test_all_of_a_limit_is_used_and_no_more(
    url: str, record_property: Callable[[str, object], None], wanted: Race
) -> None:
    ours = race(url, "leased", wanted)
    record_property("figures", json.dumps(ours._asdict()))

    assert 0.95 <= ours.billed <= 1
    assert ours.recorded == pytest.approx(ours.billed, abs=1e-12), "what is not spent went back"
    assert ours.refused, "more was asked for"
    if wanted.workers == 64:
        assert ours.billed >= 0.99
        assert ours.operations_a_call <= 0.35


@pytest.mark.slow
def test_a_cached_check_lets_the_same_load_through(
    url: str, record_property: Callable[[str, object], None]
) -> None:
    cached = race(url, "cached", Race())
    record_property("figures", json.dumps(cached._asdict()))

    assert cached.billed > 1.5
