"""`lambdallm runs approve`, `reject` and `complete`: people in the place of tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fakes.aws_account import AwsAccount
from fakes.run_commands import order, ran, refund, refused, run
from fakes.session_commands import close
from lambdallm import _settings, approve, handler
from lambdallm.testing import MockLambdaContext


def test_a_person_says_yes_and_the_run_goes_on(store: str) -> None:
    refund().run(run_id="refund-1", input="Ada")
    close()

    done = ran("approve", "refund-1", "manager", "--by", "eve", "--comment", "Fine.")

    assert done == {"run_id": "refund-1", "step": "manager", "outcome": "finished"}
    result = refund().run(run_id="refund-1")
    assert (result.status, result.final_output) == ("completed", {"by": "eve"})
    steps = {each.name: each.output for each in result.steps}
    assert steps["manager"] == {"approved": True, "by": "eve", "comment": "Fine."}


def test_a_person_says_no_and_the_run_fails(file: str) -> None:
    refund().run(run_id="refund-1", input="Ada")
    close()

    assert run("reject", "refund-1", "manager", "--comment", "Too much.").exit_code == 0

    result = refund().run(run_id="refund-1")
    assert result.status == "failed"
    close()
    assert ran("show", "refund-1")["status"] == "failed"


def test_a_callback_is_completed_with_any_json(file: str) -> None:
    order().run(run_id="order-1", input="9 EUR")
    close()

    said = run("complete", "order-1", "payment", '{"paid": [1, null]}')

    assert said.stdout == (
        "Step payment of run order-1 is finished. Its run goes on when it is opened again.\n"
    )
    assert order().run(run_id="order-1").final_output == {"paid": [1, None]}
    assert run("complete", "order-1", "payment", "{paid}").exit_code == 2


def test_the_first_answer_counts_whoever_gives_it(file: str) -> None:
    waiting = refund().run(run_id="refund-1", input="Ada")
    approve(waiting.waits["manager"], by="token")
    close()

    assert "is finished already" in refused("reject", "refund-1", "manager")

    assert refund().run(run_id="refund-1").final_output == {"by": "token"}


def test_nobody_answers_what_is_over(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refund().run(run_id="refund-1", input="Ada")
    refund().run(run_id="refund-2", input="Bob")
    close()
    assert run("stop", "refund-2").exit_code == 0
    close()

    assert "waits no more" in refused("approve", "refund-2", "manager")
    two_days_ms = 2 * 86_400_000
    now = _settings.epoch_ms
    monkeypatch.setattr("lambdallm_extension.settings.SystemClock.epoch_ms",
                        lambda _: now() + two_days_ms)  # fmt: skip
    assert "waits no more" in refused("approve", "refund-1", "manager")


def test_a_step_that_does_not_wait_says_which_one_does(file: str) -> None:
    refund().run(run_id="refund-1", input="Ada")
    order().run(run_id="order-1", input="9 EUR")
    close()

    assert "It waits for manager (approval)." in refused("approve", "refund-1", "managre")
    assert "use `lambdallm runs complete`" in refused("approve", "order-1", "payment")
    assert "`lambdallm runs approve` or" in refused("complete", "refund-1", "manager", "1")


def test_nobody_is_taken_for_the_owner_of_what_is_approved(file: str, account: AwsAccount) -> None:
    @handler
    def pay(_event: Any, context: Any) -> Any:
        return refund().run(context=context, run_id="refund-1", input="Ada")

    by_ada = {"requestContext": {"authorizer": {"principalId": "ada"}}, "httpMethod": "POST"}
    pay({**by_ada, "body": "{}"}, MockLambdaContext())
    close()
    account.functions["pay"] = {"Environment": {"Variables": {"LAMBDALLM_STORE": file}}}
    where = ("--owner", "lambda:ada", "--function", "pay", "--region", "us-east-1")

    assert "belongs to somebody" in refused("approve", "refund-1", "manager", "--resume", *where)
    assert account.invoked == []
    assert run("approve", "refund-1", "manager", *where).exit_code == 0


def test_an_approval_lets_a_function_go_on_at_once(file: str, account: AwsAccount) -> None:
    chain = refund(resume="self")

    @handler
    def pay(event: Any, context: Any) -> Any:
        return chain.run(context=context, run_id=event["id"], input=event["who"])

    account.functions["pay"] = {"Environment": {"Variables": {"LAMBDALLM_STORE": file}}}
    pay({"id": "refund-1", "who": "Ada"}, MockLambdaContext())
    close()
    where = ("--function", "pay", "--region", "us-east-1")

    said = run("approve", "refund-1", "manager", "--by", "eve", "--resume", *where)

    assert said.exit_code == 0, said.output
    assert "pay goes on with it." in said.stdout
    ((name, event),) = account.invoked
    assert (name, event["who"]) == ("pay", "Ada")
    pay(event, MockLambdaContext())
    close()
    told = ran("show", "refund-1", "--outputs")
    assert json.loads(told["output"]) == {"by": "eve"}
    assert run("approve", "refund-1", "manager", "--resume").exit_code == 2
