"""What docs/response_streaming.md shows, run as it stands, where answers come in one piece."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambdallm.testing import MockLambdaContext

if TYPE_CHECKING:
    from lambdallm.testing import MockProvider

PAGE = Path(__file__).parents[2] / "docs/response_streaming.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDALLM_STORE", f"sqlite:///{tmp_path}/sessions.db")


def run(*blocks: str) -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": "app"}
    for block in blocks:
        exec(compile(block, "app.py", "exec"), scope)
    return scope


def post(body: Any = None, **headers: str) -> dict[str, Any]:
    return {"httpMethod": "POST", "path": "/", "headers": headers, "body": json.dumps(body)}


def test_every_block_is_run() -> None:
    assert len(BLOCKS) == 4


def test_a_conversation_in_events(lambdallm_model: MockProvider) -> None:
    lambdallm_model.responses = ["Hello, Ada.", "You are Ada."]
    chat = run(BLOCKS[0])["chat"]
    headers = {"x-session-id": "s"}
    chat(post({"message": "I am Ada."}, **headers), MockLambdaContext())
    answer = chat(post({"message": "Who am I?"}, **headers), MockLambdaContext())

    assert answer["body"] == 'data: You are Ada.\n\nevent: cost\ndata: {"usd": 0.0001}\n\n'
    assert "Hello, Ada." in lambdallm_model.prompts[1]


def test_a_body_and_a_head() -> None:
    scope = run(BLOCKS[1])
    table = scope["table"](post(), MockLambdaContext())
    begun = scope["begin"](post(), MockLambdaContext())

    assert table["headers"]["content-type"] == "text/csv"
    assert table["body"].endswith("999,998001\n")
    assert (begun["statusCode"], begun["headers"]["x-model"]) == (202, "nova")
    assert begun["cookies"] == ["seen=1; Secure"]
    assert begun["body"] == '{"status": "thinking"}\n{"status": "done"}\n'


def test_what_was_missed_comes_again(lambdallm_model: MockProvider) -> None:
    lambdallm_model.responses = ["It is sunny."]
    tell = run(BLOCKS[2])["tell"]
    event = post({"question": "And today?"}, **{"idempotency-key": "k"})
    answers = [tell(event, MockLambdaContext())["body"] for _ in range(2)]

    assert answers == ["It is sunny."] * 2
    assert len(lambdallm_model.prompts) == 1


def test_the_test_passes() -> None:
    run(BLOCKS[2], BLOCKS[3])["test_tells"]()
