"""Whatever is acknowledged is there once, in one order for all who read: with real processes."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from fakes.converse_rules import window_faults
from fakes.microburst import serve_microburst
from faults.session_writers import FUNCTION, TABLE_FAULTS, Writers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.conftest import Service, Start

READS_MAX = 30
"""What left before it was stored may come while others read."""


def run(
    emulator: Start, layer: Path, dynamodb: Service, folder: Path, *,
    durability: str, each: int, rounds: int, kills: int,
) -> tuple[Any, list[str], list[dict[str, Any]]]:  # fmt: skip
    """Return what the writers were told, what stands in the table, and what all readers see."""
    session = f"{durability} {each} {rounds} {kills}"
    with ExitStack() as stack:
        table = stack.enter_context(serve_microburst(folder, dynamodb.url))
        variables = {
            "LAMBDALLM_STORE": f"dynamodb://{dynamodb.table}",
            "AWS_ENDPOINT_URL_DYNAMODB": table.url,
            "DURABILITY": durability,
        }
        environments = [
            stack.enter_context(
                emulator({"app.py": FUNCTION}, "app.serve", opt=layer, variables=variables,
                         timeout_seconds=15)
            )
            for _ in range(3)
        ]  # fmt: skip
        table.rules(*({"service": "dynamodb", **rule} for rule in TABLE_FAULTS))
        told = Writers(environments, session).write(each, rounds, kills)
        table.rules()
        for _ in range(READS_MAX):
            seen = [read(environment, session) for environment in environments for _ in "ab"]
            if all(other == seen[0] for other in seen):
                break  # nothing is on its way any more
    assert all(other == seen[0] for other in seen)
    return told, seen[0], [{"role": ("user", "assistant")[place % 2], "content": text}
                           for place, text in enumerate(seen[0])]  # fmt: skip


def read(environment: Any, session: str) -> list[str]:
    invocation = environment.invoke({"session": session})
    assert invocation.error_type is None, (invocation.payload, invocation.logs)
    environment.wait_until_idle()
    seen: list[str] = invocation.json()["seen"]
    return seen


def check(told: Any, seen: list[str], window: list[dict[str, Any]]) -> None:
    questions, answers = seen[::2], seen[1::2]
    assert [text.replace(" asks", " hears") for text in questions] == answers
    names = [text.removesuffix(" asks") for text in questions]
    assert len(names) == len(set(names)), "something is there twice"
    assert set(told.acknowledged) <= set(names), "something acknowledged is lost"
    assert len(told.acknowledged) == len(set(told.acknowledged))
    assert not window_faults(window)


def test_fifty_writers_lose_nothing_and_keep_one_order(
    emulator: Start, layer: Path, dynamodb: Service, tmp_path: Path
) -> None:
    told, seen, window = run(
        emulator, layer, dynamodb, tmp_path,
        durability="before_response", each=17, rounds=1, kills=2,
    )  # fmt: skip

    check(told, seen, window)
    assert len(told.acknowledged) == 51


@pytest.mark.slow
def test_for_long(
    emulator: Start,
    layer: Path,
    dynamodb: Service,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    told, seen, window = run(
        emulator, layer, dynamodb, tmp_path,
        durability="before_response", each=17, rounds=12, kills=24,
    )  # fmt: skip
    figures = told._replace(acknowledged=[], receipts={})._asdict()
    record_property("figures", json.dumps(figures))

    check(told, seen, window)
    assert len(told.acknowledged) == 612


@pytest.mark.slow
def test_without_kills_an_early_answer_is_stored_too(
    emulator: Start, layer: Path, dynamodb: Service, tmp_path: Path
) -> None:
    """With kills it is stored, or its receipt tells that it is lost."""
    told, seen, window = run(
        emulator, layer, dynamodb, tmp_path,
        durability="after_response", each=17, rounds=3, kills=0,
    )  # fmt: skip

    missing = {*told.acknowledged} - {text.removesuffix(" asks") for text in seen[::2]}
    assert all(told.receipts[name] for name in missing)
    check(told._replace(acknowledged=[n for n in told.acknowledged if n not in missing]), seen,
          window)  # fmt: skip
