"""The Runtime API and the Extensions API, as one environment answers them.

    /2018-06-01/runtime/invocation/next | ID/response | ID/error, runtime/init/error
    /2018-06-01/runtime/restore/next, restore/error and /2021-04-23/credentials with SnapStart
    /2020-01-01/extension/register | event/next | init/error | exit/error
    /2022-07-01/telemetry; the Logs API before it (/2020-08-15/logs) says that it is not supported

Every rule is in `states`; here requests become calls and callers wait for their events.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from lambda_runtime_api.emulator.moves import RefusedError
from lambda_runtime_api.emulator.platform_events import PlatformEvents
from lambda_runtime_api.emulator.responses import (
    MODE_HEADER,
    STREAMING,
    Response,
    invalid_mode,
    receive,
    too_large,
)
from lambda_runtime_api.emulator.server import Answer
from lambda_runtime_api.emulator.snapshots import CREDENTIALS_PATH
from lambda_runtime_api.emulator.states import Life
from lambda_runtime_api.emulator.streams import PAYLOAD_MAX_BYTES, Receiver
from lambda_runtime_api.emulator.telemetry import Telemetry
from lambda_runtime_api.emulator.variables import MANAGED_INSTANCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lambda_runtime_api.emulator.server import Body
    from lambda_runtime_api.emulator.snapshots import Snapshot
    from lambda_runtime_api.emulator.variables import Function
    from lambda_runtime_api.http1 import Request

CLOSING_SECONDS = 0.5
"""How long the end of a stream may be on its way, when its runtime asks for more on another
connection: AWS's emulator then answers as it happens to see the one or the other first.
"""

_JSON = ("content-type", "application/json")
_RUNTIME = "/2018-06-01/runtime/"
_EXTENSION = "/2020-01-01/extension/"
_TELEMETRY = "/2022-07-01/telemetry"
LOGS_PATH = "/2020-08-15/logs"
_PATHS = (
    f"{_RUNTIME}invocation/next",
    f"{_RUNTIME}init/error",
    f"{_EXTENSION}register",
    f"{_EXTENSION}event/next",
    f"{_EXTENSION}init/error",
    f"{_EXTENSION}exit/error",
    _TELEMETRY,
)

_SNAPSHOT_PATHS = (f"{_RUNTIME}restore/next", f"{_RUNTIME}restore/error", CREDENTIALS_PATH)


NOBODY = Receiver()


class Invocation(NamedTuple):
    """What the runtime gets from `next`."""

    headers: list[tuple[str, str]]
    payload: bytes
    receiver: Receiver = NOBODY
    """Where its answer goes, where that is streamed."""


class Api:
    """Answers the processes of an environment. `changed` guards and announces all its state."""

    def __init__(self, function: Function, initialization_type: str = "on-demand") -> None:
        """Begin without a life; `Phases` brings one.

        Args:
            function: The function.
            initialization_type: As in `AWS_LAMBDA_INITIALIZATION_TYPE`.
        """
        self._function = function
        self.telemetry = Telemetry(managed=initialization_type == MANAGED_INSTANCES)
        self.events = PlatformEvents(self.telemetry.publish, function, initialization_type)
        self.changed = threading.Condition()
        self.life: Life | None = None
        self.response: Response | None = None
        self.snapshot: Snapshot | None = None

    def new_life(self, external_names: Iterable[str]) -> Life:
        """Make the states of a new life."""
        return Life(external_names, lambda: str(uuid4()))

    def answer(self, request: Request, body: Body) -> Answer | None:
        """Answer one request; None when the environment ends before there is an answer."""
        path = request.target.partition("?")[0]
        if request.header(MODE_HEADER) == STREAMING and (request_id := _answered(request, path)):
            return self._stream(request, request_id, body)
        return self._answer(request, path, body.read())

    def _answer(self, request: Request, path: str, body: bytes) -> Answer | None:
        with self.changed:
            life = self.life
            if life is None:
                return None
            try:
                if self.snapshot and path in _SNAPSHOT_PATHS:
                    return self._route_snapshot(self.snapshot, life, path, request, body)
                return self._route(life, path, request, body)
            except RefusedError as error:
                return _refused(error)
            finally:
                self.changed.notify_all()

    def _stream(self, request: Request, request_id: str, body: Body) -> Answer | None:
        """Pass a streamed response on; the runtime is told when all of it is taken."""
        life = self.life
        if life is None:
            return None
        try:
            with self.changed:
                receiver = self._begin_stream(life, request_id)
            response = receive(receiver, request, body)
            with self.changed:
                self._end_stream(life, request_id, response)
                self.changed.notify_all()
        except RefusedError as error:
            return _refused(error)
        return _refused(response.refusal) if response.refusal else _accepted()

    def _begin_stream(self, life: Life, request_id: str) -> Receiver:
        """Return where a streamed response goes."""
        invocation: Invocation = life.runtime_begins_response(request_id)
        return invocation.receiver

    def _end_stream(self, life: Life, request_id: str, response: Response) -> None:
        """Take what became of it, if anybody waits for that; `request_id` is for `managed`."""
        if life is self.life and life.responding:
            self.response = response
            life.runtime_ends_response()

    def _route(self, life: Life, path: str, request: Request, body: bytes) -> Answer | None:
        match (request.method, path):
            case ("GET", "/2018-06-01/runtime/invocation/next"):
                answer = self._runtime_next(life)
            case ("GET", "/2020-01-01/extension/event/next"):
                answer = self._extension_next(life, request)
            case ("POST", "/2020-01-01/extension/register"):
                answer = self._register(life, request, body)
            case ("PUT", "/2022-07-01/telemetry"):
                answer = self._subscribe(life, request, body)
            case ("PUT", "/2020-08-15/logs"):
                answer = _problem(202, "Telemetry.NotSupported", "Telemetry API is not supported")
            case ("POST", "/2018-06-01/runtime/init/error"):
                life.runtime_init_error(_error_type(request, body, "Runtime.Unknown"), body)
                answer = _accepted()
            case ("POST", "/2020-01-01/extension/init/error" | "/2020-01-01/extension/exit/error"):
                answer = _extension_error(life, path[len(_EXTENSION) :], request)
            case (_, _) if path in _PATHS:
                answer = Answer(405, [], b"")
            case ("POST", _) if path.startswith(_RUNTIME):
                answer = self._runtime_says(life, path[len(_RUNTIME) :], request, body)
            case _:
                answer = not_found()
        return answer

    def _register(self, life: Life, request: Request, body: bytes) -> Answer:
        extension = life.register(request.header("lambda-extension-name"), _decode(body))
        registration = {
            "functionName": self._function.name,
            "functionVersion": self._function.version,
            "handler": self._function.handler,
        }
        features = request.header("lambda-extension-accept-feature").split(",")
        if "accountId" in (feature.strip() for feature in features):
            registration["accountId"] = self._function.account_id
        headers = [_JSON, ("Lambda-Extension-Identifier", extension.identifier)]
        return Answer(200, headers, json.dumps(registration).encode())

    def _subscribe(self, life: Life, request: Request, body: bytes) -> Answer:
        identifier = request.header("lambda-extension-identifier")
        extension = life.find(identifier, f"Unknown extension {identifier}")
        self.telemetry.subscribe(extension.name, body)
        return Answer(200, [("content-type", "text/plain; charset=utf-8")], b'"OK"')

    def _extension_next(self, life: Life, request: Request) -> Answer | None:
        extension = life.extension_next(request.header("lambda-extension-identifier"))
        self.changed.notify_all()
        while (event := life.take_event(extension)) is None:
            self.changed.wait()
            if life.ended:
                return None
        headers = [_JSON, ("Lambda-Extension-Event-Identifier", str(uuid4()))]
        return Answer(200, headers, json.dumps(event).encode())

    def _runtime_next(self, life: Life) -> Answer | None:
        self.changed.wait_for(lambda: life.ended or not life.responding, CLOSING_SECONDS)
        life.runtime_next()
        self.changed.notify_all()
        while (invocation := life.take_invocation()) is None:
            self.changed.wait()
            if life.ended:
                return None
        return Answer(200, [_JSON, *invocation.headers], invocation.payload)

    def _route_snapshot(
        self, snapshot: Snapshot, life: Life, path: str, request: Request, body: bytes
    ) -> Answer | None:
        """Answer what only a function with SnapStart can ask."""
        match (request.method, path):
            case ("GET", "/2018-06-01/runtime/restore/next"):
                return self._restore_next(life)
            case ("POST", "/2018-06-01/runtime/restore/error"):
                life.runtime_restore_error(_error_type(request, body, "Runtime.Unknown"), body)
                return _accepted()
            case _:
                return snapshot.credentials(request.header("authorization"))

    def _restore_next(self, life: Life) -> Answer | None:
        life.runtime_restore_next()
        self.changed.notify_all()
        while not life.restored:
            self.changed.wait()
            if life.ended:
                return None
        return Answer(200, [_JSON], b"{}")

    def _runtime_says(self, life: Life, path: str, request: Request, body: bytes) -> Answer:
        match path.split("/"):
            case ["invocation", request_id, "response" | "error" as said]:
                pass
            case _:
                return not_found()
        content_type = request.header("content-type")
        if said == "error":
            error_type = _error_type(request, body, "Function.Unknown")
            response = Response(body, error_type, content_type)
        elif request.header(MODE_HEADER):
            response = invalid_mode()
        elif len(body) > PAYLOAD_MAX_BYTES:
            response = too_large(len(body))
        else:
            response = Response(body, None, content_type)
        self._take(life, request_id, response, request)
        return _refused(response.refusal) if response.refusal else _accepted()

    def _take(self, life: Life, request_id: str, response: Response, request: Request) -> None:
        """Take what the runtime answers, if it may answer now."""
        life.runtime_responds(request_id, request.target.rpartition("/")[2])
        self.response = response


def _answered(request: Request, path: str) -> str:
    """Return which invocation a request answers with a response; "" if it does not."""
    match path.removeprefix(_RUNTIME).split("/"):
        case ["invocation", request_id, "response"] if request.method == "POST":
            return request_id
        case _:
            return ""


def _extension_error(life: Life, said: str, request: Request) -> Answer:
    life.extension_error(
        request.header("lambda-extension-identifier"),
        said,
        request.header("lambda-extension-function-error-type"),
    )
    return _accepted()


def _error_type(request: Request, body: bytes, default: str) -> str:
    """Find the error's name: the exception's in the body, else Lambda's own in the header."""
    problem = _decode(body)
    named = problem.get("errorType") if isinstance(problem, dict) else None
    return str(named or request.header("lambda-runtime-function-error-type") or default)


def _decode(body: bytes) -> object:
    try:
        value: object = json.loads(body)
    except ValueError:
        return None
    return value


def _accepted() -> Answer:
    return Answer(202, [_JSON], b'{"status":"OK"}\n')


def not_found() -> Answer:
    """Answer a request for what is not there."""
    return Answer(404, [("content-type", "text/plain")], b"404 page not found\n")


def _refused(error: RefusedError) -> Answer:
    return _problem(error.status, error.error_type, error.message)


def _problem(status: int, error_type: str, message: str) -> Answer:
    body: Mapping[str, str] = {"errorMessage": message, "errorType": error_type}
    return Answer(status, [_JSON], json.dumps(body).encode())
