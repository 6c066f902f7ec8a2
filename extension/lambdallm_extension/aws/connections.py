"""Clients of API Gateway's WebSocket APIs: `PostToConnection`, signed and over kept sockets.

    POST https://API.execute-api.REGION.amazonaws.com/STAGE/@connections/ID      a text, as it is
    200 taken · 410 gone · 403 no permission, or no such API · 413 too long · 429 too many

Whoever connects by a domain name of one's own is written to by the API's own address as well: its
path has the stage, where the domain has a mapping that no event tells.
Source: API Gateway developer guide, "Use @connections commands in your backend service", and
botocore 1.43, `apigatewaymanagementapi`, 2026-11.
"""

from __future__ import annotations

from threading import Lock

from lambdallm_extension.aws.client import AwsClient
from lambdallm_extension.aws.endpoints import arn_partition, resolve
from lambdallm_extension.aws.signing import encode_label
from lambdallm_extension.errors import (
    InvalidRequestError,
    PushError,
    PushThrottledError,
    SettingError,
)
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError
from lambdallm_extension.http_client.urls import parse_url
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.http_client.client import HttpReply
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.settings import Settings
    from lambdallm_wire.connections import Client

READ_SECONDS = 10.0
"""For an answer that takes some milliseconds. What took longer may have been delivered."""

ADDRESSES_MAX = 8
"""APIs that one function writes to; the one that was used first is let go of for the next."""

_SERVICE = "execute-api"
_OWN_VARIABLE = "apigatewaymanagementapi"
"""As AWS's own clients call the service: AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI."""

_HOST_PARTS = 4
"""Of `API.execute-api.REGION.amazonaws.com`, at least."""

_FAILED = 300
_BAD_REQUEST, _FORBIDDEN, _GONE, _TOO_LARGE, _TOO_MANY = 400, 403, 410, 413, 429
_SERVER_ERROR = 500
_EXCERPT_MAX = 300


