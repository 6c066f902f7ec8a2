"""The schema of `lambdallm.yaml`: what it takes, what it says of a mistake, what is made of it."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lambdallm_wire import configuration as schema, plain_yaml
from lambdallm_wire.configuration_faults import nearest
from lambdallm_wire.configuration_rules import check

DOCS = Path(__file__).parents[2] / "docs"

EARLIER = (DOCS.parent / "tests/data/earlier_lambdallm.yaml").read_text(encoding="utf-8")
"""Every key of the earlier package's files."""


def load_generator() -> Any:
    name = "generate_configuration"
    specification = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


def examine(text: str, environment: str = "") -> tuple[dict[str, Any], list[str]]:
    """Return what holds, and what is wrong as `LINE severity: sentence`."""
    document, lines = plain_yaml.loads(text)
    held, faults = check(document, lines, environment)
    return held, [f"{fault.line} {fault.severity}: {fault.sentence()}" for fault in faults]


@pytest.mark.parametrize("environment", ["", "dev", "prod", "unknown"])
def test_files_of_the_earlier_package_hold_as_they_are(environment: str) -> None:
    held, faults = examine(EARLIER, environment)

    assert faults == []
    assert held["models"]["fast"]["model"] == "bedrock/anthropic.claude-3-haiku-20240307-v1:0"
    model = "fast" if environment == "dev" else "bedrock/claude-3-haiku"
    assert held["defaults"]["model"] == model
    assert held["defaults"]["memory"] == 256
    daily = "200" if environment == "prod" else "50.0"
    assert held["cost"]["budget"] == {"daily": daily, "monthly": "1000.0"}


def test_prices_are_kept_as_they_are_written() -> None:
    prices = {"a/b": {"input": "0.10", "output": 0.3}, "c": {"input": 1, "output": "2.500000000"}}

    held, faults = check({"cost": {"prices": {**prices, "d": {"like": "a.b"}}}}, {})

    assert not faults
    assert held["cost"]["prices"] == {
        "a/b": {"input": "0.10", "output": "0.3"},
        "c": {"input": "1", "output": "2.500000000"},
        "d": {"like": "a.b"},
    }


