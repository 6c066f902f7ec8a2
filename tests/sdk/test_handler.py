"""One invocation, seen from Lambda: what goes in, what comes back, what is raised."""

import json
from typing import Any

import pytest

import lambdallm
import sample_events as samples
from lambdallm import Model, ModelConfig, Session, handler
from lambdallm.testing import MockLambdaContext, MockProvider
from lambdallm_extension import VERSION
from lambdallm_wire import names

body_of = samples.body_of


# The paper's own example, unchanged


@handler(session=Session(store="dynamodb", ttl_hours=24))
def chat_handler(event, context):  # type: ignore[no-untyped-def]
    session = context.session  # auto-loaded
    session.add_message("user", event["body"]["message"])
    response = context.invoke(session.format_history())
    session.add_message("assistant", response)  # auto-saved
    return {"statusCode": 200, "body": {"reply": response}}  # fmt: skip


@pytest.mark.parametrize("name", samples.HTTP)
def test_the_papers_example_remembers(name: str, model: MockProvider) -> None:
    model.say("Hello, Ada.", "You are Ada.")

    first = chat_handler(samples.HTTP[name]('{"message": "I am Ada."}'), MockLambdaContext())
    headers = first.get("headers") or first["multiValueHeaders"]
    session_id = headers["x-session-id"]
    session_id = session_id[0] if isinstance(session_id, list) else session_id
    text = json.dumps({"message": "Who am I?", "session_id": session_id})
    second = chat_handler(samples.HTTP[name](text), MockLambdaContext())

    assert body_of(first) == {"reply": "Hello, Ada."}
    assert body_of(second) == {"reply": "You are Ada."}
    assert model.prompts[1] == "user: I am Ada.\nassistant: Hello, Ada.\nuser: Who am I?"
    assert "x-session-id" not in (second.get("headers") or {})


def test_users_never_see_each_others_conversation(model: MockProvider) -> None:
    model.say("one", "two", "three")
    for user in ("ada", "bob"):
        chat_handler(
            {"body": {"message": f"I am {user}.", "session_id": user}}, MockLambdaContext()
        )
    chat_handler({"body": {"message": "Nobody.", "session_id": "new"}}, MockLambdaContext())

    assert "ada" not in model.prompts[1]
    assert model.prompts[2] == "user: Nobody."


def test_a_declared_session_is_never_changed(model: MockProvider) -> None:
    declared = Session(metadata={"tags": []})

    @handler(session=declared)
    def remember(event: Any, context: Any) -> str:
        context.session.metadata["tags"].append("secret")
        context.session.add_message("user", "hi")
        context.session.add_message("assistant", "hello")
        return "done"

    remember({"body": {"session_id": "a"}}, MockLambdaContext())

    assert declared.metadata == {"tags": []}
    assert declared.messages == []
    assert declared.session_id is None


def test_a_mock_context_used_twice_is_two_invocations(model: MockProvider) -> None:
    context = MockLambdaContext()
    for message in ("one", "two"):
        chat_handler({"body": {"message": message, "session_id": "s"}}, context)

    assert "one" in model.prompts[1]


# With and without parentheses; what the decorator leaves on the function


def test_works_without_parentheses(model: MockProvider) -> None:
    @handler
    def greet(event: Any, context: Any) -> str:
        """Greets."""
        return context.invoke("Hello")

    assert greet.__doc__ == "Greets."
    assert greet._lambdallm_handler is True
    assert greet({"body": "{}"}, MockLambdaContext())["body"] == "Mock response"


def test_keeps_what_it_was_given() -> None:
    decorated = handler(model=Model.CLAUDE_3_HAIKU, timeout_strategy="checkpoint", max_retries=7)(
        lambda event, context: None
    )

    assert decorated._lambdallm_config["model"] is Model.CLAUDE_3_HAIKU
    assert decorated._lambdallm_config["timeout_strategy"] == "checkpoint"
    assert decorated._lambdallm_config["max_retries"] == 7


