"""Messages for WebSocket clients, as handlers send them: by the embedded engine, and a sidecar."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import lambdallm
from fakes.api_server import ApiServer, Reply
from lambdallm import _embedded, _transport, handler
from lambdallm._connection import SidecarLostError, decode_reply
from lambdallm.testing import MockLambdaContext
from lambdallm_extension.settings import SystemClock
from lambdallm_wire import routes

OK, GONE = Reply(200), Reply(410)
ID = "R0oXAdfD0kwCH6w="


def event(kind: str = "MESSAGE", connection_id: str = ID, **more: Any) -> dict[str, Any]:
    return {
        "requestContext": {
            "routeKey": {"CONNECT": "$connect", "DISCONNECT": "$disconnect"}.get(kind, "$default"),
            "eventType": kind,
            "connectedAt": SystemClock().epoch_ms(),
            "connectionId": connection_id,
            "domainName": "a1b2c3.execute-api.us-east-1.amazonaws.com",
            "apiId": "a1b2c3",
            "stage": "prod",
            **more,
        },
        "body": "hello",
        "isBase64Encoded": False,
    }


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """What stands for API Gateway: it takes everything."""
    with ApiServer(OK) as server:
        monkeypatch.setenv("LAMBDALLM_CONNECTIONS_ENDPOINT", f"{server.url}/prod")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield server


@pytest.fixture(params=["embedded", "sidecar"])
def host(request: pytest.FixtureRequest, gateway: ApiServer) -> Any:
    """Who answers, when the gateway is known."""
    name = {"embedded": "embedded", "sidecar": "sidecar_of"}[request.param]
    served = request.getfixturevalue(name)()
    return served if request.param == "sidecar" else None


@pytest.fixture
def run(host: Any, gateway: ApiServer) -> Callable[..., Any]:
    """Run something in a handler; return what it returned, or the error that it raised."""
    del host

    def run(act: Callable[[Any], Any], of: Any = None, **options: Any) -> Any:
        came: list[Any] = []

        @handler(**options)
        def handle(_event: Any, context: Any) -> Any:
            try:
                came.append(act(context))
            except (lambdallm.LambdaLLMError, TypeError) as error:
                came.append(error)
            return {"statusCode": 200}

        handle(event() if of is None else of, MockLambdaContext())
        return came[0]

    return run


def told(gateway: ApiServer) -> list[str]:
    return [asked.body.decode() for asked in gateway.asked]


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        ("grüße 🐍", "grüße 🐍"),
        ("grüße".encode(), "grüße"),
        (bytearray(b"x"), "x"),
        ({"a": [1, "ü", None]}, '{"a":[1,"ü",null]}'),
        ([1], "[1]"),
        ("x" * 131_072, "x" * 131_072),
    ],
    ids=["text", "bytes", "bytearray", "dict", "list", "128 KB"],
)
def test_a_message_arrives_as_it_was_given(
    run: Callable[..., Any], gateway: ApiServer, data: Any, sent: str
) -> None:
    assert run(lambda context: context.push(data)) is True
    assert told(gateway) == [sent]
    assert gateway.asked[0].target == "/prod/@connections/R0oXAdfD0kwCH6w%3D"


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        ({"a": float("nan")}, lambdallm.InvalidRequestError, "is no JSON"),
        ("x" * 131_073, lambdallm.InvalidRequestError, "131,073 bytes"),
        ("ü" * 65_537, lambdallm.InvalidRequestError, "131,074 bytes"),
        (b"\xff\xfe", lambdallm.InvalidRequestError, "Base64"),
        ("grüße".encode()[:3], lambdallm.InvalidRequestError, "between characters"),
        ("\ud800", lambdallm.InvalidRequestError, "no text that can be sent"),
        (1.5, TypeError, "float"),
        (None, TypeError, "NoneType"),
        ({"a": object()}, TypeError, "JSON"),
    ],
    ids=[
        "NaN",
        "129 KB",
        "in bytes",
        "binary",
        "half a character",
        "surrogate",
        "number",
        "none",
        "no",
    ],
)
def test_what_cannot_be_sent_is_refused_before(
    run: Callable[..., Any], gateway: ApiServer, data: Any, error: Any, said: str
) -> None:
    came = run(lambda context: context.push(data))

    assert type(came) is error
    assert said in str(came)
    assert gateway.asked == []


def test_of_an_empty_message_nothing_is_sent(run: Callable[..., Any], gateway: ApiServer) -> None:
    assert run(lambda context: [context.push(""), context.push(b"")]) == [True, True]
    assert gateway.asked == []


def test_another_connection_is_named(run: Callable[..., Any], gateway: ApiServer) -> None:
    queue = {"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": "{}"}]}

    assert run(lambda context: context.push("x", "other="), of=queue)
    assert gateway.asked[0].target == "/prod/@connections/other%3D"


def test_an_event_without_a_connection_has_to_name_one(
    run: Callable[..., Any], gateway: ApiServer
) -> None:
    queue = {"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": "{}"}]}

    assert "connection_id=" in run(lambda context: context.push("x"), of=queue).detail
    assert "connection_id=" in run(lambda context: context.connections.add("r"), of=queue).detail
    assert gateway.asked == []


@pytest.mark.parametrize("name", ["", "a#b", "ü", "x" * 129])
def test_no_connection_is_called_so(run: Callable[..., Any], gateway: ApiServer, name: str) -> None:
    came = run(lambda context: context.push("x", name))

    assert isinstance(came, lambdallm.InvalidRequestError)
    assert gateway.asked == []


def test_a_connection_that_is_opening_is_not_written_to(
    run: Callable[..., Any], gateway: ApiServer
) -> None:
    """API Gateway would call it gone."""
    came = run(lambda context: context.push("x"), of=event("CONNECT"))

    assert isinstance(came, lambdallm.InvalidRequestError)
    assert "opens when its handler has returned" in came.detail
    assert run(lambda context: context.push("x", "other"), of=event("CONNECT")) is True


def test_a_client_that_is_gone_is_asked_once(run: Callable[..., Any], gateway: ApiServer) -> None:
    gateway.replies = [OK, OK, GONE]

    assert run(lambda context: [context.push(word) for word in "abcde"]) == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert told(gateway) == ["a", "b", "c"]


def test_a_throttled_message_is_sent_again_and_order_is_kept(
    run: Callable[..., Any], gateway: ApiServer
) -> None:
    gateway.replies = [OK, Reply(429), Reply(503), OK]

    assert run(lambda context: [context.push(word) for word in "abc"]) == [True] * 3
    assert told(gateway) == ["a", "b", "b", "b", "c"]


def test_a_permission_that_is_missing_is_named(run: Callable[..., Any], gateway: ApiServer) -> None:
    gateway.replies = [Reply(403)]
    came = run(lambda context: context.push("x"))

    assert type(came) is lambdallm.ConfigurationError
    assert "execute-api:ManageConnections" in came.detail


def test_nobody_knows_whether_a_message_came_whose_answer_is_lost(
    run: Callable[..., Any], gateway: ApiServer
) -> None:
    gateway.replies = [Reply(0, end="reset")]
    came = run(lambda context: context.push("x"))

    assert type(came) is lambdallm.SidecarError
    assert "Nobody knows whether" in came.detail
    assert told(gateway) == ["x"]


def test_an_address_that_nobody_knows_is_asked_for(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, embedded: Any
) -> None:
    monkeypatch.delenv("LAMBDALLM_CONNECTIONS_ENDPOINT")
    embedded()
    came = run(lambda context: context.push("x", "other"), of={"Records": []})

    assert type(came) is lambdallm.ConfigurationError
    assert "LAMBDALLM_CONNECTIONS_ENDPOINT" in came.detail


def test_coroutines_write_in_the_order_in_which_they_begin(
    run: Callable[..., Any], gateway: ApiServer
) -> None:
    words = [str(number) for number in range(40)]

    @handler
    async def handle(_event: Any, context: Any) -> Any:
        assert all(await asyncio.gather(*[context.apush(word) for word in words]))
        await context.connections.aadd("room")
        assert await context.connections.apush("room", "all") == 1
        assert await context.connections.aremove() == ["room"]
        return {"statusCode": 200}

    assert handle(event(), MockLambdaContext())["statusCode"] == 200
    assert told(gateway) == [*words, "all"]


def test_a_group_hears_what_one_says(run: Callable[..., Any], gateway: ApiServer) -> None:
    for name in ("ada", "bob"):
        opened = event("CONNECT", name)
        assert run(lambda context: context.connections.add("room"), of=opened) is None

    assert run(lambda context: context.connections.push("room", {"said": "hi"}), of={}) == 2
    assert sorted(asked.target for asked in gateway.asked) == [
        "/prod/@connections/ada",
        "/prod/@connections/bob",
    ]
    closed = event("DISCONNECT", "ada")
    assert run(lambda context: context.connections.remove(), of=closed) == ["room"]
    assert run(lambda context: context.connections.push("room", "x"), of={}) == 1
    assert run(lambda context: context.connections.push("room", ""), of={}) == 0
    assert run(lambda context: context.connections.remove("room", "bob"), of={}) == ["room"]
    assert run(lambda context: context.connections.push("room", "x"), of={}) == 0


@pytest.mark.parametrize("group", ["", "x" * 257])
def test_no_group_is_called_so(run: Callable[..., Any], group: str) -> None:
    came = run(lambda context: context.connections.add(group))

    assert isinstance(came, lambdallm.InvalidRequestError)


def test_threads_write_to_many_at_once(run: Callable[..., Any], gateway: ApiServer) -> None:
    def act(context: Any) -> list[bool]:
        came: list[bool] = []
        threads = [
            threading.Thread(target=lambda name=name: came.append(context.push("x", name)))
            for name in (f"c{number}" for number in range(20))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return came

    assert run(act) == [True] * 20
    assert len({asked.target for asked in gateway.asked}) == 20


def test_no_message_is_in_a_log(
    run: Callable[..., Any], gateway: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.replies = [OK, Reply(500), Reply(400)]
    run(lambda context: [context.push("a secret"), context.push("a secret")])
    said = capsys.readouterr()

    assert "secret" not in said.out + said.err


class Older:
    """The embedded engine, as one that has none of these routes."""

    usable = True

    def __init__(self) -> None:
        self._engine = _embedded.EmbeddedTransport.start()

    def request(self, route: routes.Route, message: Any, *, timeout_seconds: float) -> Any:
        if route in routes.CONNECTION_ROUTES:
            detail = f"There is no POST {route.path}. Is the SDK newer than the layer?"
            return decode_reply(404, json.dumps({"code": "not_found", "detail": detail}).encode())
        return self._engine.request(route, message, timeout_seconds=timeout_seconds)

    def close(self) -> None:
        self._engine.close()


def in_handler(act: Callable[[Any], Any]) -> Any:
    came: list[Any] = []

    @handler
    def handle(_event: Any, context: Any) -> Any:
        try:
            came.append(act(context))
        except lambdallm.LambdaLLMError as error:
            came.append(error)

    handle(event(), MockLambdaContext())
    return came[0]


def test_an_older_layer_is_named() -> None:
    _transport.replace(Older())  # type: ignore[arg-type]  # it streams nothing
    came = in_handler(lambda context: context.push("x"))

    assert type(came) is lambdallm.ConfigurationError
    assert "layer is too old to write to WebSockets" in came.detail


class Dying(Older):
    """An engine that is lost when a message has left."""

    def __init__(self) -> None:
        super().__init__()
        self.pushed = 0

    def request(self, route: routes.Route, message: Any, *, timeout_seconds: float) -> Any:
        if route is routes.PUSH:
            self.pushed += 1
            raise SidecarLostError("It is gone.", sent=True, silent=False)
        return self._engine.request(route, message, timeout_seconds=timeout_seconds)


def test_a_message_is_not_sent_again_by_another_engine() -> None:
    dying = Dying()
    _transport.replace(dying)  # type: ignore[arg-type]  # it streams nothing
    came = in_handler(lambda context: context.push("x"))

    assert isinstance(came, lambdallm.SidecarError)
    assert dying.pushed == 1
