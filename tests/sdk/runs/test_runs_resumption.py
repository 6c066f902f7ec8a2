"""`lambdallm runs stop` and `resume`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fakes.aws_account import AwsAccount
from fakes.run_commands import ran, refund, refused, report, run
from fakes.session_commands import close
from lambdallm import Chain, StateError, Step, handler
from lambdallm.testing import MockLambdaContext
from lambdallm.testing.model_server import ModelServer

WHERE = ("--function", "report", "--region", "us-east-1")


def test_a_run_that_was_stopped_asks_no_model_again(
    store: str, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[Any] = []

    def stop(values: dict[str, Any]) -> str:
        del values
        stopped.append(ran("stop", "r", "--store", store, "--reason", "It talks nonsense."))
        return "on"

    steps = [
        Step("draft", "Write", max_tokens=100),
        Step("stop", func=stop),
        Step("polish", "Polish {stop.output}", max_tokens=100),
    ]
    result = Chain("report", steps).run(run_id="r", input="bees")

    assert stopped == [{"run_id": "r", "status": "stopped"}]
    assert result.status == "failed"
    assert "It talks nonsense." in str(result.error)
    assert len(model.requests) == 1
    again = Chain("report", steps).run(run_id="r", input="bees")
    assert again.status == "failed"
    assert len(model.requests) == 1
    close()
    shown = run("show", "r").stdout
    assert "stopped, attempt 1." in shown
    assert "Why: It talks nonsense." in shown
    assert run("stop", "r").exit_code == 0


def test_what_is_completed_is_not_stopped(file: str) -> None:
    report().run(run_id="report-1", input="bees")
    close()

    assert "Run report-1 is completed already." in refused("stop", "report-1")


def test_a_function_goes_on_with_the_event_that_began_the_run(
    file: str, account: AwsAccount, model: ModelServer
) -> None:
    fails = [True]

    def check(values: dict[str, Any]) -> str:
        if fails:
            raise ValueError("not today")
        return str(values["draft"])

    steps = [
        Step("draft", "Write about {input}", max_tokens=100),
        Step("check", func=check, retry_count=0),
    ]
    chain = Chain("report", steps, resume="self")

    @handler
    def write(event: Any, context: Any) -> Any:
        return chain.run(context=context, run_id="r", input=event["about"])

    account.functions["report"] = {"Environment": {"Variables": {"LAMBDALLM_STORE": file}}}
    with pytest.raises(ValueError, match="not today"):
        write({"about": "bees"}, MockLambdaContext())
    close()
    fails.clear()

    said = run("resume", "r", *WHERE)

    assert said.exit_code == 0, said.output
    assert "`lambdallm runs show r --function report`" in said.stdout
    ((name, event),) = account.invoked
    assert (name, event["about"], event["lambdallm_resume"]["run_id"]) == ("report", "bees", "r")
    write(event, MockLambdaContext())
    close()
    told = ran("show", "r")
    assert (told["status"], told["attempt"]) == ("completed", 2)
    assert len(model.requests) == 1
    assert "is completed." in refused("resume", "r", *WHERE)


def test_an_event_that_was_not_kept_names_the_run_alone(file: str, account: AwsAccount) -> None:
    steps = [Step("check", func=lambda _: 1 / 0, retry_count=0)]
    Chain("report", steps).run(run_id="r", input="bees")
    close()
    account.functions["report"] = {"Environment": {"Variables": {"LAMBDALLM_STORE": file}}}

    assert ran("resume", "r", *WHERE) == {"run_id": "r", "invoked": "report"}
    assert account.invoked == [("report", {"lambdallm_resume": {"run_id": "r"}})]


def test_nobody_is_taken_for_its_owner(file: str, account: AwsAccount) -> None:
    ada = {"requestContext": {"authorizer": {"principalId": "ada"}}, "httpMethod": "POST"}
    failing = Step("check", func=lambda _: 1 / 0, retry_count=0)
    kept, unkept = Chain("kept", [failing], resume="self"), Chain("unkept", [failing])

    @handler
    def work(event: Any, context: Any) -> Any:
        chain = kept if event["body"]["keeps"] else unkept
        return chain.run(context=context, run_id=chain.name)

    for keeps in (True, False):
        work({**ada, "body": json.dumps({"keeps": keeps})}, MockLambdaContext())
    close()
    account.functions["report"] = {"Environment": {"Variables": {"LAMBDALLM_STORE": file}}}
    owner = ("--owner", "lambda:ada")

    assert "belongs to somebody" in refused("resume", "unkept", *owner, *WHERE)
    assert "There is kept --owner 'lambda:ada'" in refused("resume", "kept", *WHERE)
    assert ran("resume", "kept", *owner, *WHERE)["invoked"] == "report"
    ((_, event),) = account.invoked
    with pytest.raises(ZeroDivisionError):  # nobody waits for a status
        work(event, MockLambdaContext())
    close()
    assert ran("show", "kept", *owner)["attempt"] == 2


def test_what_waits_for_somebody_is_not_resumed(file: str, account: AwsAccount) -> None:
    refund().run(run_id="refund-1", input="Ada")
    close()
    account.functions["report"] = {"Environment": {"Variables": {"LAMBDALLM_STORE": file}}}

    assert "waits for step manager (approval)" in refused("resume", "refund-1", *WHERE)
    assert account.invoked == []


def test_a_function_that_cannot_be_invoked_is_said(file: str, account: AwsAccount) -> None:
    Chain("report", [Step("check", func=lambda _: 1 / 0, retry_count=0)]).run(
        run_id="r", input="bees"
    )
    close()
    account.functions["report"] = {"Environment": {"Variables": {"LAMBDALLM_STORE": file}}}
    account.refusals["Invoke"] = (403, "AccessDeniedException")

    said = run("resume", "r", *WHERE)

    assert said.exit_code == 3
    assert "AccessDeniedException" in said.stderr


def test_a_run_that_is_under_way_is_not_begun_beside_it(file: str, account: AwsAccount) -> None:
    account.functions["report"] = {"Environment": {"Variables": {"LAMBDALLM_STORE": file}}}
    said: list[str] = []

    def ask(_values: Any) -> None:
        said.append(refused("resume", "r", *WHERE))

    assert Chain("report", [Step("ask", func=ask)]).run(run_id="r").status == "completed"
    assert "is under way" in said[0]
    assert account.invoked == []


def test_an_attempt_is_refused_when_somebody_has_stopped_the_run(file: str) -> None:
    report().run(run_id="done", input="bees")
    Chain("report", [Step("check", func=lambda _: 1 / 0, retry_count=0)]).run(
        run_id="r", input="bees"
    )
    close()
    run("stop", "r")
    close()

    result = Chain("report", [Step("check", func=lambda _: 1)]).run(run_id="r")

    assert isinstance(result.error, StateError)
    assert result.status == "failed"
