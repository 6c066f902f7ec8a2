"""`lambdallm bench models`, with models that answer from a script."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lambdallm_cli.commands import lambdallm as command

SCRIPT = {
    "answers": [{"chunks": ["One ", "two ", "three."], "delay_ms": 3, "output_tokens": 30}],
    "models": {
        "down": [{"error": "AccessDeniedException", "status": 403}],
        "half": ["Fine.", {"error": "AccessDeniedException", "status": 403}],
    },
}


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDALLM_SCRIPT", json.dumps(SCRIPT))
    Path("prompt.txt").write_text("How far is the moon?")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["bench", "models", "--prompt", "prompt.txt", *arguments])


def measured(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    result = run("--json", *arguments)
    models: list[dict[str, Any]] = json.loads(result.stdout)["models"]
    return result.exit_code, models


def test_each_model_is_measured_as_often_as_said() -> None:
    code, (one, other) = measured("--runs", "3", "scripted/a", "scripted/b")

    assert code == 0
    assert (one["model"], other["model"]) == ("scripted/a", "scripted/b")
    for each in (one, other):
        assert (each["answers"], each["errors"], each["output_tokens"]) == (3, [], 30)
        assert 0 < each["first_token_ms"] < each["whole_ms"]
        assert each["tokens_per_second"] > 0
        assert each["cost_pico_usd"] == 0
        assert len(each["runs"]) == 3


def test_they_are_asked_in_turns() -> None:
    result = run("--runs", "2", "scripted/a", "scripted/b")

    said = [line for line in result.stderr.splitlines() if line.startswith("run ")]
    assert said == [
        "run 1 of 2: scripted/a",
        "run 1 of 2: scripted/b",
        "run 2 of 2: scripted/a",
        "run 2 of 2: scripted/b",
    ]


def test_a_model_that_fails_stops_no_other_and_is_told() -> None:
    code, (down, half, fine) = measured(
        "--runs", "2", "scripted/down", "scripted/half", "scripted/a"
    )

    assert code == 3
    assert (down["answers"], len(down["errors"]), down["whole_ms"]) == (0, 2, None)
    assert (half["answers"], len(half["errors"])) == (1, 1)
    assert fine["answers"] == 2
    assert run("--runs", "2", "scripted/half").exit_code == 0


def test_people_get_a_table() -> None:
    result = run("--runs", "1", "scripted/a", "scripted/down")

    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["model", "answers", "first"]
    assert lines[1].startswith("scripted/a")
    assert "1 of 1" in lines[1]
    assert "$0.000000" in lines[1]
    assert lines[2].split() == ["scripted/down", "none"]
    assert "scripted/down: " in result.stdout
    assert "AccessDenied" in result.stdout


def test_each_call_is_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAMBDALLM_STORE", f"sqlite:///{tmp_path}/calls.db")
    from lambdallm import _transport

    assert run("--runs", "2", "scripted/a").exit_code == 0
    used = _transport.replace(None)
    assert used is not None
    used.close()

    found = CliRunner().invoke(command, ["calls", "list", "--json"])
    assert json.loads(found.stdout)["found"] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "Missing argument 'MODEL...'"), (("--runs", "0", "scripted/a"), "range")],
)
def test_what_cannot_be_is_said(arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert said in result.stderr


def test_an_empty_prompt_asks_nobody() -> None:
    Path("prompt.txt").write_text(" \n")

    result = run("scripted/a")

    assert (result.exit_code, "is empty" in result.stderr) == (2, True)