def test_every_example_of_the_schema_holds() -> None:
    for setting in schema.SETTINGS:
        path = ["mine" if name == "*" else name for name in setting.path]
        value = yaml.safe_load(setting.example)
        needed: dict[str, Any] = {}
        if path[0] == "models":
            needed = {"model_id" if path[-1] in ("model_id", "provider") else "model": "a.b"}
        if path[0] == "providers":
            needed = {"kind": "openai-compatible", "base_url": "https://x.example/v1"}
        needed = {"class": {"kind": "own"}, "hourly_usd": {"kind": "sagemaker"}}.get(
            path[-1], needed
        )
        if path[:2] == ["cost", "prices"] and path[-1] != "like":
            needed = {"input": "1", "output": "1"}
        if path[:2] == ["cost", "budgets"]:
            needed = {"limit": "1", **({"scope": "model"} if path[-1] == "id" else {})}
        leaf = {**needed, path[-1]: value}
        document: Any = leaf
        for name in reversed(path[:-1]):
            document = {name: document}
        known = {"models": {"careful": {"model": "bedrock/a.b"}, "fast": {"model": "bedrock/a.b"}}}
        if path[0] == "models":
            known["models"]["mine"] = leaf
            document = known
        elif path[0] == "defaults":
            document = {**known, **document}

        _, faults = check(document, {})

        assert [fault.sentence() for fault in faults] == [], setting.name


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("defualts: {}", "1 error: defualts: There is no such key here. Did you mean 'defaults'?"),
        (
            "models:\n  fast:\n    model: openai/x\n    temprature: 1",
            "4 error: models.fast.temprature: There is no such key here. "
            "Did you mean 'temperature'?",
        ),
        (
            "defaults:\n  fallbacks: [a]",
            "2 error: defaults.fallbacks: There is no such key here; there is models.*.fallbacks.",
        ),
        (
            "resilience:\n  zzzzzzzzzzzz: 1",
            "2 error: resilience.zzzzzzzzzzzz: There is no such key here; there are max_retries, "
            "retry_share, hedge_after_ms, call_seconds_max, stall_seconds, drain_seconds.",
        ),
        (
            "resilience:\n  max_retries: 11",
            "2 error: resilience.max_retries: 11 is not a whole number from 0 to 10.",
        ),
        (
            "resilience:\n  max_retries: '3'",
            "2 error: resilience.max_retries: '3' is not a whole number from 0 to 10. "
            "Write it without quotes.",
        ),
        (
            "resilience:\n  retry_share: yes",
            "2 error: resilience.retry_share: true is not a number from 0 to 1.",
        ),
        (
            "project:\n  name: 5",
            "2 error: project.name: 5 is not a text. Put it in quotes.",
        ),
        (
            "providers:\n  mine:\n    kind: opnai",
            "3 error: providers.mine.kind: 'opnai' is not 'anthropic' or 'bedrock' or 'openai' or "
            "'openai-compatible' or 'own' or 'sagemaker' or 'scripted'. Did you mean 'openai'?",
        ),
        (
            "resilience: [1]",
            "1 error: resilience: A list stands where names belong: max_retries, retry_share, "
            "hedge_after_ms, call_seconds_max, stall_seconds, drain_seconds.",
        ),
        (
            "environments:\n  dev:\n    modle: x",
            "3 error: environments.dev.modle: There is no such key here. Did you mean 'model'?",
        ),
        (
            "models:\n  a:\n    model: openai/x\n    fallbacks: [b]\n  b: {model: openai/y}\n"
            "  c:\n    model: openai/z\n    fallbacks:\n      - bb",
            "9 error: models.c.fallbacks[0]: 'bb' is no alias and no model: write provider/model. "
            "Did you mean 'b'?",
        ),
        (
            "models: {a: {model: openai/x, fallbacks: [b]}, b: {model: openai/y, fallbacks: [a]}}",
            "1 error: models.a.fallbacks: The fallbacks go in a circle: a → b → a.",
        ),
        (
            "models: {a: {model: opnai/x}}",
            "1 error: models.a.model: There is no provider 'opnai'. Did you mean 'openai/x'?",
        ),
        (
            "models: {a: {model: somewhere-else/x}}",
            "1 warning: models.a.model: Provider 'somewhere-else' is not configured; the function "
            "itself has to bring it.",
        ),
        ("models: {a: {max_tokens: 5}}", "1 error: models.a: `model` is missing: provider/model."),
        (
            "models: {a: {model: openai/x}, b: {model: a}}",
            "1 error: models.b.model: 'a' is an alias itself; an alias stands for a "
            "provider/model.",
        ),
        (
            "models: {a/b: {model: openai/x}}",
            "1 error: models.a/b: A name is one line of text without '/'.",
        ),
        (
            "models: {a: {model: 'arn:aws:bedrock'}}",
            "1 error: models.a.model: 'arn:aws:bedrock' is not an ARN: "
            "arn:aws:bedrock:REGION:ACCOUNT:inference-profile/ID.",
        ),
        (
            "defaults: {region: 'eu west'}",
            "1 error: defaults.region: 'eu west' is not a region such as us-east-1.",
        ),
        (
            "providers: {openai: {api_key: 'arn:aws:s3:::x'}}",
            "1 error: providers.openai.api_key: 'arn:aws:s3:::x' is the ARN of no secret: "
            "arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME or "
            "arn:aws:ssm:REGION:ACCOUNT:parameter/NAME.",
        ),
        (
            "providers: {openai: {api_key: sk-0123456789abcdef}}",
            "1 warning: providers.openai.api_key: A key stands here itself. Put it into a secret, "
            "and the secret's ARN here.",
        ),
        (
            "providers: {mine: {kind: openai-compatible}}",
            "1 error: providers.mine: `base_url` is missing, which a provider of kind "
            "'openai-compatible' needs.",
        ),
        (
            "providers: {mine: {base_url: 'https://x.example'}}",
            "1 error: providers.mine: `kind` is missing: anthropic, bedrock, openai, "
            "openai-compatible, own, sagemaker, scripted.",
        ),
        (
            "providers: {openai: {base_url: 'x.example'}}",
            "1 error: providers.openai.base_url: 'x.example' is not a URL such as "
            "https://llm.example.com/v1.",
        ),
        (
            "providers: {openai: {base_url: 'http://x.example'}}",
            "1 warning: providers.openai.base_url: Without https, prompts and keys can be read on "
            "the way.",
        ),
        (
            "providers: {bedrock: {role_arn: 'arn:aws:iam::1:role/x'}}",
            "1 error: providers.bedrock.role_arn: 'arn:aws:iam::1:role/x' is not the ARN of a "
            "role: arn:aws:iam::ACCOUNT:role/NAME.",
        ),
        (
            "providers: {m: {kind: own, class: 'a b:C'}}",
            "1 error: providers.m.class: 'a b:C' is not package.module:Class.",
        ),
        (
            "providers: {openai: {hourly_usd: 1}}",
            "1 warning: providers.openai.hourly_usd: A provider of kind 'openai' has no use for "
            "it.",
        ),
        (
            "cost: {prices: {openai/m: {input: 1}}}",
            "1 error: cost.prices.openai/m: `output` is missing, or `like`.",
        ),
        (
            "cost: {prices: {m: {like: a.b, input: '1'}}}",
            "1 error: cost.prices.m.like: `input` says it too; give `like` or prices, not both.",
        ),
        (
            "cost: {prices: {m: {input: '0.0000001', output: 1}}}",
            "1 error: cost.prices.m.input: '0.0000001' is not a decimal of USD for a million "
            "tokens from 0: it has six decimals at most.",
        ),
        (
            "cost: {prices: {m: {input: '1,5', output: 1}}}",
            "1 error: cost.prices.m.input: '1,5' is not a decimal of USD for a million tokens "
            "from 0.",
        ),
        (
            "providers: {openai: {headers: {Host: x}}}",
            "1 error: providers.openai.headers.Host: This header belongs to the request itself.",
        ),
    ],
)
def test_a_mistake_is_said_with_its_line_and_what_was_meant(text: str, fault: str) -> None:
    assert examine(text)[1] == [fault]