@pytest.mark.parametrize(
    "arguments",
    [
        {"timeout_strategy": "panic"},
        {"session": "dynamodb"},
        {"model": 7},
        {"model": ""},
        {"input_schema": {"type": "object", "$ref": "#/x"}},
    ],
)
def test_wrong_arguments_are_refused_when_decorating(arguments: dict[str, Any]) -> None:
    with pytest.raises(lambdallm.ConfigurationError):
        handler(**arguments)


# Responses


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"statusCode": 201, "body": {"a": 1}}, {"statusCode": 201, "body": '{"a": 1}'}),
        ({"statusCode": 200, "body": [1]}, {"statusCode": 200, "body": "[1]"}),
        ({"statusCode": 200, "body": "text"}, {"statusCode": 200, "body": "text"}),
        ({"statusCode": 204}, {"statusCode": 204}),
    ],
)
def test_a_response_keeps_its_form(value: Any, expected: Any) -> None:
    before = json.dumps(value)

    assert (
        handler(lambda event, context: value)(samples.rest_api(), MockLambdaContext()) == expected
    )
    assert json.dumps(value) == before


@pytest.mark.parametrize(
    ("value", "body"), [({"a": 1}, '{"a": 1}'), ("text", "text"), ([1], "[1]"), (None, "null")]
)
@pytest.mark.parametrize("event", [samples.http_api(), {"name": "direct"}])
def test_any_other_value_is_wrapped(event: Any, value: Any, body: str) -> None:
    response = handler(lambda event, context: value)(event, MockLambdaContext())

    assert response == {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": body,
    }


@pytest.mark.parametrize("name", samples.SERVICE)
def test_service_events_get_the_value_as_it_is(name: str) -> None:
    value = {"batchItemFailures": []}

    assert handler(lambda event, context: value)(samples.SERVICE[name], None) is value


def test_a_load_balancer_with_lists_gets_lists() -> None:
    decorated = handler(lambda event, context: "ok")

    assert decorated(samples.load_balancer_with_lists(), None)["multiValueHeaders"] == {
        "Content-Type": ["application/json"]
    }


def test_a_value_that_json_does_not_know_is_a_failure() -> None:
    response = handler(lambda event, context: {"x": object()})(samples.http_api(), None)

    assert response["statusCode"] == 500


@pytest.mark.parametrize("bad", [["a"], True, "a#b"])
def test_a_session_id_that_is_none_is_the_callers_fault(bad: Any, model: MockProvider) -> None:
    event = {"body": {"message": "hi", "session_id": bad}}

    response = chat_handler(event, MockLambdaContext())

    assert response["statusCode"] == 400
    assert "session id" in body_of(response)["detail"]
    assert model.prompts == []
    with pytest.raises(lambdallm.InvalidRequestError):
        handler(session=Session())(lambda event, context: 1)(
            {"session_id": bad, "name": "direct"}, MockLambdaContext()
        )


def test_without_a_session_the_field_is_the_handlers_own() -> None:
    event = {"body": {"session_id": ["a"]}}

    response = handler(lambda event, context: event["body"])(event, MockLambdaContext())

    assert body_of(response) == {"session_id": ["a"]}


# The unit of work


def failing(error: BaseException) -> Any:
    def fail(event: Any, context: Any) -> None:
        raise error

    return handler(fail)


def paths_of(sidecar: Any) -> list[str]:
    return [path for path in sidecar.paths if path != "/v1/health"]


def test_the_order_of_things(sidecar: Any, model: MockProvider) -> None:
    chat_handler({"body": {"message": "hi", "session_id": "s"}}, MockLambdaContext())

    order = paths_of(sidecar)
    order.remove("/v1/session/window")  # asked for with `begin`, on a connection of its own
    assert order == ["/v1/begin", "/v1/session/append", "/v1/session/append", "/v1/end"]


