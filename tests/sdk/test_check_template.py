"""`lambdallm check` of a template, as a command: alone, and beside a `lambdallm.yaml`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.stream_templates import SAM, URL, examine, via


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAMBDALLM_CONFIG", raising=False)
    return tmp_path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, "-m", "lambdallm_cli", "check", *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [("Resources: [", 1), ("Resources:\n  A: {}\n  A: {}\n", 3), ("a: 1", 0), ("- AWS::", 0)],
)
def test_what_is_no_template_is_an_error(text: str, line: int) -> None:
    ((severity, found, _),) = examine(text, None)

    assert (severity, found) == ("error", line)


def test_a_template_alone_is_checked_for_people(folder: Path) -> None:
    examine(SAM + URL.replace("MODE", "BUFFERED"), via("function-url"))

    done = run()

    assert done.returncode == 1, done.stderr
    path = "Resources.Tell.Properties.FunctionUrlConfig.InvokeMode"
    assert f"error   template.yaml:10  {path}" in done.stdout.splitlines()
    assert "Did you mean InvokeMode: RESPONSE_STREAM?" in done.stdout
    assert "1 error: so deployed, users do not get what the code sends." in done.stdout
    assert run("--compile").returncode == 2, "there is nothing to compile"


def test_both_are_checked_where_both_are_there(folder: Path) -> None:
    Path("lambdallm.yaml").write_text("defaults: {region: eu-west-1}\n")
    examine(SAM + URL.replace("MODE", "BUFFERED"), via("function-url"), "deploy.yml")
    alone = run("--json", "--compile")
    both = run("--template", "deploy.yml", "--json")

    assert (alone.returncode, json.loads(alone.stdout)["template"]) == (0, None)
    answer = json.loads(both.stdout)
    assert (both.returncode, answer["exit_code"], answer["findings"]) == (1, 1, [])
    assert answer["template"]["file"] == "deploy.yml"
    assert answer["template"]["findings"][0]["path"].endswith("FunctionUrlConfig.InvokeMode")
    assert "It holds.\n\nlambdallm check  deploy.yml" in run("--template", "deploy.yml").stdout


def test_a_template_of_something_else_is_not_looked_at(folder: Path) -> None:
    Path("lambdallm.yaml").write_text("defaults: {region: eu-west-1}\n")
    Path("template.yaml").write_text("{{ not: yaml }} {% of ours %}")

    assert json.loads(run("--json").stdout)["template"] is None
    assert run("--template", "template.yaml").returncode == 1
    assert run("--template", "absent.yaml").returncode == 2