@pytest.mark.parametrize(
    "text",
    ["providers: {openai: {api_key: [sk-1]}}", "providers: {openai: {headers: {a: [sk-1]}}}"],
)
def test_a_wrong_key_is_not_repeated(text: str) -> None:
    (fault,) = examine(text)[1]

    assert "sk-" not in fault


def test_a_mistake_takes_its_own_key_away_and_nothing_else() -> None:
    held, faults = examine(
        "defaults: {model: fst, region: eu-west-1}\n"
        "models:\n"
        "  fast: {model: openai/x, top_p: 7, max_tokens: 5, fallbacks: [nobody, openai/y]}\n"
        "  broken: {region: eu-west-1}\n"
        "resilience: {max_retries: -1, drain_seconds: 3}\n"
    )

    assert len(faults) == 5
    assert held == {
        "defaults": {"region": "eu-west-1"},
        "models": {"fast": {"model": "openai/x", "max_tokens": 5, "fallbacks": ["openai/y"]}},
        "resilience": {"drain_seconds": 3},
    }


@pytest.mark.parametrize(
    ("base", "over", "model"),
    [
        ("{model: openai/x}", "{model_id: a.b}", "bedrock/a.b"),
        ("{provider: anthropic, model_id: x}", "{model: openai/y}", "openai/y"),
        ("{provider: anthropic, model_id: x}", "{model_id: y}", "anthropic/y"),
    ],
)
def test_an_environment_says_a_model_in_its_own_way(base: str, over: str, model: str) -> None:
    text = f"models: {{a: {base}}}\nenvironments: {{dev: {{models: {{a: {over}}}}}}}"

    held, faults = examine(text, "dev")

    assert faults == []
    assert held["models"]["a"]["model"] == model


def test_what_names_an_alias_that_does_not_hold_goes_with_it() -> None:
    held, faults = examine(
        "defaults: {model: broken}\nmodels:\n  broken: {top_p: 1}\n"
        "  fast: {model: openai/x, fallbacks: [broken, openai/y]}\n"
    )

    assert held["defaults"] == {}
    assert held["models"] == {"fast": {"model": "openai/x", "fallbacks": ["openai/y"]}}
    assert faults[-1] == "1 error: defaults.model: 'broken' is an alias that does not hold itself."


@pytest.mark.parametrize(
    "document", [None, [], "text", 5, {"models": 5}, {5: 5}, {"models": {"a": []}}]
)
def test_a_document_of_any_shape_is_survived(document: Any) -> None:
    held, faults = check(document, {})

    assert held in ({}, {"models": {}})
    assert document is None or faults


def test_a_fault_of_an_environment_is_found_in_its_own_line() -> None:
    text = "models: {fast: {model: openai/x}}\nenvironments:\n  dev:\n    model: fsat\n"

    assert examine(text)[1] == []
    assert examine(text, "dev")[1] == [
        "4 error: defaults.model: 'fsat' is no alias and no model: write provider/model. "
        "Did you mean 'fast'?"
    ]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("tempreature", "temperature"), ("Region", "region"), ("rgeion", "region"), ("xyz", "")],
)
def test_the_nearest_name_is_found(word: str, expected: str) -> None:
    assert nearest(word, ["temperature", "region", "fallbacks"]) == expected


# What is generated


def test_the_page_and_the_schema_for_editors_are_current() -> None:
    generator = load_generator()
    page = generator.PAGE_FILE.read_text(encoding="utf-8")

    stale = "run python docs/generate_configuration.py"
    assert generator.page(page) == page, stale
    assert generator.SCHEMA_FILE.read_text(encoding="utf-8") == generator.schema_text(), stale
    assert all(f"`{setting.name.replace('*', 'NAME')}`" in page for setting in schema.SETTINGS)


def test_the_schema_for_editors_takes_what_holds_and_refuses_what_does_not() -> None:
    document = json.loads((DOCS / "lambdallm.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(document)
    validator = jsonschema.Draft202012Validator(document)

    assert list(validator.iter_errors(yaml.safe_load(EARLIER))) == []
    for wrong in (
        {"defualts": {}},
        {"models": {"a": {"temprature": 1}}},
        {"resilience": {"max_retries": 11}},
        {"providers": {"a": {"kind": "b"}}},
        {"environments": {"dev": {"modle": "x"}}},
    ):
        assert list(validator.iter_errors(wrong)), wrong


def test_the_example_of_the_page_holds() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    example = page.partition("```yaml\n")[2].partition("```")[0]

    for environment in ("", "dev"):
        held, faults = examine(example, environment)
        assert faults == []
        assert held["defaults"]["model"] == ("careful" if environment else "fast")
