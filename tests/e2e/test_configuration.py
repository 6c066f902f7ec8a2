"""`lambdallm.yaml` in the function's folder: sidecar and embedded engine find it and go by it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Start

APP = """
from lambdallm import handler

@handler
def ask(event, context):
    return {"default": context.invoke("Hi"),
            "alias": context.chat("Hi", model="fast").text,
            "spent": context.chat("Hi", model="careful").model}
"""
YAML = """\
defaults: {model: fast}
models:
  fast: {model: scripted/short, max_tokens: 2}
  careful: {model: scripted/long}
resilience:
  max_retrys: 3
"""


@pytest.mark.parametrize("sidecar", ["on", "off"])
def test_aliases_and_defaults_of_the_file_hold(host: Start, layer: Path, sidecar: str) -> None:
    variables = {
        "LAMBDALLM_SCRIPT": json.dumps(["one two three four five six"]),
        "LAMBDALLM_SIDECAR": sidecar,
        "AWS_REGION": "us-east-1",
    }
    files = {"app.py": APP, "lambdallm.yaml": YAML}
    with host(files, "app.ask", opt=layer, variables=variables, timeout_seconds=20) as environment:
        invocation = environment.invoke({})
        environment.wait_until_idle()
        said = [line.text for line in environment.logs if "max_retrys" in line.text]

    assert invocation.error_type is None, invocation.payload
    answer = json.loads(json.loads(invocation.payload)["body"])
    assert answer["default"] == answer["alias"] != "one two three four five six"
    assert answer["spent"] == "scripted/long"
    assert said
    assert all("lambdallm.yaml:6: resilience.max_retrys" in line for line in said)
    assert all("Did you mean 'max_retries'?" in line for line in said)
