"""What docs/structured_output.md shows, run as it stands."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from lambdallm import Prompt
from lambdallm.testing import MockLambdaContext
from lambdallm_extension.providers.bedrock.models import takes_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm.testing import MockProvider

PAGE = (Path(__file__).parents[2] / "docs/structured_output.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FILES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def load(block: str, name: str, **body: Any) -> Any:
        module = ModuleType("structured_page")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(block, "app.py", "exec", dont_inherit=True), vars(module))
        event = {"httpMethod": "POST", "path": "/", "headers": {}, "body": json.dumps(body)}
        answer = getattr(module, name)(event, MockLambdaContext())
        assert answer["statusCode"] == 200, answer
        return json.loads(answer["body"])

    return load


def test_every_block_is_run() -> None:
    assert (len(BLOCKS), len(FILES)) == (4, 1)


def test_a_class(run: Any, lambdallm_model: MockProvider) -> None:
    lambdallm_model.say('{"mood": "bad", "about": ["lid"], "more": 1}')

    assert run(BLOCKS[0], "read", text="The lid!") == {"mood": "bad", "about": ["lid"]}


def test_a_wrong_answer(run: Any, lambdallm_model: MockProvider) -> None:
    lambdallm_model.say("Two.", '{"moons": 2}')

    assert run(BLOCKS[1], "ask") == {
        "finish_reason": "stop",
        "said": "Two.",
        "wrong": [{"field": "answer", "detail": "holds no JSON"}],
    }
    assert run(BLOCKS[1], "ask") == {"moons": 2}


def test_what_grows(run: Any, lambdallm_model: MockProvider) -> None:
    lambdallm_model.say('{"days": ["fjord", "museum"]}')

    assert run(BLOCKS[2], "plan")["plan"] == {"days": ["fjord", "museum"]}


def test_a_prompt(run: Any, lambdallm_model: MockProvider) -> None:
    lambdallm_model.say('{"summary": "Short."}')

    assert run(BLOCKS[3], "summarize", text="Long") == {"summary": "Short."}


def test_a_file_of_versions(tmp_path: Path) -> None:
    path = tmp_path / "summary.yaml"
    path.write_text(FILES[0])

    assert Prompt.from_yaml(path).template == "Sum up for children:\n{text}\n"
    assert Prompt.from_yaml(path, version="1.0.0").template == "Sum up: {text}"


@pytest.mark.parametrize(
    ("model_id", "by_field"),
    [
        ("mistral.mistral-large-3-675b-instruct", True),
        ("mistral.ministral-3-3b-instruct", True),
        ("qwen.qwen3-32b-v1:0", True),
        ("deepseek.v3.2", True),
        ("google.gemma-3-27b-it", True),
        ("openai.gpt-oss-120b-1:0", True),
        ("nvidia.nemotron-nano-9b-v2", True),
        ("minimax.minimax-m2", True),
        ("moonshotai.kimi-k2.5", True),
        ("zai.glm-4.7-flash", True),
        ("us.amazon.nova-2-lite-v1:0", False),
        ("us.meta.llama4-maverick-17b-instruct-v1:0", False),
        ("cohere.command-r-plus-v1:0", False),
        ("amazon.titan-text-express-v1", False),
    ],
)
def test_the_table_of_models(model_id: str, by_field: bool) -> None:
    assert takes_schema(model_id) is by_field
