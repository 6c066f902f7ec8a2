"""A chain's result as what its handler's caller sees."""

import json
from typing import Any

import pytest

import lambdallm
import sample_events as samples
from fakes.prompted_model import PromptedModel
from lambdallm import Approval, Chain, Step, approve, handler, idempotent
from lambdallm.middleware.auth import AuthMiddleware
from lambdallm.testing import MockLambdaContext
from lambdallm_wire import routes

SQS = samples.SERVICE["sqs"]

CHAIN = Chain("report", [Step("a", "A {input}"), Approval("yes"), Step("b", "B {a.output}")])


@handler(timeout_strategy="checkpoint")
def report(event: Any, context: Any) -> Any:
    return CHAIN.run(context, input="x")


def headers_of(response: dict[str, Any]) -> dict[str, str]:
    found = response.get("headers") or {
        name: values[0] for name, values in response["multiValueHeaders"].items()
    }
    return {name.lower(): value for name, value in found.items()}


@pytest.mark.parametrize("name", samples.HTTP)
def test_it_is_202_until_it_is_finished_and_the_run_goes_on(
    name: str, prompted: PromptedModel
) -> None:
    event = samples.HTTP[name]('{"topic": "tides"}')
    tokens: list[str] = []

    @handler(timeout_strategy="checkpoint")
    def telling(event: Any, context: Any) -> Any:
        result = CHAIN.run(context, input="x")
        tokens.extend(result.waits.values())
        return result

    first = telling(event, MockLambdaContext())
    headers = headers_of(first)
    body = json.loads(first["body"])
    approve(tokens[0])
    again = {
        **event,
        "headers": {**(event.get("headers") or {}), "x-lambdallm-run": body["run_id"]},
    }
    if "multiValueHeaders" in event:
        many = {**event["multiValueHeaders"], "x-lambdallm-run": [body["run_id"]]}
        again = {**event, "multiValueHeaders": many}
    last = telling(again, MockLambdaContext())

    assert first["statusCode"] == 202
    assert (body["status"], body["waits"]) == ("in_progress", ["yes"])
    assert body["checkpoint"]["completed_steps"] == ["a"]
    assert tokens[0] not in first["body"]
    assert headers["x-lambdallm-run"] == body["run_id"]
    assert headers["retry-after"] == "1"
    assert (last["statusCode"], last["body"]) == (200, "<B <A x>>")
    assert headers_of(last)["x-lambdallm-run"] == body["run_id"]
    assert prompted.prompts == ["A x", "B <A x>"]


def http(path: str, method: str = "POST", **more: Any) -> dict[str, Any]:
    return {
        "version": "2.0",
        "rawPath": path,
        "requestContext": {"http": {"method": method, "path": path}},
        "headers": {},
        "body": "{}",
        "isBase64Encoded": False,
        **more,
    }


def test_who_asks_where_it_was_told_to_hears_how_it_stands(prompted: PromptedModel) -> None:
    first = report(http("/reports"), MockLambdaContext())
    location = headers_of(first)["location"]
    path, _, query = location.partition("?")
    name, _, run_id = query.partition("=")
    poll = http(path, "GET", queryStringParameters={name: run_id})
    answer = report(poll, MockLambdaContext())

    assert location.startswith("/reports?")
    assert answer["statusCode"] == 202
    assert json.loads(answer["body"])["waits"] == ["yes"]
    assert prompted.prompts == ["A x"]
    unknown = report(
        http(path, "GET", queryStringParameters={name: "report/no"}), MockLambdaContext()
    )
    assert unknown["statusCode"] == 404


def test_a_failure_has_its_errors_status(prompted: PromptedModel) -> None:
    from lambdallm.testing import Failure

    prompted.to("A", Failure(403, "AccessDeniedException"))

    @handler
    def failing(event: Any, context: Any) -> Any:
        return Chain("c", [Step("a", "A")]).run(context)

    assert failing(http("/"), MockLambdaContext())["statusCode"] == 502
    with pytest.raises(lambdallm.ModelInvocationError):
        failing(SQS, MockLambdaContext())


@pytest.mark.parametrize(
    ("strategy", "status"), [("fail-fast", 408), ("truncate", 200), ("checkpoint", 202)]
)
def test_time_that_runs_out_has_a_status(
    strategy: str, status: int, prompted: PromptedModel
) -> None:
    lambda_context = MockLambdaContext()
    chain = Chain(
        "c",
        [Step("a", func=lambda _: lambda_context.__dict__.update(_timeout_ms=100)), Step("b", "B")],
        strategy,
    )

    @handler
    def late(event: Any, context: Any) -> Any:
        return chain.run(context)

    response = late(http("/"), lambda_context)

    assert response["statusCode"] == status
    body = json.loads(response["body"])
    if strategy == "truncate":
        assert body["status"] == "truncated"
        assert "is used up" in body["reason"]
    assert prompted.prompts == []


