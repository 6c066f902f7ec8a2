"""The configuration as the sidecar finds it: which file, what of it holds, what is said."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings as rules, strategies

from lambdallm_extension.configuration import (
    EMPTY,
    ModelAlias,
    ProviderSettings,
    Resilience,
    from_document,
)
from lambdallm_extension.settings import Settings
from lambdallm_wire import configuration as schema, names
from lambdallm_wire.configuration_rules import check

YAML = """
defaults: {model: fast, region: eu-north-1}
models:
  fast:
    model: openai/gpt-5-mini
    region: eu-west-1
    max_tokens: 2000
    temperature: 0.5
    top_p: 1
    fallbacks: [careful, claude-haiku-5-5]
  careful: {provider: bedrock, model_id: a.b}
providers:
  openai: {api_key: "env:KEY", headers: {x-team: 5}}
  mine: {kind: own, class: "app:Mine"}
  sagemaker: {hourly_usd: 1.408, role_arn: "arn:aws:iam::123456789012:role/r"}
resilience: {max_retries: 0, retry_share: 1, call_seconds_max: 1.5, stall_seconds: 5}
environments:
  dev: {model: careful, resilience: {max_retries: 1}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(**environ: str) -> Settings:
    return Settings.from_environ(environ)


def compiled(yaml: str, environments: Any) -> str:
    """Make what `lambdallm check --compile` makes (tests/sdk/test_check.py holds the two equal)."""
    body = json.dumps(environments, separators=(",", ":"))
    source, digest = (hashlib.sha256(text.encode()).hexdigest() for text in (yaml, body))
    return f'{{"lambdallm":1,"source":"{source}","digest":"{digest}","environments":{body}}}'


def test_without_a_file_everything_has_its_default(folder: Path) -> None:
    settings = read()

    assert settings.configuration == EMPTY
    assert (settings.model, settings.region, settings.problems) == (names.DEFAULT_MODEL, "", ())


def test_everything_that_the_engine_uses_is_read(folder: Path) -> None:
    (folder / "lambdallm.yaml").write_text(YAML)

    configuration = read().configuration

    assert configuration.problems == ()
    assert configuration.models == {
        "fast": ModelAlias(
            "openai/gpt-5-mini", ("careful", "claude-haiku-5-5"), "eu-west-1", 2000, 0.5, 1
        ),
        "careful": ModelAlias("bedrock/a.b"),
    }
    assert configuration.providers == {
        "openai": ProviderSettings("openai", api_key="env:KEY", headers={"x-team": "5"}),
        "mine": ProviderSettings("own", class_name="app:Mine"),
        "sagemaker": ProviderSettings(
            "sagemaker", hourly_usd="1.408", role_arn="arn:aws:iam::123456789012:role/r"
        ),
    }
    assert configuration.resilience == Resilience(0, 1.0, 0, 1_500, 5.0, 10.0)


@pytest.mark.parametrize(
    ("environ", "model", "region"),
    [
        ({}, "fast", "eu-north-1"),
        ({"LAMBDALLM_ENV": "dev"}, "careful", "eu-north-1"),
        ({"LAMBDALLM_ENV": "prod"}, "fast", "eu-north-1"),
        ({"LAMBDALLM_MODEL": "openai/x", "AWS_REGION": "us-west-2"}, "openai/x", "us-west-2"),
        ({"AWS_DEFAULT_REGION": "us-west-1"}, "fast", "us-west-1"),
    ],
)
def test_variables_win_over_the_file(
    folder: Path, environ: dict[str, str], model: str, region: str
) -> None:
    (folder / "lambdallm.yaml").write_text(YAML)

    settings = read(**environ)

    assert (settings.model, settings.region) == (model, region)
    assert settings.configuration.resilience.max_retries == int("LAMBDALLM_ENV" in environ and environ["LAMBDALLM_ENV"] == "dev")  # fmt: skip # noqa: E501


@pytest.mark.parametrize("compile_it", [False, True])
def test_an_environment_that_the_file_does_not_have_is_said_once(
    folder: Path, compile_it: bool
) -> None:
    text = "defaults: {model: openai/x}\n\nenvironments:\n  dev: {model: openai/d}\n  prod: {}\n"
    (folder / "lambdallm.yaml").write_text(text)
    where = "lambdallm.yaml:3"
    if compile_it:
        held = {name: {"defaults": {"model": "openai/x"}} for name in ("", "dev", "prod")}
        (folder / "lambdallm.json").write_text(compiled(text, held))
        where = "lambdallm.json"

    settings = read(LAMBDALLM_ENV="prdo")

    assert settings.model == "openai/x"
    assert settings.problems == (
        f"{where}: environments: LAMBDALLM_ENV='prdo' is none of them ('dev', 'prod'); none of "
        "them holds. Did you mean 'prod'?",
    )
    for there in ("", "dev", "prod"):
        assert read(LAMBDALLM_ENV=there).problems == ()


def test_an_environment_where_the_file_has_none_is_said_too(folder: Path) -> None:
    (folder / "lambdallm.yaml").write_text("defaults: {model: openai/x}\n")

    (problem,) = read(LAMBDALLM_ENV="prod").problems

    assert problem.endswith("LAMBDALLM_ENV='prod' is none of them (there are none); none of them holds.")  # fmt: skip # noqa: E501


# Which file


def test_the_functions_folder_comes_before_the_working_directory(folder: Path) -> None:
    root = folder / "task"
    root.mkdir()
    (folder / "lambdallm.yaml").write_text("defaults: {model: openai/here}")
    assert read(LAMBDA_TASK_ROOT=str(root)).model == names.DEFAULT_MODEL
    (root / "lambdallm.yaml").write_text("defaults: {model: openai/there}")
    (root / "other.yaml").write_text("defaults: {model: openai/other}")

    assert read().model == "openai/here"
    assert read(LAMBDA_TASK_ROOT=str(root)).model == "openai/there"
    assert read(LAMBDA_TASK_ROOT=str(root), LAMBDALLM_CONFIG="other.yaml").model == "openai/other"
    assert read(LAMBDALLM_CONFIG=str(root / "other.yaml")).model == "openai/other"


@pytest.mark.parametrize("name", ["absent.yaml", "/no/such/file.yaml", "absent.json"])
def test_a_named_file_that_is_not_there_is_said(folder: Path, name: str) -> None:
    (problem,) = read(LAMBDALLM_CONFIG=name).problems

    assert name in problem
    assert "is not there" in problem


def test_a_folder_or_a_huge_file_in_its_place_is_said_and_nothing_is_spent(folder: Path) -> None:
    (folder / "lambdallm.yaml").mkdir()
    (folder / "huge.yaml").write_bytes(b"#" * 1_000_001)

    for settings in (read(), read(LAMBDALLM_CONFIG="huge.yaml")):
        (problem,) = settings.problems
        assert "cannot be read" in problem
        assert settings.configuration._replace(problems=(), budgets=()) == EMPTY
        assert is_closed(settings)


def is_closed(settings: Settings) -> bool:
    return any(budget.stopped and budget.why for budget in settings.configuration.budgets)


# The compiled one


def test_the_compiled_file_is_read_where_it_is_that_of_the_yaml(folder: Path) -> None:
    (folder / "lambdallm.yaml").write_text("&x nobody reads this: [")
    (folder / "lambdallm.json").write_text(
        compiled("&x nobody reads this: [", {"": {"defaults": {"model": "openai/compiled"}}})
    )

    settings = read()

    assert (settings.model, settings.problems) == ("openai/compiled", ())


def test_the_compiled_file_alone_is_enough(folder: Path) -> None:
    models = {"": "openai/x", "dev": "openai/dev"}
    environments = {name: {"defaults": {"model": model}} for name, model in models.items()}
    (folder / "lambdallm.json").write_text(compiled("", environments))

    assert read().model == "openai/x"
    assert read(LAMBDALLM_ENV="dev").model == "openai/dev"


def test_one_that_somebody_has_changed_is_not_used(folder: Path) -> None:
    made = compiled("", {"": {"resilience": {"max_retries": 1}}})
    (folder / "lambdallm.json").write_text(made.replace(":1}}}", ':"1"}}}'))

    settings = read()

    assert settings.configuration.resilience == Resilience()
    assert "is not as this version makes it" in settings.problems[0]


def test_a_stale_one_is_said_once_and_the_yaml_is_read(folder: Path) -> None:
    (folder / "lambdallm.yaml").write_text("defaults: {model: openai/new}\n")
    (folder / "lambdallm.json").write_text(compiled("old", {"": {}}))

    settings = read()

    assert settings.model == "openai/new"
    (problem,) = settings.problems
    assert "lambdallm.json is older than the YAML" in problem


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "5",
        "{}",
        '{"lambdallm": 2, "source": "", "digest": "", "environments": {}}',
        '{"lambdallm": 1, "source": "", "digest": "", "environments": []}',
        "[" * 100_000,
        "\xff",
    ],
)
def test_garbage_in_its_place_is_said_and_the_yaml_is_read(folder: Path, content: str) -> None:
    (folder / "lambdallm.yaml").write_text("defaults: {model: openai/new}\n")
    (folder / "lambdallm.json").write_bytes(content.encode("latin-1"))

    settings = read()

    assert settings.model == "openai/new"
    (problem,) = settings.problems
    assert "lambdallm.json" in problem
    (folder / "lambdallm.yaml").unlink()
    assert read().configuration._replace(problems=()) == EMPTY
    assert "is not used" in read().problems[0]


