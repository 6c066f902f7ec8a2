"""The chat over WebSockets, as its own template deploys it.

Clients ─ ministack's WebSocket API ─ awslambdaric + the built layer ─ a model that a test speaks
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from examples.deployed import load_template, read_function
from examples.spoken_model import MODEL_ID, SpokenModel
from fakes.waiting import until
from fakes.websocket_apis import STAGE, Bridge, serve_websocket_api

pytest.importorskip("awslambdaric", reason="AWS's runtime client is built for Linux")

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.conftest import Service
    from fakes.websocket_apis import WebSocketApi

TEMPLATE = Path(__file__).parents[2] / "examples/websocket_chat/template.yaml"
RESOURCES: dict[str, Any] = load_template(TEMPLATE)["Resources"]


class Chat:
    """What a client meets, and the model behind it."""

    def __init__(self, api: WebSocketApi, bridge: Bridge, model: SpokenModel, logs: Any) -> None:
        self.api = api
        self.bridge = bridge
        self.model = model
        self._environment = logs

    def client(self) -> Any:
        return self.bridge.client(self.api)

    def logs(self) -> str:
        return "\n".join(line.text for line in self._environment.logs)


@pytest.fixture
def chat(
    ministack: str, dynamodb: Service, layer: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Chat]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    properties = RESOURCES["ChatApi"]["Properties"]
    route_keys = [
        each["Properties"]["RouteKey"]
        for each in RESOURCES.values()
        if each["Type"] == "AWS::ApiGatewayV2::Route"
    ]
    selection = properties["RouteSelectionExpression"]
    given = {"Table": dynamodb.table, "ModelId": MODEL_ID}
    function = read_function(TEMPLATE, given)
    with (
        SpokenModel() as model,
        Bridge() as bridge,
        serve_websocket_api(ministack, bridge, route_keys, selection) as api,
        function.start(
            layer,
            AWS_ENDPOINT_URL_DYNAMODB=dynamodb.url,
            AWS_ENDPOINT_URL_BEDROCK_RUNTIME=model.url,
            LAMBDALLM_CONNECTIONS_ENDPOINT=api.endpoint,
            AWS_REGION="us-east-1",
        ) as environment,
    ):
        one = threading.Lock()  # an environment takes one event at a time

        def answer(event: Any) -> Any:
            with one:
                return environment.invoke(event).json()

        bridge.answer = answer
        yield Chat(api, bridge, model, environment)


def say(client: Any, action: str, message: Any) -> None:
    client.send(json.dumps({"action": action, "message": message}))


def next_of(client: Any) -> Any:
    return json.loads(client.recv(timeout=30))


def read_answer(client: Any) -> tuple[str, Any]:
    """Read an answer to its end; return it, and what came last."""
    text = ""
    while (message := next_of(client))["type"] == "piece":
        text += message["text"]
    return text, message


def test_answers_come_word_by_word_and_are_remembered(chat: Chat) -> None:
    with chat.client() as client:
        say(client, "ask", "I am Ada.")
        speech = chat.model.next_question()
        for word in ("Hello, ", "Ada."):
            speech.say(word)
            assert next_of(client) == {"type": "piece", "text": word}
        speech.end()
        assert next_of(client) == {"type": "end", "usd": speech.cost_pico_usd / 1e12}
        say(client, "ask", "Who am I?")
        speech = chat.model.next_question()
        said = [("user", "I am Ada."), ("assistant", "Hello, Ada."), ("user", "Who am I?")]
        assert speech.question == said
        speech.say("Ada.")
        speech.end()
        assert read_answer(client)[0] == "Ada."

    assert "Ada" not in chat.logs()


def test_those_in_the_room_hear_each_other(chat: Chat) -> None:
    with chat.client() as ada:
        with chat.client() as bob:
            say(ada, "tell", "grüße")
            assert next_of(bob) == {"type": "told", "text": "grüße"}
            assert next_of(ada) == {"type": "told", "text": "grüße"}
            assert next_of(ada) == {"type": "heard", "by": 2}
        say(ada, "tell", "alone")
        assert [next_of(ada), next_of(ada)][1] == {"type": "heard", "by": 1}


def test_two_clients_have_conversations_of_their_own(chat: Chat) -> None:
    with chat.client() as ada, chat.client() as bob:
        for client, question in ((ada, "I am Ada."), (bob, "Who am I?")):
            say(client, "ask", question)
            speech = chat.model.next_question()
            assert speech.question == [("user", question)]
            speech.say("Yes.")
            speech.end()
            assert read_answer(client)[0] == "Yes."


def test_what_a_client_sends_wrongly_is_told_to_it(chat: Chat) -> None:
    with chat.client() as client:
        client.send("no JSON")
        assert next_of(client)["type"] == "refused"
        say(client, "ask", {"a": 1})
        assert next_of(client)["type"] == "refused"
        say(client, "sing", "la")
        assert next_of(client)["type"] == "refused"
    assert chat.model.questions == 0


def test_an_answer_nobody_waits_for_is_cancelled_and_does_not_count(chat: Chat) -> None:
    with chat.client() as client:
        say(client, "ask", "A story, please.")
        speech = chat.model.next_question()
        speech.say("Once ")
        assert next_of(client) == {"type": "piece", "text": "Once "}
        opened = chat.bridge.events[-1]["requestContext"]["connectionId"]
        chat.api.close_connection(opened)
        speech.say("upon ")
        until(lambda: chat.bridge.count("MESSAGE") == 1)
        speech.end()
        until(lambda: chat.bridge.count("DISCONNECT") == 1)


def test_the_template_lets_the_function_do_what_it_does_and_nothing_else() -> None:
    function = RESOURCES["ChatFunction"]["Properties"]
    statements = {each["Sid"]: each for each in function["Policies"][0]["Statement"]}

    assert statements["WriteToConnections"]["Action"] == "execute-api:ManageConnections"
    assert statements["WriteToConnections"]["Resource"]["Fn::Sub"].endswith(
        "${ChatApi}/${StageName}/POST/@connections/*"
    )
    forgotten = statements["WhoeverLeavesIsForgotten"]["Condition"]["ForAllValues:StringLike"]
    assert forgotten == {"dynamodb:LeadingKeys": ["GROUP#*", "CONNECTION#*"]}
    assert function["Timeout"] <= 29, "API Gateway waits no longer"
    assert load_template(TEMPLATE)["Parameters"]["StageName"]["Default"] == STAGE