def test_who_calls_for_no_answer_is_told_by_an_error(prompted: PromptedModel) -> None:
    with pytest.raises(lambdallm.StateError, match="waits for yes"):
        report(SQS, MockLambdaContext())


def poll(run_id: str, **headers: str) -> dict[str, Any]:
    query = {"lambdallm-run": run_id}
    return http("/", "GET", queryStringParameters=query, headers=headers)


def test_who_asks_for_a_run_comes_through_the_middleware(prompted: PromptedModel) -> None:
    @handler(
        timeout_strategy="checkpoint",
        middleware=[AuthMiddleware(api_keys=["right"])],
        input_schema={"type": "object", "required": ["topic"]},
    )
    def guarded(event: Any, context: Any) -> Any:
        return CHAIN.run(context, run_id="r", input="x")

    event = http("/", body='{"topic": "bees"}', headers={"x-api-key": "right"})
    assert guarded(event, MockLambdaContext())["statusCode"] == 202

    assert guarded(poll("r"), MockLambdaContext())["statusCode"] == 401
    allowed = guarded(poll("r", **{"x-api-key": "right"}), MockLambdaContext())
    assert json.loads(allowed["body"])["waits"] == ["yes"]


def test_who_asks_for_a_failed_run_hears_nothing_of_its_code(prompted: PromptedModel) -> None:
    def fail(values: dict[str, Any]) -> Any:
        raise RuntimeError("password=hunter2")

    @handler(timeout_strategy="checkpoint")
    def failing(event: Any, context: Any) -> Any:
        steps = [Step("a", func=fail, retry_count=0)]
        return Chain("c", steps).run(context, run_id="r")

    responses = [failing(each, MockLambdaContext()) for each in (http("/"), poll("r"))]

    assert [each["statusCode"] for each in responses] == [500, 200]
    assert json.loads(responses[1]["body"])["status"] == "failed"
    assert "hunter2" not in json.dumps(responses)


@pytest.mark.parametrize("name", ["charging", "twice"])
def test_who_goes_on_with_a_run_goes_on_with_all_of_its_event(
    name: str, prompted: PromptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", name)
    chain = Chain("twice", [Step("a", "A {input}"), Approval("yes")], "checkpoint")
    charged: list[int] = []

    @handler(timeout_strategy="checkpoint")
    def charging(event: Any, context: Any) -> Any:
        context.step("charge", lambda: charged.append(1))
        chain.run(context, input="first")
        return chain.run(context, input="second")

    first = charging(http("/"), MockLambdaContext())
    run_id = headers_of(first)["x-lambdallm-run"]
    again = charging(http("/", headers={"x-lambdallm-run": run_id}), MockLambdaContext())

    assert headers_of(again)["x-lambdallm-run"] == run_id
    assert charged == [1]
    assert prompted.prompts == ["A first", "A second"]


@pytest.mark.parametrize("key", ["k" * 257, "é", "a#b"])
def test_a_key_that_cannot_be_kept_is_refused_and_nothing_is_done(
    key: str, prompted: PromptedModel
) -> None:
    response = report(http("/", headers={"idempotency-key": key}), MockLambdaContext())

    assert response["statusCode"] == 400
    assert "Idempotency-Key" in json.loads(response["body"])["detail"]
    assert prompted.prompts == []


@pytest.mark.parametrize("key", ["k" * 168, "k" * 256, "k~2"])
def test_every_other_key_names_a_run_of_the_longest_name(key: str, prompted: PromptedModel) -> None:
    @handler
    def long(event: Any, context: Any) -> Any:
        return Chain("c" * 80, [Step("a", "A")]).run(context)

    event = http("/", headers={"idempotency-key": key})

    assert [long(event, MockLambdaContext())["body"] for _ in range(2)] == ["<A>"] * 2
    assert prompted.prompts == ["A"]


def test_nobody_asks_for_the_answer_of_an_idempotent_handler(prompted: PromptedModel) -> None:
    ids: list[Any] = []

    @handler(timeout_strategy="checkpoint")
    @idempotent(key="body.order_id")
    def order(event: Any, context: Any) -> Any:
        ids.extend(context.work.control(routes.LIST_RUNS, {})["runs"])
        return "the answer"

    assert order(http("/", body='{"order_id": 7}'), MockLambdaContext())["body"] == "the answer"
    response = order(poll(ids[0]["run_id"]), MockLambdaContext())

    assert response["statusCode"] == 404
    assert "the answer" not in response["body"]
