"""WebSocket APIs of ministack, whose events are answered in the process of the test.

    client ─ ministack ─ a function there, which forwards ─ HTTP ─ answer(event)

So a test's own emulator can be behind a gateway that others wrote.
"""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import boto3
from websockets.sync.client import connect

from fakes import functions_in_ministack
from fakes.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from websockets.sync.client import ClientConnection

REGION = "us-east-1"
STAGE = "prod"
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}

FORWARDING = """
import json, os, urllib.request

def work(event, context):
    asked = urllib.request.Request(os.environ["BRIDGE"], json.dumps(event).encode())
    with urllib.request.urlopen(asked, timeout=60) as reply:
        return json.load(reply)
"""


class WebSocketApi(NamedTuple):
    """An API.

    Attributes:
        url: Where clients connect.
        endpoint: Where their connections are written to.
    """

    api_id: str
    url: str
    endpoint: str

    def close_connection(self, connection_id: str) -> None:
        """End a connection from outside, as its client's going away does."""
        client = boto3.client(
            "apigatewaymanagementapi", endpoint_url=self.endpoint, region_name=REGION, **KEYS
        )
        client.delete_connection(ConnectionId=connection_id)
        client.close()


class Bridge:
    """Hands the events to whoever answers; each on a thread of its own."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.answered: list[dict[str, Any]] = []
        self.clients = 0
        self.answer: Callable[[Any], Any] = lambda _: {"statusCode": 200}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Bridge:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextlib.contextmanager
    def client(self, api: WebSocketApi) -> Iterator[ClientConnection]:
        """Connect to an API of ours; after the block its end has been answered, too."""
        with connect(api.url, max_size=None) as client:
            self.clients += 1
            yield client
        self.clients -= 1
        until(lambda: self.count("CONNECT") - self.count("DISCONNECT") == self.clients)

    def count(self, kind: str) -> int:
        """Return how many events of a kind were answered: `CONNECT`, `MESSAGE`, `DISCONNECT`."""
        kinds = [event["requestContext"]["eventType"] for event in self.answered]
        return kinds.count(kind)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["content-length"])))
                owner.events.append(event)
                try:
                    answer = owner.answer(event)
                    if isinstance(answer, dict):
                        answer.pop("body", None)  # a route without a response has none, on AWS
                    reply = json.dumps(answer).encode()
                finally:
                    owner.answered.append(event)
                self.send_response(200)
                self.send_header("content-length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


@contextlib.contextmanager
def serve_websocket_api(
    ministack: str,
    bridge: Bridge,
    route_keys: Sequence[str] = ("$connect", "$disconnect", "$default"),
    selection: str = "$request.body.action",
) -> Iterator[WebSocketApi]:
    """Make an API whose routes all lead to the bridge; it is gone after the block."""
    function = functions_in_ministack.deploy(ministack, FORWARDING, {"BRIDGE": bridge.url}, 60)
    apis = boto3.client("apigatewayv2", endpoint_url=ministack, region_name=REGION, **KEYS)
    api_id = apis.create_api(
        Name=f"chat-{uuid4().hex}", ProtocolType="WEBSOCKET", RouteSelectionExpression=selection
    )["ApiId"]
    target = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function}/invocations"
    integration = apis.create_integration(
        ApiId=api_id, IntegrationType="AWS_PROXY", IntegrationUri=target
    )["IntegrationId"]
    for key in route_keys:
        apis.create_route(ApiId=api_id, RouteKey=key, Target=f"integrations/{integration}")
    apis.create_stage(ApiId=api_id, StageName=STAGE)
    place = f"{ministack.removeprefix('http')}/_aws/execute-api/{api_id}/{STAGE}"
    try:
        yield WebSocketApi(api_id, f"ws{place}", f"http{place}")
    finally:
        apis.delete_api(ApiId=api_id)
        apis.close()
        client = boto3.client("lambda", endpoint_url=ministack, region_name=REGION, **KEYS)
        client.delete_function(FunctionName=function)
        client.close()
