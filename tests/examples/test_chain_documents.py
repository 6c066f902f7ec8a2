"""What docs/chains.md shows, run as it stands: on SQLite, with a scripted model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lambdallm
from lambdallm.testing import MockLambdaContext

if TYPE_CHECKING:
    from lambdallm.testing import MockProvider

PAGE = Path(__file__).parents[2] / "docs/chains.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def run(block: str, **names: Any) -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": "app", **names}
    exec(compile(block, "app.py", "exec"), scope)
    return scope


def post(**body: Any) -> dict[str, Any]:
    return {"httpMethod": "POST", "path": "/", "headers": {}, "body": json.dumps(body)}


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDALLM_STORE", f"sqlite:///{tmp_path}/chains.db")


def test_every_block_is_run() -> None:
    assert len(BLOCKS) == 4


def test_a_chain_in_a_handler(lambdallm_model: MockProvider) -> None:
    lambdallm_model.responses = ["1. Tides.", "Tides come and go."]
    handler = run(BLOCKS[0])["report"]

    answer = handler(post(topic="tides"), MockLambdaContext())

    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]) == {"words": 4}


def test_steps_of_a_handlers_own(lambdallm_model: MockProvider) -> None:
    lambdallm_model.responses = ["Thank you."]
    charged: list[str] = []

    def charge_card(card: str) -> int:
        charged.append(card)
        return 12

    handler = run(BLOCKS[1], charge_card=charge_card)["order"]

    answer = handler(post(card="4242"), MockLambdaContext())

    assert json.loads(answer["body"]) == {"charge": 12, "mail": "Thank you."}
    assert charged == ["4242"]


def test_a_chain_that_waits(
    lambdallm_model: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    lambdallm_model.responses = ["Dear Ada"]
    chain = run(BLOCKS[3])["CHAIN"]

    waiting = chain.run(run_id="letter-1", input="Ada")
    token = waiting.waits["release"]
    done = chain.run(run_id=lambdallm.approve(token, by="ada"))

    assert (waiting.status, done.status, done.final_output) == (
        "checkpointed", "completed", "Dear Ada",
    )  # fmt: skip
    assert token in capsys.readouterr().out


def test_a_migration_is_declared() -> None:
    run(BLOCKS[2])