class ConnectionsApi:
    """`services.connections.Gateway`. Threads share it; nothing is opened before it is needed."""

    def __init__(self, settings: Settings, credentials: CredentialSource, clock: Clock) -> None:
        """Open nothing yet."""
        self._settings = settings
        self._credentials = credentials
        self._clock = clock
        self._configured = settings.environ.get(
            names.ENVIRONMENT_CONNECTIONS
        ) or settings.endpoints.get(_OWN_VARIABLE, "")
        self._lock = Lock()
        self._clients: dict[str, AwsClient] = {}
        self._used: set[str] = set()

    def address_of(self, client: Client) -> str:
        """Return where a client is written to: the configured place, else its API's own.

        Raises:
            SettingError: Nobody has said which API it is.
            InvalidRequestError: The event names none that could be.
        """
        if self._configured:
            return self._configured.rstrip("/")
        api_id, stage = client.get("api_id", ""), client.get("stage", "")
        if not (api_id and stage):
            message = (
                "The event names no WebSocket API: set LAMBDALLM_CONNECTIONS_ENDPOINT, as to "
                "https://API.execute-api.REGION.amazonaws.com/STAGE. Nothing was sent."
            )
            raise SettingError(message)
        if not (api_id.isascii() and api_id.isalnum()):
            message = f"{api_id!r:.80} is no API's id. Nothing was sent."
            raise InvalidRequestError(message)
        region = _region_of(client.get("domain_name", "")) or self._settings.region
        settings = self._settings._replace(region=region, endpoints={})
        host = resolve(f"{api_id}.{_SERVICE}", settings).authority
        return f"https://{host}/{encode_label(stage)}"

    def post(self, address: str, connection_id: str, data: bytes, *, deadline_ms: int) -> bool:
        """Send a text to a client once.

        Returns:
            Whether API Gateway has taken it; False where the connection is gone.

        Raises:
            PushError: It was not taken now, or nobody knows whether it was.
            InvalidRequestError: It is too long, or this is no connection's id.
            SettingError: Address or permission must be set right.
            DeadlineError: There was no time left; nothing was sent.
        """
        client = self._client(address)
        path = f"/@connections/{encode_label(connection_id)}"
        headers = [("content-type", "application/octet-stream")]
        try:
            reply = client.post(
                path, headers, data, deadline_ms=deadline_ms, read_timeout_seconds=READ_SECONDS
            )
        except NotSentError as error:
            detail = f"The message was not sent: {error.detail}"
            raise PushError(detail) from error
        except AnswerLostError as error:
            detail = f"Nobody knows whether the message was delivered: {error.detail}"
            raise PushError(detail, sent=True) from error
        if reply.status < _FAILED:
            return True
        if reply.status == _GONE:
            return False
        raise self._refusal(reply, address)

    def reopen(self) -> None:
        """Replace connections that may have died in a freeze, of what was just used."""
        with self._lock:
            used = [client for each, client in self._clients.items() if each in self._used]
            self._used.clear()
        for client in used:
            client.reopen()

    def close(self) -> None:
        """Let go of every connection."""
        with self._lock:
            clients, self._clients = [*self._clients.values()], {}
        for client in clients:
            client.close()

    def _client(self, address: str) -> AwsClient:
        with self._lock:
            self._used.add(address)
            found = self._clients.get(address)
            if found is not None:
                return found
            if len(self._clients) >= ADDRESSES_MAX:
                first = next(iter(self._clients))
                self._used.discard(first)
                self._clients.pop(first).close()
            url = parse_url(address, names.ENVIRONMENT_CONNECTIONS)
            settings = self._settings._replace(
                region=_region_of(url.host) or self._settings.region,
                endpoints={_SERVICE: address},
            )
            self._clients[address] = made = _Client(
                _SERVICE, settings, self._credentials, self._clock
            )
            return made

    def _refusal(self, reply: HttpReply, address: str) -> Exception:
        said = f"HTTP {reply.status}: {_excerpt(reply)}"
        if reply.status == _TOO_MANY:
            return PushThrottledError(f"API Gateway takes no more messages now ({said}).")
        if reply.status >= _SERVER_ERROR:
            return PushError(f"API Gateway failed ({said}).")
        if "ExpiredToken" in said:
            self._credentials.forget()
            return PushError(f"API Gateway took the credentials for expired ({said}).")
        if reply.status in (_BAD_REQUEST, _TOO_LARGE):
            return InvalidRequestError(f"API Gateway refused the message ({said}).")
        message = f"API Gateway refused to write to {address} ({said})."
        if reply.status == _FORBIDDEN:
            message += (
                f" The function's role needs execute-api:ManageConnections on {_arn(address)}; "
                "an API or a stage that does not exist is answered in the same way."
            )
        return SettingError(message)


class _Client(AwsClient):
    """A client of one WebSocket API, which no interface endpoint of a VPC leads to."""

    def _ways_there(self) -> str:
        return (
            "A function in a VPC reaches a WebSocket API through a NAT gateway; "
            f"{names.ENVIRONMENT_CONNECTIONS} names another address."
        )


def _region_of(host: str) -> str:
    """Return the region that stands in an API's own name, "" for a name of somebody's own."""
    parts = host.split(".")
    own = len(parts) >= _HOST_PARTS and parts[1] in (_SERVICE, f"{_SERVICE}-fips")
    return parts[2] if own else ""


def _arn(address: str) -> str:
    """Return what a policy names. An account is not known here."""
    url = parse_url(address, names.ENVIRONMENT_CONNECTIONS)
    region = _region_of(url.host)
    if not region:
        return "arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/POST/@connections/*"
    api_id, stage = url.host.partition(".")[0], url.path.rpartition("/")[2]
    partition = arn_partition(region)
    return f"arn:{partition}:execute-api:{region}:*:{api_id}/{stage}/POST/@connections/*"


def _excerpt(reply: HttpReply) -> str:
    """Return the error's name and its words."""
    name = reply.header("x-amzn-errortype")
    return f"{name} {reply.body[:_EXCERPT_MAX].decode('utf-8', 'replace')}".strip()
