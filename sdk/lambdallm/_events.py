"""What an event says, whatever brought it: its shape, its decoded body, its session, its identity.

    http       API Gateway (REST, HTTP API), Function URL, ALB; a hand-made event with a `body`
    websocket  API Gateway WebSocket
    service    SQS, SNS, S3, streams, EventBridge, and whatever else calls by itself: its
               answer goes back unchanged, and a failure must reach Lambda
    direct     anything else: somebody called the function

The user's event is never changed; the handler gets a copy where a body was decoded.
"""

from __future__ import annotations

import binascii
import json
import sys

from lambdallm import _errors, _resumption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambdallm_wire.sessions import Receipt

ID_CHARACTERS_MAX = 256

_SERVICE_KEYS = (
    "Records",
    "records",
    "detail-type",
    "awslogs",
    "triggerSource",
    "methodArn",
    "authorizationToken",
    "rmqMessagesByQueue",
    "eventSource",
    "invocationSchemaVersion",
    "ResponseURL",
    "CodePipeline.job",
    "messageVersion",
    "deliveryStreamArn",
    "bot",
    "info",
    "lambdallm_task",
)
"""Keys that only events of AWS's own services, and tasks of our state machines, have at the top.

Source: the sample events in the Lambda developer guide ("Integrating other services") and of
aws-lambda-powertools' tests, 2026-11. Some of the last: Bedrock agents, Firehose, Lex, AppSync.
"""

_SESSION_FIELDS = ("session_id", "sessionId")
_SESSION_HEADER = "x-session-id"
_IDENTITY_HEADER = "idempotency-key"
_RECEIPT_HEADER = "x-lambdallm-exchange"
RUN_HEADER = "x-lambdallm-run"
"""Names the run that its sender wants to go on with, and the one that an answer is of."""


class Incoming:
    """An event as the handler gets it, and what was found in it.

    A plain class, as everywhere in the SDK: a `NamedTuple` of seven fields costs a cold start
    up to 1 ms, this 0.01 ms.

    Attributes:
        shape: `http`, `websocket`, `service` or `direct`.
        event: A copy with the body decoded, or the event itself.
        raw_body: The body as text before it was decoded, None without one.
        session_id: None when the event names none.
        identity: What makes it the same event when it comes again; None: the request id does.
        lists_headers: Whether its sender wants `multiValueHeaders` back (ALB).
        after: What its sender has seen of the session, None where it does not say.
        run_id: Of the run that its sender wants to go on with, None where it does not say.
        original: The event as it came, to be sent again.
        resumed: Whether it comes again to go on with a run: nobody waits for its answer.
        fault: What is wrong with its ids; raised when the unit of work is open, if a session is
            declared, which they are for.
    """

    def __init__(
        self,
        shape: str,
        event: Any,
        *,
        raw_body: str | None = None,
        session_id: str | None = None,
        identity: str | None = None,
    ) -> None:
        self.shape = shape
        self.event = event
        self.raw_body = raw_body
        self.session_id = session_id
        self.identity = identity
        self.lists_headers = False
        self.after: Receipt | None = None
        self.run_id: str | None = None
        self.original: Any = None
        self.resumed = False
        self.fault: _errors.InvalidRequestError | None = None

    @property
    def wants_status(self) -> bool:
        """Whether a failure is answered with a status instead of raised."""
        return self.shape in ("http", "websocket") and not self.resumed

    @property
    def body(self) -> Any:
        """What a schema is held against: the body, or the whole event where there is none."""
        has_body = self.shape in ("http", "websocket")
        return self.event.get("body") if has_body else self.event


class _JsonText:
    """A decoded body that `json.loads` takes too, and then decodes once more.

    Handlers written for API Gateway call `json.loads(event["body"])`; ours also write
    `event["body"]["message"]`. `json.loads` asks `isinstance(body, bytes)` and then for
    `startswith` and `decode`. So this answers the `json` module, and nobody else, that it is
    the bytes that came; to everybody else it is a plain dict or list.
    """

    text: str

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        asking = sys._getframe(1).f_globals.get("__name__")  # noqa: SLF001 - see the docstring
        return bytes if asking == "json" else type(self)

    def startswith(self, prefix: object) -> bool:
        """Say that a UTF-8 mark is there, which leads `json.loads` straight to `decode`."""
        return isinstance(prefix, bytes)

    def decode(self, *_encoding: str) -> str:
        """Return the text as it came."""
        return self.text


