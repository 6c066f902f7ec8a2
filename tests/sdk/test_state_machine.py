"""Chains as state machines: what is exported, and what their tasks do."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from fakes.prompted_model import PromptedModel
from fakes.sample_chain import make_chain
from fakes.state_machines import FUNCTION, States, serve_states
from lambdallm import (
    Approval,
    Callback,
    Chain,
    ConfigurationError,
    InvalidRequestError,
    Map,
    Parallel,
    StateError,
    Step,
    _raw_clients,
    approve,
    complete_callback,
    handler,
    reject,
)
from lambdallm._state_machine_tasks import RetryableTaskError
from lambdallm.testing import Failure

STATE_MAX_BYTES = 262_144
"""Of a state's input and output. Source: Step Functions service quotas, 2026-11."""


@pytest.fixture
def states(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[States]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SFN", moto)
    monkeypatch.setattr(_raw_clients, "_clients", {})
    with serve_states(moto, monkeypatch) as served:
        yield served


@pytest.fixture
def execute(states: States) -> Any:
    def run(chain: Chain, given: Any, name: str | None = None) -> dict[str, Any]:
        states.work = handler()(chain.run_task)
        return states.run(chain.to_state_machine(FUNCTION), given, name)

    return run


def scopes(definition: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield definition["States"]
    for state in definition["States"].values():
        for branch in [*state.get("Branches", ()), *filter(None, [state.get("ItemProcessor")])]:
            yield from scopes(branch)


def first_task(chain: Chain, given: dict[str, Any], name: str = "e") -> dict[str, Any]:
    """Return the event of its first task, as an interpreter makes it."""
    definition = chain.to_state_machine(FUNCTION)
    state = definition["States"][definition["States"]["Begin"]["Next"]]
    message = dict(state["Parameters"]["Payload"]["lambdallm_task"])
    del message["state.$"]
    message["state"] = {
        "run_id": f"{chain.name}/{name}",
        "inputs": given,
        "outputs": {},
        "up": None,
        "each": None,
    }
    return {"lambdallm_task": message}


def test_every_state_leads_to_one_of_its_own_scope_and_has_a_name_of_its_own() -> None:
    deep: Any = Step("a" * 40, prompt="x")
    for level in range(3):
        deep = Parallel(f"{'b' * 40}-{level}", [deep])
    chain = Chain("deep", [*make_chain().steps, Approval("yes"), deep])
    names: list[str] = []

    for states in scopes(chain.to_state_machine()):
        names += states
        for state in states.values():
            follow = [state.get("Next"), state.get("Default")]
            follow += [
                rule["Next"] for rule in (*state.get("Choices", ()), *state.get("Catch", ()))
            ]
            assert {name for name in follow if name} <= states.keys()

    assert len({*names}) == len(names)
    assert max(map(len, names)) <= 80


def test_the_function_is_a_placeholder_unless_it_is_named() -> None:
    chain = Chain("c", [Step("a", prompt="x")])

    assert '"FunctionName": "${FunctionArn}"' in json.dumps(chain.to_state_machine())
    assert f'"FunctionName": "{FUNCTION}"' in json.dumps(chain.to_state_machine(FUNCTION))


def test_names_that_a_state_machine_cannot_tell_apart_are_refused() -> None:
    chain = Chain("c", [Step("a-b", prompt="x"), Step("a_b", prompt="y")])

    with pytest.raises(ConfigurationError, match="'-' and '_'"):
        chain.to_state_machine()


def test_functions_of_the_script_that_exports_are_refused() -> None:
    script = (
        "from lambdallm import Chain, Step\n"
        "Chain('c', [Step('a', func=lambda values: 1)]).to_state_machine()"
    )

    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert "import that, and export its chain from elsewhere" in ended.stderr


def test_a_task_that_comes_again_is_not_paid_again(prompted: PromptedModel) -> None:
    chain = Chain("c", [Step("a", prompt="Ask {input}")])
    work, event = handler()(chain.run_task), first_task(chain, {"input": "x"})

    first = work(event)

    assert first == {"value": "<Ask x>", "cost": prompted.billed_pico_usd}
    assert work(event) == first
    assert prompted.prompts == ["Ask x"]


def test_a_task_that_was_interrupted_goes_on(prompted: PromptedModel) -> None:
    killed = [KeyboardInterrupt()]

    def work_hard(values: dict[str, Any]) -> str:
        if killed:
            raise killed.pop()
        return str(values["input"])

    chain = Chain("c", [Step("a", func=work_hard)])
    work, event = handler()(chain.run_task), first_task(chain, {"input": "x"})

    with pytest.raises(KeyboardInterrupt):
        work(event)

    assert work(event) == {"value": "x"}


def test_what_may_pass_is_asked_for_again_by_the_machine(
    prompted: PromptedModel, execute: Any, states: States
) -> None:
    throttled = Failure(429, "ThrottlingException")
    prompted.to("Ask x", *[throttled] * 2, "At last.")
    chain = Chain("c", [Step("a", prompt="Ask {input}", retry_count=0)])
    states.work = handler(max_retries=0)(chain.run_task)

    with pytest.raises(RetryableTaskError, match="ModelInvocationError"):
        states.work(first_task(chain, {"input": "x"}))
    ended = states.run(chain.to_state_machine(FUNCTION), {"input": "x"})

    assert ended["status"] == "SUCCEEDED"
    assert ended["output"]["output"] == "At last."
    assert len(prompted.prompts) == 3


def test_what_fails_for_good_fails_the_execution_by_its_name(execute: Any) -> None:
    def break_down(values: dict[str, Any]) -> None:
        message = "It is broken."
        raise LookupError(message)

    chain = Chain("c", [Parallel("p", [Step("a", func=break_down, retry_count=0)])])

    ended = execute(chain, {})

    assert (ended["status"], ended["error"]) == ("FAILED", "LookupError")
    assert "It is broken." in ended["cause"]


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (Chain("d", [Step("a", prompt="x")]), "of chain 'c', not of 'd'"),
        (Chain("c", [Step("a", prompt="x")], version="2"), "version '1.0.0', the function has '2'"),
        (Chain("c", [Step("a", prompt="y")]), "a step of the chain is declared otherwise"),
    ],
)
def test_a_machine_of_another_definition_is_refused(other: Chain, difference: str) -> None:
    event = first_task(Chain("c", [Step("a", prompt="x")]), {})

    with pytest.raises(ConfigurationError, match=difference):
        handler()(other.run_task)(event)