@pytest.mark.parametrize("error", [ValueError("x"), lambdallm.OutputError("x"), SystemExit(1)])
def test_the_end_is_sent_whatever_happens(sidecar: Any, error: Any) -> None:
    try:
        failing(error)(samples.http_api(), MockLambdaContext())
    except SystemExit:
        assert isinstance(error, SystemExit)

    assert paths_of(sidecar) == ["/v1/begin", "/v1/end"]
    assert not sidecar.engine.invocations._works


def test_a_handler_that_fails_leaves_no_unanswered_question(model: MockProvider) -> None:
    model.fail(lambdallm.ModelInvocationError("down", retryable=False))
    assert chat_handler({"body": {"message": "lost", "session_id": "s"}}, None)["statusCode"] == 502
    model.say("hello")

    chat_handler({"body": {"message": "again", "session_id": "s"}}, None)

    assert model.last_prompt == "user: again"


def test_in_lambda_a_session_without_a_store_is_named(
    monkeypatch: pytest.MonkeyPatch, model: MockProvider
) -> None:
    monkeypatch.delenv("LAMBDALLM_STORE")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")

    response = chat_handler({"body": {"message": "hi"}}, MockLambdaContext())

    assert response["statusCode"] == 500
    assert body_of(response)["code"] == "configuration"
    assert "LAMBDALLM_STORE" in body_of(response)["detail"]
    assert model.call_count == 0


def test_a_response_is_a_failure_when_the_session_could_not_be_saved(
    sidecar: Any, model: MockProvider
) -> None:
    chat_handler({"body": {"message": "one", "session_id": "s"}}, MockLambdaContext())
    store = sidecar.engine.store()

    def refuse(*_arguments: Any, **_options: Any) -> None:
        from lambdallm_extension.errors import StoreRefusedError

        reason = "no permission"
        raise StoreRefusedError(reason)

    store.transact = refuse
    response = chat_handler({"body": {"message": "two", "session_id": "s"}}, MockLambdaContext())

    assert response["statusCode"] == 500
    assert body_of(response)["code"] == "state"


class Bare:
    """A Lambda context with nothing in it."""


@pytest.mark.parametrize("lambda_context", [None, Bare(), MockLambdaContext()])
def test_any_object_is_a_lambda_context(lambda_context: Any, model: MockProvider) -> None:
    response = handler(lambda event, context: context.invoke("Hi"))(
        samples.http_api(), lambda_context
    )

    assert response["body"] == "Mock response"


def test_the_first_invocation_of_a_process_says_so(
    sidecar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambdallm._work._first_in_process", True)
    begun: list[dict[str, Any]] = []
    handle = sidecar.engine.handle

    def listen(method: str, path: str, body: bytes, *, connection: int) -> tuple[int, bytes]:
        if path == "/v1/begin":
            begun.append(json.loads(body))
        return handle(method, path, body, connection=connection)

    sidecar.engine.handle = listen
    decorated = handler(lambda event, context: "ok")
    for _ in range(2):
        decorated(samples.http_api(), MockLambdaContext())

    assert [message["cold_start"] for message in begun] == [True, False]
    assert begun[0]["wire_version"] == names.WIRE_VERSION
    assert begun[0]["sdk_version"] == VERSION == lambdallm.__version__


def test_a_model_may_be_said_in_every_way(model: MockProvider) -> None:
    for given in (
        Model.NOVA_MICRO,
        "us.amazon.nova-micro-v1:0",
        "bedrock/us.amazon.nova-micro-v1:0",
        "bedrock/nova-micro",
        "nova-micro",
        ModelConfig("us.amazon.nova-micro-v1:0"),
    ):
        seen: list[str] = []

        @handler(model=given)
        def ask(event: Any, context: Any, seen: list[str] = seen) -> str:
            seen.append(context.model.qualified_id)
            return context.invoke("Hi")

        ask({"body": "{}"}, None)
        assert seen == ["bedrock/us.amazon.nova-micro-v1:0"]