class JsonObject(_JsonText, dict):  # type: ignore[type-arg]
    """A decoded JSON object: a dict that `json.loads` takes too."""


class JsonArray(_JsonText, list):  # type: ignore[type-arg]
    """A decoded JSON array: a list that `json.loads` takes too."""


def read(event: Any, *, in_lambda: bool = True) -> Incoming:
    """Find out what an event is and says. Never raises: `fault` says what is wrong.

    Args:
        event: As Lambda hands it over.
        in_lambda: Outside, an empty event is one made by hand in a test of an HTTP handler.
    """
    resumed = _resumption.found_in(event) if isinstance(event, dict) else None
    if resumed is None:
        incoming = _read(event, in_lambda=in_lambda)
        incoming.original = event
        return incoming
    said, original = resumed
    incoming = read(original, in_lambda=in_lambda)
    incoming.resumed = True
    incoming.run_id = said["run_id"] if is_id(said.get("run_id")) else None
    incoming.identity = said["identity"] if is_id(said.get("identity")) else incoming.identity
    return incoming


def _read(event: Any, *, in_lambda: bool) -> Incoming:
    if not isinstance(event, dict):
        return Incoming("direct", event)
    shape = _shape(event, in_lambda=in_lambda)
    if shape == "service":
        asked = _asked_of_app_sync(event)
        if asked is not None:
            return _checked(Incoming(shape, event, session_id=asked))
        return Incoming(shape, event, identity=_service_identity(event))
    if shape == "direct":
        return _checked(Incoming(shape, event, session_id=_field(event, _SESSION_FIELDS)))
    text, decoded = _decode_body(event)
    if decoded is not None:
        event = {**event, "body": decoded}
        if "isBase64Encoded" in event:
            event["isBase64Encoded"] = False
    headers = _headers(event)
    incoming = Incoming(
        shape,
        event,
        raw_body=text,
        session_id=_session_id(event, decoded, headers),
        identity=headers.get(_IDENTITY_HEADER) or None,
    )
    incoming.run_id = headers.get(RUN_HEADER) or None
    incoming.lists_headers = "multiValueHeaders" in event and "headers" not in event
    return _checked(incoming, receipt=headers.get(_RECEIPT_HEADER))


def _checked(incoming: Incoming, *, receipt: str | None = None) -> Incoming:
    """Refuse ids that could not be part of a key, and what is no receipt."""
    if receipt:
        from lambdallm import _receipts

        try:
            incoming.after = _receipts.decode(receipt)
        except _errors.InvalidRequestError as fault:
            incoming.fault = fault
    ids: tuple[tuple[str, object], ...] = (
        ("session id", incoming.session_id),
        ("Idempotency-Key", incoming.identity),
        ("run id", incoming.run_id),
    )
    for name, value in ids:
        if value is not None and not is_id(value):
            kind = "has" if isinstance(value, str) else "is no text, and has"
            message = (
                f"The {name} {kind} to be 1 to {ID_CHARACTERS_MAX} printable ASCII characters "
                "without '#'."
            )
            incoming.session_id = incoming.identity = incoming.run_id = None
            incoming.fault = _errors.InvalidRequestError(message)
            break
    return incoming


def unreadable_body(incoming: Incoming) -> _errors.InvalidRequestError | None:
    """Return what is wrong with a body that calls itself JSON and is none; else None.

    The handler has seen it as text, and may have known what to do with it.
    """
    text = incoming.raw_body
    if incoming.shape != "http" or text is None or not isinstance(incoming.event["body"], str):
        return None
    if "json" not in _headers(incoming.event).get("content-type", "").lower():
        return None
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        return _errors.InvalidRequestError(f"The body is not JSON ({error.msg}: {where}).")
    except RecursionError:
        return _errors.InvalidRequestError("The body is JSON that is nested too deeply.")
    return _errors.InvalidRequestError("The body is JSON, but neither an object nor an array.")


