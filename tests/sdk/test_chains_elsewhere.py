"""One chain, run plainly, as a state machine and as a durable function: the same outputs."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest

from fakes import functions_in_ministack
from fakes.durable_functions import serve_durable
from fakes.prompted_model import PromptedModel
from fakes.sample_chain import make_chain
from fakes.state_machines import FUNCTION, States, serve_states
from lambdallm import Chain, Map, Step, handler

GIVEN = {"input": "tides and moons"}


@pytest.fixture
def states(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[States]:
    with serve_states(moto, monkeypatch) as served:
        yield served


@pytest.fixture
def plainly(prompted: PromptedModel) -> tuple[Any, list[str], int]:
    """Its output, what was asked for it, and what it has cost."""
    result = make_chain().run(run_id="plainly", **GIVEN)
    assert result.error is None
    asked = sorted(prompted.prompts)
    prompted.requests.clear()
    return result.final_output, asked, result.total_cost_pico_usd


def test_a_state_machine_comes_to_the_same(
    plainly: tuple[Any, list[str], int], prompted: PromptedModel, states: States
) -> None:
    chain = make_chain()
    states.work = handler()(chain.run_task)

    ended = states.run(chain.to_state_machine(FUNCTION), GIVEN, name="one")

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert ended["output"] == {
        "run_id": "report/one",
        "status": "completed",
        "output": plainly[0],
        "cost_pico_usd": plainly[2],
        "unknown_calls": 0,
    }
    assert sorted(prompted.prompts) == plainly[1]


def test_a_durable_function_comes_to_the_same(
    plainly: tuple[Any, list[str], int], prompted: PromptedModel
) -> None:
    chain = make_chain()

    def work(event: Any, context: Any) -> Any:
        result = chain.run_durable(context, **event)
        assert result.error is None
        return {"output": result.final_output, "cost": result.total_cost_pico_usd}

    with serve_durable(work) as durable:
        ended = durable.run(GIVEN)

    assert ended == ("SUCCEEDED", {"output": plainly[0], "cost": plainly[2]})
    assert sorted(prompted.prompts) == plainly[1]


CODE = """
from lambdallm import Chain, Map, Step, handler
from fakes.sample_chain import make_chain

chain = make_chain()

@handler()
def work(event, context):
    return chain.run_task(event, context)
"""


def test_so_it_does_in_another_interpreter_with_functions_in_processes_of_their_own(
    plainly: tuple[Any, list[str], int], prompted: PromptedModel, ministack: str, tmp_path: Any
) -> None:
    variables = {"LAMBDALLM_STORE": f"sqlite:///{tmp_path}/store.db"}
    arn = functions_in_ministack.deploy(ministack, CODE, variables)
    client = boto3.client("stepfunctions", endpoint_url=ministack, region_name="us-east-1")

    ended = States(client).run(make_chain().to_state_machine(arn), GIVEN)

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert ended["output"]["output"] == plainly[0]
    assert ended["output"]["cost_pico_usd"] == plainly[2]
    assert sorted(prompted.prompts) == plainly[1]
    client.close()


KILLED = """
import os
from pathlib import Path
from lambdallm import Chain, Step, handler

def die_once(values):
    marker = Path(os.environ["MARKER"])
    if not marker.exists():
        marker.touch()
        os._exit(1)
    return values["draft"]

chain = Chain("killed", [Step("draft", prompt="Draft {input}"), Step("use", func=die_once)])

@handler()
def work(event, context):
    return chain.run_task(event, context)
"""


@pytest.mark.slow  # nobody lets go of a killed function's lease where it has no sidecar
def test_a_task_whose_function_is_killed_comes_again(
    prompted: PromptedModel, ministack: str, tmp_path: Path
) -> None:
    variables = {
        "LAMBDALLM_STORE": f"sqlite:///{tmp_path}/store.db",
        "MARKER": str(tmp_path / "killed"),
    }
    arn = functions_in_ministack.deploy(ministack, KILLED, variables, timeout_seconds=3)
    module = ModuleType("app")
    exec(KILLED, module.__dict__)
    client = boto3.client("stepfunctions", endpoint_url=ministack, region_name="us-east-1")

    text = json.dumps(module.chain.to_state_machine(arn))
    as_named_here = text.replace('"Runtime.ExitError"', '"Runtime.HandlerError"')
    ended = States(client).run(json.loads(as_named_here), {"input": "x"})

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert ended["output"]["output"] == "<Draft x>"
    assert prompted.prompts == ["Draft x"]
    assert (tmp_path / "killed").exists()
    client.close()


def test_a_long_chain_names_the_engines_once(capfd: pytest.CaptureFixture[str]) -> None:
    steps = [Step(f"s{number}", func=lambda values: 1) for number in range(50)]
    fits = Chain("fits", steps)
    long = Chain("long", [*steps, Map("more", over="{input}", step=Step("one", func=len))])

    fits.run(run_id="fits", input=[])
    long.run(run_id="first", input=[])
    long.run(run_id="second", input=[])

    said = [line for line in capfd.readouterr().err.splitlines() if "51 steps" in line]
    assert len(said) == 1
    assert "to_state_machine()" in said[0]
    assert "run_durable()" in said[0]