# Mistakes


def test_a_mistake_is_one_line_with_file_and_line(folder: Path) -> None:
    (folder / "lambdallm.yaml").write_text(
        "defaults:\n  model: openai/x\n  modell: y\nresilience: {max_retries: many}\n"
    )

    settings = read()

    assert settings.model == "openai/x"
    assert settings.problems == (
        "lambdallm.yaml:3: defaults.modell: There is no such key here. Did you mean 'model'? "
        "It is left out.",
        "lambdallm.yaml:4: resilience.max_retries: 'many' is not a whole number from 0 to 10. "
        "It is left out.",
    )


@pytest.mark.parametrize(
    ("content", "where"),
    [(b"a: &x 1\n", "lambdallm.yaml:1: "), (b"\xff", "lambdallm.yaml: "), (b"\0", ".yaml:1: ")],
)
def test_a_file_that_cannot_be_read_is_as_if_it_were_not_there(
    folder: Path, content: bytes, where: str
) -> None:
    (folder / "lambdallm.yaml").write_bytes(content)

    settings = read()

    assert settings.configuration._replace(problems=()) == EMPTY
    (problem,) = settings.problems
    assert where in problem
    assert "lambdallm check --compile" in problem


def test_many_mistakes_do_not_fill_the_log(folder: Path) -> None:
    wrong = "\n".join(f"  key{number}: 1" for number in range(100))
    (folder / "lambdallm.yaml").write_text(f"resilience:\n{wrong}\n")

    problems = read().problems

    assert len(problems) == 21
    assert "80 more" in problems[-1]


