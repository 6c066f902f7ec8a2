"""WebSockets, end to end: real clients, a gateway that others wrote, and the layer behind it.

websockets ─ ministack ─ a function that forwards ─ our emulator: awslambdaric, SDK ─ sidecar ─┐
                 └───────────────────────── @connections ◄─────────────────────────────────────┘
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from examples.spoken_model import MODEL_ID, SpokenModel
from fakes.waiting import until
from fakes.websocket_apis import REGION, Bridge, serve_websocket_api
from faults.processes import sidecar_pid, usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.conftest import Service, Start
    from fakes.websocket_apis import WebSocketApi

FUNCTION = '''
import json
import os
import urllib.request

from lambdallm import handler, stream_handler

def connect(event, context):
    context.connections.add(os.environ["ROOM"])

def leave(event, context):
    context.connections.remove()

def say(event, context):
    """Push what it is told to, and ask between two pieces whether to go on."""
    said = []
    for piece in event["body"]["pieces"]:
        said.append(context.push(piece))
        urllib.request.urlopen(event["body"]["gate"], data=json.dumps(said).encode()).read()

def tell(event, context):
    context.push({"told": context.connections.push(os.environ["ROOM"], event["body"]["message"])})

def many(event, context):
    for number in range(event["body"]["count"]):
        assert context.push(str(number))

ROUTES = {"$connect": connect, "$disconnect": leave, "say": say, "tell": tell, "many": many}

@handler
def plain(event, context):
    ROUTES[event["requestContext"]["routeKey"]](event, context)
    return {"statusCode": 200}

@stream_handler(via="websocket")
def streamed(event, context):
    if event["requestContext"]["routeKey"] == "$connect":
        return {"statusCode": 200}
    return context.stream(event["body"]["message"])
'''
ROUTES = ("$connect", "$disconnect", "say", "tell", "many")


class Gate:
    """A place where the function waits between two pieces until a test lets it go on."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self._free = threading.Semaphore(0)

    def pass_by(self, said: Any) -> Any:
        self.told.append(said)
        assert self._free.acquire(timeout=30)
        return {}

    def open(self, times: int = 1) -> None:
        self._free.release(times)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    with Bridge() as bridge:
        yield bridge


@pytest.fixture
def api(ministack: str, bridge: Bridge) -> Iterator[WebSocketApi]:
    with serve_websocket_api(ministack, bridge, ROUTES) as api:
        yield api


@pytest.fixture
def start(
    emulator: Start, layer: Path, dynamodb: Service, bridge: Bridge, api: WebSocketApi
) -> Callable[..., Any]:
    """Put the function behind the API; it runs as long as the block."""

    def start(handler: str = "app.plain", **variables: str) -> Any:
        environment = emulator(
            {"app.py": FUNCTION}, handler, opt=layer, timeout_seconds=60,
            variables={
                "LAMBDALLM_STORE": f"dynamodb://{dynamodb.table}",
                "LAMBDALLM_CONNECTIONS_ENDPOINT": api.endpoint,
                "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
                "AWS_REGION": "us-east-1",
                "ROOM": api.api_id,
                **variables,
            },
        )  # fmt: skip
        one = threading.Lock()  # an environment takes one event at a time

        def answer(event: Any) -> Any:
            with one:
                return environment.invoke(event).json()

        bridge.answer = answer
        return environment

    return start


@pytest.fixture
def gate() -> Iterator[tuple[Gate, str]]:
    gate = Gate()
    with Bridge() as place:
        place.answer = gate.pass_by
        yield gate, place.url


def send(client: Any, **message: Any) -> None:
    client.send(json.dumps(message))


def members_in(dynamodb: Service, room: str) -> int:
    client = boto3.client("dynamodb", endpoint_url=dynamodb.url, region_name=REGION)
    keys = {":pk": {"S": f"GROUP#{room}"}}
    found = client.query(
        TableName=dynamodb.table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues=keys,
        ConsistentRead=True,
    )
    client.close()
    return int(found["Count"])


def test_messages_arrive_one_by_one_while_the_handler_runs(
    start: Callable[..., Any], api: WebSocketApi, bridge: Bridge, gate: tuple[Gate, str]
) -> None:
    pieces = ["one", "grüße 🐍", {"three": [3]}, "x" * 131_072]
    with start(), bridge.client(api) as client:
        send(client, action="say", pieces=pieces, gate=gate[1])
        for number, piece in enumerate(pieces, 1):
            came = client.recv(timeout=30)
            assert (json.loads(came) if isinstance(piece, dict) else came) == piece
            until(lambda number=number: len(gate[0].told) == number)
            gate[0].open()

    assert gate[0].told[-1] == [True] * 4


