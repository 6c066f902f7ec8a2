"""Whatever is acknowledged is there once, in one order for all who read: with real processes."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from fakes.converse_rules import window_faults
from fakes.microburst import serve_microburst
from faults.receipt_readers import Readers
from faults.session_writers import FUNCTION, TABLE_FAULTS, Writers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.conftest import Service, Start

READS_MAX = 30
"""What left before it was stored may come while others read."""


Opened = tuple[Any, list[Any]]


@pytest.fixture
def open_environments(
    emulator: Start, layer: Path, dynamodb: Service, tmp_path: Path
) -> Callable[[str], AbstractContextManager[Opened]]:
    """Start four environments before a table whose faults can be set."""

    @contextmanager
    def opened(durability: str) -> Iterator[Opened]:
        with ExitStack() as stack:
            table = stack.enter_context(serve_microburst(tmp_path, dynamodb.url))
            variables = {
                "LAMBDALLM_STORE": f"dynamodb://{dynamodb.table}",
                "AWS_ENDPOINT_URL_DYNAMODB": table.url,
                "DURABILITY": durability,
            }
            start = partial(emulator, {"app.py": FUNCTION}, "app.serve", opt=layer)
            made = [start(variables=variables, timeout_seconds=15) for _ in range(4)]
            yield table, [stack.enter_context(environment) for environment in made]

    return opened


def all_read_the_same(started: list[Any], session: str) -> list[str]:
    """Return what all readers see when nothing is on its way any more."""
    for environment in started:
        environment.invoke({"session": session})  # the last kill may be seen only now
        environment.wait_until_idle()
    for _ in range(READS_MAX):
        seen = [read(environment, session) for environment in started for _ in "ab"]
        if all(other == seen[0] for other in seen):
            break
    assert all(other == seen[0] for other in seen)
    return seen[0]


def read(environment: Any, session: str) -> list[str]:
    invocation = environment.invoke({"session": session})
    assert invocation.error_type is None, (invocation.payload, invocation.logs)
    environment.wait_until_idle()
    seen: list[str] = invocation.json()["seen"]
    return seen


def check(told: Any, seen: list[str]) -> list[str]:
    """Return the names of what stands in the session, each once, in one order."""
    questions, answers = seen[::2], seen[1::2]
    assert [text.replace(" asks", " hears") for text in questions] == answers
    names = [text.removesuffix(" asks") for text in questions]
    assert len(names) == len(set(names)), "something is there twice"
    assert set(told.acknowledged) <= set(names), "something acknowledged is lost"
    assert len(told.acknowledged) == len(set(told.acknowledged))
    window = [{"role": ("user", "assistant")[place % 2], "content": text}
              for place, text in enumerate(seen)]  # fmt: skip
    assert not window_faults(window)
    return names


@pytest.mark.parametrize(
    ("rounds", "kills"),
    [(1, 2), pytest.param(12, 24, marks=pytest.mark.slow)],
    ids=["once", "for long"],
)
def test_fifty_writers_lose_nothing_and_keep_one_order(
    open_environments: Callable[[str], AbstractContextManager[Opened]],
    record_property: Callable[[str, object], None],
    rounds: int,
    kills: int,
) -> None:
    session = f"many {rounds}"
    with open_environments("before_response") as (table, started):
        table.rules(*TABLE_FAULTS)
        told = Writers(started[:3], session).write(17, rounds, kills)
        table.rules()
        seen = all_read_the_same(started, session)
    figures = told._replace(acknowledged=[], receipts={}, stored=[])._asdict()
    record_property("figures", json.dumps(figures))

    check(told, seen)
    assert len(told.acknowledged) == 51 * rounds


@pytest.mark.parametrize(
    ("each", "rounds", "kills"),
    [
        (8, 2, 3),
        pytest.param(17, 3, 0, marks=pytest.mark.slow),
        pytest.param(17, 8, 24, marks=pytest.mark.slow),
    ],
    ids=["once", "without kills", "for long"],
)
def test_what_a_receipt_has_shown_once_stays(
    open_environments: Callable[[str], AbstractContextManager[Opened]],
    record_property: Callable[[str, object], None],
    each: int,
    rounds: int,
    kills: int,
) -> None:
    """Answers leave before they are stored; processes die between the two, and before a reader."""
    session = f"early {each} {rounds} {kills}"
    with open_environments("after_response") as (table, started):
        *writing, reading = started
        table.rules(*TABLE_FAULTS)
        writers = Writers(writing, session, at_answers=True)
        with Readers(reading, session, lambda: writers.receipts) as readers:
            told = writers.write(each, rounds, kills)
        table.rules()
        for name, receipt in told.receipts.items():
            readers.present(name, receipt)
        seen = all_read_the_same(started, session)
    record_property("figures", json.dumps({
        "acknowledged": len(told.acknowledged), "stored": len(told.stored), "kills": told.kills,
        "shown": len(readers.shown), "lost": len(readers.lost), "reads": len(readers.orders),
    }))  # fmt: skip

    assert not readers.faults
    names = check(told._replace(acknowledged=[*{*told.stored, *readers.shown}]), seen)
    assert len(told.acknowledged) == 3 * each * rounds
    assert not readers.lost & {*names}, "what was said to be lost came all the same"
    for order in readers.orders:
        places = [names.index(name) for name in order]
        assert places == sorted(places), "another order than this reader's"
