"""`lambdallm check`: every mistake of a file with its line, and what the sidecar reads of it."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lambdallm_cli import check
from lambdallm_extension.settings import Settings

WRONG = """\
project: {name: my-chat}
models:
  fast:
    model: bedrock/a.b
    temprature: 0.7
    fallbacks: [careful, fast]
  careful: {model: opnai/gpt}
providers:
  openai:
    api_key: sk-0123456789abcdef
environments:
  dev:
    model: fsat
"""

ALL_OF_YAML = """\
defaults: &usual
  model: fast
  region: eu-west-1
models:
  fast: &fast
    model: openai/gpt-5-mini
    max_tokens: 5
  careful:
    <<: *fast
    temperature: 0.5
environments:
  dev:
    model: >-
      careful
    memory: 256
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, "-m", "lambdallm_cli", "check", *arguments],
        env={**os.environ, "PYTHONPATH": paths, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def findings(text: str) -> list[tuple[str, int, str]]:
    path = Path("lambdallm.yaml")
    path.write_text(text)
    return [(each.severity, each.line, each.path) for each in check.examine(path).findings]


def test_every_mistake_is_named_with_its_line_for_people(folder: Path) -> None:
    Path("lambdallm.yaml").write_text(WRONG)

    done = run()

    assert done.returncode == 1, done.stderr
    for line in (
        "error   lambdallm.yaml:5  models.fast.temprature",
        "        │ temprature: 0.7",
        "        There is no such key here. Did you mean temperature?",
        "        There is no provider 'opnai'. Did you mean openai/gpt?",
        "        The fallbacks go in a circle: fast → fast.",
        "error   lambdallm.yaml:13  defaults.model  in dev",
        "Read, not used yet: project.name",
    ):
        assert line in done.stdout.splitlines(), line
    assert "warning lambdallm.yaml:10  providers.openai.api_key" in done.stdout
    assert "sk-0123456789abcdef" not in done.stdout
    assert "errors: at run time each is left out" in done.stdout


@pytest.mark.parametrize("given", [{"LAMBDALLM_ENV": "dve"}, {}])
def test_an_environment_that_is_not_there_is_named(folder: Path, given: dict[str, str]) -> None:
    Path("lambdallm.yaml").write_text(ALL_OF_YAML)
    arguments = [] if given else ["--environment", "dve"]

    done = run("--compile", *arguments, **given)
    there = run("--compile", "--environment", "dev", "--json", **given)

    assert done.returncode == 0, "it may be right elsewhere"
    assert "warning lambdallm.yaml:11  environments" in done.stdout
    assert "LAMBDALLM_ENV='dve' is none of them ('dev')" in done.stdout
    assert "Did you mean dev?" in done.stdout
    assert json.loads(there.stdout)["findings"][-1]["severity"] == "note"


def test_programs_get_the_same_as_json(folder: Path) -> None:
    Path("other.yaml").write_text(WRONG)

    done = run("--json", "--compile", LAMBDALLM_CONFIG="other.yaml")

    answer = json.loads(done.stdout)
    assert (done.returncode, answer["exit_code"]) == (1, 1)
    assert (answer["file"], answer["compiled"]) == ("other.yaml", None)
    assert answer["findings"][1] == {
        "severity": "error",
        "path": "models.fast.temprature",
        "line": 5,
        "said": "There is no such key here.",
        "nearest": "temperature",
        "environment": "",
    }
    assert not Path("other.json").exists(), "a file with errors is not compiled"


def test_what_is_compiled_is_what_the_sidecar_reads(folder: Path) -> None:
    Path("lambdallm.yaml").write_text(ALL_OF_YAML)
    refused = Settings.from_environ({})
    assert "--compile" in refused.problems[0]

    done = run("--compile")

    assert done.returncode == 0, done.stdout
    for environment, model in (("", "fast"), ("dev", "careful"), ("prod", "fast")):
        settings = Settings.from_environ({"LAMBDALLM_ENV": environment})
        assert (settings.model, settings.region) == (model, "eu-west-1")
        assert len(settings.problems) == (environment == "prod"), "which the file does not have"
        assert settings.configuration.models["careful"].max_tokens == 5
        assert settings.configuration.models["careful"].temperature == 0.5
    assert sorted(path.name for path in folder.iterdir()) == ["lambdallm.json", "lambdallm.yaml"]
    assert check.examine(Path("lambdallm.yaml")).exit_code == 0
    assert not [each for each in check.examine(Path("lambdallm.yaml")).findings if each.severity != "note"]  # fmt: skip # noqa: E501


def test_compiled_and_not_the_sidecar_reads_the_same(folder: Path) -> None:
    path = Path("lambdallm.yaml")
    path.write_text(
        "defaults: {model: fast}\n"
        "models: {fast: {model_id: a.b, fallbacks: [claude-haiku-5-5]}}\n"
        "providers: {sagemaker: {hourly_usd: 1.10}, openai: {headers: {a: 5}}}\n"
        "resilience: {retry_share: 1, call_seconds_max: 2}\n"
    )
    written = Settings.from_environ({})

    check.compile_file(path, check.examine(path, compiling=True))

    assert written.problems == ()
    assert Settings.from_environ({}) == written


def test_what_the_sidecar_could_not_read_is_a_warning(folder: Path) -> None:
    assert findings("defaults: &x\n  region: eu-west-1\n") == [("warning", 1, "")]


def test_a_stale_compiled_file_is_a_warning(folder: Path) -> None:
    Path("lambdallm.json").write_text("{}")

    assert findings("defaults: {region: eu-west-1}\n") == [("warning", 0, "")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: [1\nb: 2", ("error", 2, "")),
        ("a: 'x", ("error", 1, "")),
        ("defaults:\n  model: openai/a\n  model: openai/b\n", ("error", 3, "defaults.model")),
        ("a: &a [*a]\n", ("error", 0, "")),
        ("? [a]\n: b\n", ("error", 0, "")),
        ("a: 1\n---\nb: 2\n", ("error", 2, "")),
        ("a: !!python/object:os.system x\n", ("error", 1, "")),
        ("- a\n", ("error", 1, "")),
        ("project: {name: 2026-11-21}\n", ("error", 1, "project.name")),
    ],
)
def test_what_is_no_yaml_or_no_mapping_is_an_error(text: str, found: tuple[str, int, str]) -> None:
    assert found in findings(text)


def test_a_small_file_that_holds_a_billion_values_is_refused(folder: Path) -> None:
    names = "abcdefghij"
    lines = [f"{names[0]}: &{names[0]} [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
        for before, name in itertools.pairwise(names)
    ]

    assert findings("\n".join(lines)) == [("error", 0, "")]


def test_a_file_that_is_not_utf_8_is_an_error(folder: Path) -> None:
    Path("lambdallm.yaml").write_bytes(b"a: 1\nb: \xff\n")

    (finding,) = check.examine(Path("lambdallm.yaml")).findings
    assert (finding.severity, finding.line) == ("error", 2)


@pytest.mark.parametrize("arguments", [["absent.yaml"], [], ["lambdallm.json"], ["--compiel"]])
def test_a_wrong_use_is_2(folder: Path, arguments: list[str]) -> None:
    Path("lambdallm.json").write_text("{}")

    assert run(*arguments).returncode == 2


def test_a_compiled_file_that_cannot_be_written_is_3(folder: Path) -> None:
    Path("lambdallm.yaml").write_text("defaults: {region: eu-west-1}\n")
    Path("lambdallm.json").mkdir()

    done = run("--compile")

    assert (done.returncode, done.stdout) == (3, "")
    assert "directory" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["lambdallm.json", "lambdallm.yaml"]


@pytest.mark.parametrize(
    ("cost", "severity", "words"),
    [
        ("{time_zone: Mars/Olympus}", "error", "no time zone 'Mars/Olympus'"),
        ("{budgets: {a: {limit: 1, time_zone: Europe/Belin}}}", "error", "Europe/Berlin"),
        ("{budget: {daily: 1}, on_budget_exceeded: downgrade}", "warning", "downgrade_to"),
        ("{budgets: {a: {limit: 1, on_exceeded: downgrade}}}", "warning", "downgrade_to"),
        ("{downgrade_to: nobody}", "error", "no alias and no model"),
    ],
)
def test_budgets_that_would_not_do_what_they_say(cost: str, severity: str, words: str) -> None:
    path = Path("lambdallm.yaml")
    path.write_text(f"cost: {cost}\n", encoding="utf-8")

    (finding,) = check.examine(path).findings
    assert (finding.severity, finding.line) == (severity, 1)
    assert words in f"{finding.said} {finding.nearest}"


def test_budgets_that_hold() -> None:
    path = Path("lambdallm.yaml")
    path.write_text(
        "models: {fast: {model: openai/gpt-5-nano}}\n"
        "cost: {budget: {daily: '1'}, time_zone: Europe/Berlin, on_budget_exceeded: downgrade, "
        "downgrade_to: fast, budgets: {a: {limit: '2', time_zone: America/New_York}}}\n",
        encoding="utf-8",
    )

    assert check.examine(path).findings == []