def test_an_event_that_is_no_task_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="no task of a state machine"):
        Chain("c", [Step("a", prompt="x")]).run_task({"input": "x"}, None)


def test_an_executions_name_that_stood_for_other_inputs_is_refused(
    prompted: PromptedModel,
) -> None:
    chain = Chain("c", [Step("a", prompt="Ask {input}")])
    work = handler()(chain.run_task)
    work(first_task(chain, {"input": "x"}))

    with pytest.raises(StateError, match="was begun with other inputs"):
        work(first_task(chain, {"input": "y"}))


def fill_page(values: dict[str, Any]) -> str:
    return f"{values['index']:04d}é" * 20_000


def test_outputs_that_no_state_could_hold_lie_in_the_store(execute: Any, states: States) -> None:
    pages = Map("pages", over=lambda values: [*range(12)], step=Step("page", func=fill_page))
    chain = Chain(
        "large",
        [
            pages,
            Step("items", func=lambda values: [page * 2 for page in values["pages"]]),
            Map("sizes", over="{items.output}", step=Step("size", func=lambda v: len(v["item"]))),
            Step("all", func=lambda values: {"sizes": values["sizes"], "pages": values["pages"]}),
        ],
    )

    ended = execute(chain, {})

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert max(len(json.dumps(event)) for event in states.events) < STATE_MAX_BYTES
    assert "output" not in ended["output"]
    assert ended["output"]["kept"] is True
    kept = chain.run(run_id=ended["output"]["run_id"]).final_output
    assert kept["sizes"] == [200_000] * 12
    assert kept["pages"][3] == "0003é" * 20_000


def test_more_items_than_a_history_holds_are_refused(execute: Any) -> None:
    one = Step("one", func=lambda values: values["item"])
    chain = Chain("c", [Map("many", over=lambda values: [*range(1_001)], step=one)])

    ended = execute(chain, {})

    assert (ended["status"], ended["error"]) == ("FAILED", "ConfigurationError")
    assert "1,001 items" in ended["cause"]


def test_money_is_counted_over_all_tasks(prompted: PromptedModel, execute: Any) -> None:
    prompted.to("a", "word " * 100)
    steps = [Step(name, prompt=name, max_tokens=100) for name in ("a", "b", "c")]
    chain = Chain("costly", steps, max_total_cost="0.00095")

    ended = execute(chain, {})

    assert (ended["status"], ended["error"]) == ("FAILED", "BudgetExceededError")
    assert prompted.prompts == ["a"], ended["cause"]


def released(answer: Any, execute: Any, states: States) -> dict[str, Any]:
    """Do a chain that waits; `answer` is called with the token as soon as somebody was told."""
    told: list[str] = []

    def notify(token: str, values: dict[str, Any]) -> None:
        told.append(f"{values['input']}")
        answer(token)

    chain = Chain(
        "wait",
        [
            Approval("release", message="Read {input}", notify=notify),
            Step("publish", func=lambda values: values["release"]),
        ],
    )
    ended: dict[str, Any] = execute(chain, {"input": "x"})
    assert told == ["x"]
    return ended


def test_a_person_says_yes(prompted: PromptedModel, execute: Any, states: States) -> None:
    ended = released(lambda token: approve(token, by="ada"), execute, states)

    assert ended["output"]["output"] == {"approved": True, "by": "ada", "comment": ""}


def test_a_person_says_no(prompted: PromptedModel, execute: Any, states: States) -> None:
    ended = released(lambda token: reject(token, by="ada"), execute, states)

    assert (ended["status"], ended["error"]) == ("FAILED", "Rejected")


def test_a_wait_is_finished_once(prompted: PromptedModel, execute: Any, states: States) -> None:
    tokens: list[str] = []
    chain = Chain(
        "wait", [Callback("paid", notify=lambda token, values: tokens.append(token), expires_in=60)]
    )
    states.work = handler()(chain.run_task)
    arn = states.start(chain.to_state_machine(FUNCTION), {})
    while not tokens:
        states.client.describe_execution(executionArn=arn)
    complete_callback(tokens[0], {"sum": 3})

    assert states.wait(arn)["output"]["output"] == {"sum": 3}
    with pytest.raises((StateError, InvalidRequestError), match="waits"):
        complete_callback(tokens[0], {"sum": 4})
