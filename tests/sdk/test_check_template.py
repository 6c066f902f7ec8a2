"""`lambdallm check` of a template, as a command: alone, and beside a `lambdallm.yaml`."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from fakes.stream_templates import SAM, URL, examine, via

ALIAS = "{Type: AWS::Lambda::Alias, Properties: {FunctionName: !Ref Live}}"
BEHIND = "{Type: AWS::Lambda::Url, Properties: {TargetFunctionArn: !Ref Live}}"
STREAMING = SAM + URL.replace("MODE", "RESPONSE_STREAM")


def merged(depth: int) -> str:
    """Make a mapping into which another one is copied nine times, and so on."""
    text = "&a0 {x: 1}"
    for level in range(depth):
        text = f"&a{level + 1} {{<<: [{text}{f', *a{level}' * 9}]}}"
    return text


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


@pytest.mark.parametrize(
    ("template", "line", "words"),
    [
        (f"{SAM}  Live: {ALIAS}\n  Url: {BEHIND}", 10, "It leads back to itself"),
        (SAM.replace("Timeout: 25", "Timeout: .inf"), 9, "no number of seconds"),
        (SAM.replace("Timeout: 25", "Timeout: {Ref: [a]}"), 9, "`Ref` is no name"),
        (SAM.replace("Timeout: 25", "Timeout: !Ref {a: 1}"), 9, "`Ref` is no name"),
        (f"{SAM}Metadata: {'[' * 3_000}{']' * 3_000}", 0, "nested more than 50 deep"),
        (f"{SAM}Metadata: &it {{<<: *it, a: *it}}", 0, "nested too deeply"),
    ],
    ids=["an alias of itself", "inf", "a list", "a mapping", "deep", "of itself"],
)
def test_what_cannot_be_followed_is_an_error(template: str, line: int, words: str) -> None:
    ((severity, found, said),) = examine(template, via("invoke"))

    assert (severity, found) == ("error", line)
    assert words in said
    answer = json.loads(run("--json").stdout)
    assert (answer["exit_code"], len(answer["template"]["findings"])) == (1, 1)


def test_what_is_merged_is_counted_before_it_is_copied() -> None:
    """Nine times nine, seven times over, are 1.7 GB."""
    tracemalloc.start()
    try:
        ((severity, _, said),) = examine(f"{SAM}Metadata: {merged(7)}", None)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert severity == "error"
    assert "more than 200000 values" in said
    assert peak_bytes < 10_000_000


@pytest.mark.parametrize("code", ["x = " + "-" * 50_000 + "1", "x = a" + ".b" * 5_000])
def test_code_that_is_nested_too_deeply_is_unknown(code: str) -> None:
    called = code.removeprefix("x = ")
    ((severity, line, said),) = examine(STREAMING, f"@{called}\ndef tell(): ...")

    assert (severity, line) == ("note", 7)
    assert "nested too deeply" in said