def test_warnings_are_no_matter_of_the_log(folder: Path) -> None:
    (folder / "lambdallm.yaml").write_text("providers: {openai: {api_key: sk-0123456789abcdef}}")

    settings = read()

    assert settings.problems == ()
    assert settings.configuration.providers["openai"].api_key == "sk-0123456789abcdef"


# Anything

KEYS = sorted({part for setting in schema.SETTINGS for part in setting.path} | {"environments"})
VALUES = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.sampled_from(
        ("fast", "openai/x", "arn:", "arn:a:b:c:d:e:f", "env:X", "http://", "/")
    )
    | strategies.text(max_size=8),
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(
            strategies.sampled_from(KEYS) | strategies.text(max_size=3), inner
        )
    ),
    max_leaves=8,
)
ENTRIES = strategies.dictionaries(
    strategies.sampled_from(("fast", "careful", "openai", "a/b", "")),
    strategies.dictionaries(strategies.sampled_from(KEYS), VALUES, max_size=4) | VALUES,
    max_size=3,
)
ANYTHING = strategies.dictionaries(
    strategies.sampled_from(("defaults", "resilience", "models", "providers", "environments", "x")),
    ENTRIES | strategies.dictionaries(strategies.sampled_from(KEYS), VALUES, max_size=4) | VALUES,
    max_size=5,
)


@rules(max_examples=150)
@given(ANYTHING, strategies.sampled_from(("", "fast")))
def test_whatever_stands_there_what_holds_is_of_the_right_kinds(
    document: Any, environment: str
) -> None:
    held, faults = check(document, {}, environment)
    configuration = from_document(held)

    assert all(fault.sentence() for fault in faults)
    for name, alias in configuration.models.items():
        assert "/" in alias.model
        assert "/" not in name
        assert isinstance(alias.max_tokens, int | None)
        assert all(isinstance(fallback, str) for fallback in alias.fallbacks)
    for provider in configuration.providers.values():
        assert provider.kind in schema.KINDS
        assert provider.hourly_usd.replace(".", "", 1).isdigit() or not provider.hourly_usd
        assert all(type(value) is str for value in provider.headers.values())
    resilience = configuration.resilience
    assert 0 <= resilience.max_retries <= 10
    assert 0 <= resilience.call_ms_max <= 900_000
    assert isinstance(configuration.default_model + configuration.default_region, str)