def is_id(text: object) -> bool:
    """Say whether it may stand in a stored key: a text of 1 to 256 printable ASCII, no `#`."""
    return (
        isinstance(text, str)
        and 1 <= len(text) <= ID_CHARACTERS_MAX
        and text.isascii()
        and text.isprintable()
        and "#" not in text
    )


def _shape(event: Mapping[str, Any], *, in_lambda: bool) -> str:
    request = event.get("requestContext")
    if isinstance(request, dict):
        if "connectionId" in request and "routeKey" in request and "http" not in request:
            return "websocket"
        if "elb" in request or "http" in request or "httpMethod" in event:
            return "http"
    if any(key in event for key in _SERVICE_KEYS):
        return "service"
    if "body" in event or "httpMethod" in event or (not event and not in_lambda):
        return "http"
    return "direct"


def _decode_body(event: Mapping[str, Any]) -> tuple[str | None, Any]:
    """Return the body's text, and the object or array it holds, if it does.

    The content type is not asked: `curl -d` calls JSON a form.
    """
    body = event.get("body")
    if not isinstance(body, str):
        return None, None
    text = body
    if event.get("isBase64Encoded"):
        try:
            text = binascii.a2b_base64(body).decode("utf-8")
        except ValueError:
            return body, None
    if not text.lstrip().startswith(("{", "[")):
        return text, None
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        return text, None
    container = JsonObject(decoded) if isinstance(decoded, dict) else JsonArray(decoded)
    container.text = text
    return text, container


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    """Return the first value of every header, by its name in lower case."""
    found: dict[str, str] = {}
    many = event.get("multiValueHeaders")
    if isinstance(many, dict):
        for name, values in many.items():
            if isinstance(values, list) and values:
                found[str(name).lower()] = str(values[0])
    single = event.get("headers")
    if isinstance(single, dict):
        for name, value in single.items():
            if value is not None:
                found[str(name).lower()] = str(value)
    return found


def _session_id(event: Mapping[str, Any], body: Any, headers: Mapping[str, str]) -> Any:
    """Look in body, header, query, path and WebSocket connection, in this order."""
    if body is None:
        body = event.get("body")
    request = event.get("requestContext")
    places = (
        _field(body, _SESSION_FIELDS),
        headers.get(_SESSION_HEADER) or None,
        _field(event.get("queryStringParameters"), _SESSION_FIELDS),
        _first_of_lists(event.get("multiValueQueryStringParameters")),
        _field(event.get("pathParameters"), _SESSION_FIELDS),
        _field(request, ("connectionId",)),
    )
    return next((place for place in places if place is not None), None)


def _asked_of_app_sync(event: Mapping[str, Any]) -> Any:
    """Return what a GraphQL request names among its arguments, or in an `input` of them."""
    arguments = event.get("arguments")
    if not isinstance(arguments, dict) or not isinstance(event.get("info"), dict):
        return None
    found = _field(arguments, _SESSION_FIELDS)
    return found if found is not None else _field(arguments.get("input"), _SESSION_FIELDS)


def _field(fields: Any, names: tuple[str, ...]) -> Any:
    """Return the first field that says something: a number as text, and what is no id as it is."""
    if not isinstance(fields, dict):
        return None
    for name in names:
        value = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is not None and value != "":
            return value
    return None


def _first_of_lists(lists: Any) -> Any:
    if not isinstance(lists, dict):
        return None
    firsts = {
        name: values[0] for name, values in lists.items() if isinstance(values, list) and values
    }
    return _field(firsts, _SESSION_FIELDS)


def _service_identity(event: Mapping[str, Any]) -> str | None:
    """Return what a redelivery has in common with the first delivery.

    A batch of several records has no identity of its own: a redelivery may be cut differently.
    """
    identity = None
    records = event.get("Records")
    if isinstance(records, list) and len(records) == 1 and isinstance(records[0], dict):
        record = records[0]
        message = record.get("Sns")
        identity = (
            record.get("messageId")
            or record.get("eventID")
            or (message.get("MessageId") if isinstance(message, dict) else None)
        )
    elif "detail-type" in event:
        identity = event.get("id")
    return identity if isinstance(identity, str) and is_id(identity) else None