def test_who_goes_away_in_the_middle_is_written_to_no_more(
    start: Callable[..., Any], api: WebSocketApi, bridge: Bridge, gate: tuple[Gate, str]
) -> None:
    with start() as environment, bridge.client(api) as client:
        send(client, action="say", pieces=["a", "b", "c", "d"], gate=gate[1])
        assert client.recv(timeout=30) == "a"
        until(lambda: gate[0].told)
        api.close_connection(bridge.events[-1]["requestContext"]["connectionId"])
        gate[0].open(4)
        until(lambda: len(gate[0].told) == 4)
        environment.wait_until_idle()

    assert gate[0].told[-1] == [True, False, False, False]


def test_a_group_is_told_joined_and_left(
    start: Callable[..., Any], api: WebSocketApi, bridge: Bridge, dynamodb: Service
) -> None:
    with start() as environment, bridge.client(api) as ada:
        with bridge.client(api) as bob:
            send(ada, action="tell", message="hello")
            assert bob.recv(timeout=30) == "hello"
            assert [ada.recv(timeout=30), ada.recv(timeout=30)] == ["hello", '{"told":2}']
            assert members_in(dynamodb, api.api_id) == 2
        send(ada, action="tell", message="alone")
        assert [ada.recv(timeout=30), ada.recv(timeout=30)] == ["alone", '{"told":1}']
        assert members_in(dynamodb, api.api_id) == 1
        assert not [line.text for line in environment.logs if "hello" in line.text]
        assert not [line.text for line in environment.logs if "embedded" in line.text]


def test_tokens_of_a_model_arrive_while_it_still_speaks(
    start: Callable[..., Any], api: WebSocketApi, bridge: Bridge
) -> None:
    with SpokenModel() as model:
        variables = {
            "LAMBDALLM_MODEL": f"bedrock/{MODEL_ID}",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model.url,
        }
        with start("app.streamed", **variables), bridge.client(api) as client:
            send(client, action="say", message="A story, please.")
            speech = model.next_question()
            for word in ("It ", "was ", "a ", "grüße ", "night."):
                speech.say(word)
                assert client.recv(timeout=30) == word
            speech.end()


def test_a_model_whose_reader_has_gone_is_let_go_of(
    start: Callable[..., Any], api: WebSocketApi, bridge: Bridge
) -> None:
    with SpokenModel() as model:
        variables = {
            "LAMBDALLM_MODEL": f"bedrock/{MODEL_ID}",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model.url,
        }
        with start("app.streamed", **variables) as environment, bridge.client(api) as client:
            send(client, action="say", message="A story, please.")
            speech = model.next_question()
            speech.say("It ")
            assert client.recv(timeout=30) == "It "
            api.close_connection(bridge.events[-1]["requestContext"]["connectionId"])
            speech.say("was ")
            until(lambda: bridge.count("MESSAGE") == 1)  # the model has not ended yet
            speech.end()
        logs = [line.text for line in environment.logs]

    assert [line for line in logs if "The client has gone before the answer's end." in line]
    assert bridge.count("DISCONNECT") == 1


def test_an_error_in_the_middle_is_a_message(
    start: Callable[..., Any], api: WebSocketApi, bridge: Bridge
) -> None:
    with SpokenModel() as model:
        variables = {
            "LAMBDALLM_MODEL": f"bedrock/{MODEL_ID}",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model.url,
        }
        with start("app.streamed", **variables), bridge.client(api) as client:
            send(client, action="say", message="A story, please.")
            speech = model.next_question()
            speech.say("It ")
            speech.fail("modelStreamErrorException", "The model has failed.")
            assert client.recv(timeout=30) == "It "
            told = json.loads(client.recv(timeout=30))

    assert told["error"]["code"] == "model_invocation"


@pytest.mark.slow
def test_ten_thousand_messages_leave_nothing_behind(
    start: Callable[..., Any], api: WebSocketApi, bridge: Bridge
) -> None:
    def push(client: Any, count: int) -> None:
        send(client, action="many", count=count)
        for number in range(count):
            assert client.recv(timeout=60) == str(number)

    with start() as environment, bridge.client(api) as client:
        push(client, 1_000)
        sidecar = sidecar_pid(environment.pids["lambdallm"])
        assert sidecar is not None
        pids = {"sidecar": sidecar, "runtime": environment.pids["runtime"]}
        before = {name: usage(pid) for name, pid in pids.items()}
        push(client, 10_000)
        after = {name: usage(pid) for name, pid in pids.items()}

    for name, used in before.items():
        assert after[name].descriptors <= used.descriptors + 1
        assert after[name].threads <= used.threads + 1
        assert after[name].resident_kb <= used.resident_kb + 2_048
