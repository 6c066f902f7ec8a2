"""Invoices as records: the example in this process, and as its own template deploys it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from examples.deployed import load_template, read_function
from lambdallm.testing import Answer, MockLambdaContext, ModelServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.conftest import Service
    from lambdallm.testing import MockProvider

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "examples/extraction/template.yaml"

INVOICE = {
    "number": "A-17",
    "issued": "2026-11-20",
    "currency": "EUR",
    "lines": [{"what": "Paper", "amount": 12.5}, {"what": "Ink", "amount": 30}],
    "total": 42.5,
}
RECORD = {
    **INVOICE,
    "lines": [{"what": "Paper", "amount": 12.5}, {"what": "Ink", "amount": 30.0}],
}
TEXT = "Invoice A-17 of November 20th, 2026: paper 12.50 EUR, ink 30 EUR. Sum: 42.50 EUR."


def post(text: Any) -> dict[str, Any]:
    return {
        "version": "2.0",
        "requestContext": {"http": {"method": "POST", "path": "/"}},
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"text": text}),
        "isBase64Encoded": False,
    }


@pytest.fixture
def extract(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, Any], dict[str, Any]]:
    module = ModuleType("extraction_app")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where dataclasses look for types
    source = (ROOT / "examples/extraction/app.py").read_text(encoding="utf-8")
    exec(compile(source, "app.py", "exec", dont_inherit=True), vars(module))
    handler: Callable[[Any, Any], dict[str, Any]] = module.extract
    return handler


def test_an_invoice_is_read(extract: Any, lambdallm_model: MockProvider) -> None:
    lambdallm_model.say(f"Here it is:\n```json\n{json.dumps(INVOICE)}\n```")

    answer = extract(post(TEXT), MockLambdaContext())

    assert json.loads(answer["body"])["invoice"] == RECORD
    assert lambdallm_model.prompts == [f"Read this invoice:\n\n{TEXT}"]


def test_a_sum_that_is_wrong_goes_back_to_the_model(
    extract: Any, lambdallm_model: MockProvider
) -> None:
    lambdallm_model.say(json.dumps({**INVOICE, "total": 24.5}), json.dumps(INVOICE))

    answer = extract(post(TEXT), MockLambdaContext())

    assert json.loads(answer["body"])["invoice"]["total"] == 42.5
    assert "total is not the sum of the lines' amounts" in lambdallm_model.prompts[1]


def test_one_that_stays_wrong_is_no_record(extract: Any, lambdallm_model: MockProvider) -> None:
    lambdallm_model.say(json.dumps({**INVOICE, "currency": "a shell"}))

    answer = extract(post(TEXT), MockLambdaContext())

    problem = json.loads(answer["body"])
    assert (answer["statusCode"], problem["code"]) == (502, "output")
    assert "a shell" not in answer["body"]


def test_a_body_without_a_text_costs_nothing(extract: Any, lambdallm_model: MockProvider) -> None:
    assert extract(post(None), MockLambdaContext())["statusCode"] == 400
    assert lambdallm_model.call_count == 0


def test_as_its_template_deploys_it(layer: Path, dynamodb: Service) -> None:
    pytest.importorskip("awslambdaric", reason="AWS's runtime client is built for Linux")
    wrong, right = json.dumps({**INVOICE, "total": 24.5}), json.dumps(INVOICE)
    given = {
        "Table": dynamodb.table,
        "ModelId": "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        "LayerArn": "the layer",
    }
    function = read_function(TEMPLATE, given)
    with ModelServer([Answer(wrong), Answer(right)]) as model:
        addresses = {
            "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model.url,
        }
        with function.start(layer, **addresses) as environment:
            result = environment.invoke(post(TEXT))

    body = json.loads(json.loads(result.payload)["body"])
    assert body["invoice"] == RECORD
    assert body["cost_usd"] > 0
    assert len(model.requests) == 2
    schema = model.requests[0].body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert json.loads(schema["schema"])["required"] == [*INVOICE]


def test_the_function_may_do_what_the_sample_may() -> None:
    def statements(template: Path, function: str) -> dict[str, Any]:
        (policy,) = load_template(template)["Resources"][function]["Properties"]["Policies"]
        return {each["Sid"]: each for each in policy["Statement"] if "Sid" in each}

    ours = statements(TEMPLATE, "ExtractFunction")
    sample = statements(ROOT / "template.yaml", "ChatFunction")

    assert ours.keys() == {"SessionsAndCallRecords", "BudgetsAreNotItsOwn", "AskTheModel"}
    assert ours["AskTheModel"].pop("Action") in sample["AskTheModel"].pop("Action")
    assert ours.items() <= sample.items()
