"""A client for AWS's HTTP APIs: an `HttpClient` whose requests are signed."""

from __future__ import annotations

import sys

from lambda_runtime_api import http1
from lambdallm_extension import VERSION
from lambdallm_extension.aws.endpoints import require_region, resolve, variable
from lambdallm_extension.aws.signing import sign
from lambdallm_extension.http_client.client import HttpClient
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.aws.signing import Credentials
    from lambdallm_extension.http_client.client import Exchange, HttpReply
    from lambdallm_extension.http_client.urls import Url
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.settings import Settings

    class KeySource(Protocol):
        """What is signed with: the environment's credentials, or a role's."""

        def current(self) -> Credentials:
            """Return credentials that are valid now."""
            ...

        def forget(self) -> None:
            """Drop those that AWS refused as expired."""
            ...


__all__ = ["AnswerLostError", "AwsClient", "NotSentError"]

_UNSIGNED_HEADERS: Headers = [
    ("accept-encoding", "identity"),
    ("user-agent", f"lambdallm/{VERSION} python/{sys.version_info[0]}.{sys.version_info[1]}"),
]

_WITH_BODY = ("POST", "PUT", "PATCH")


class AwsClient:
    """Calls one service. Threads share it; nothing is opened or read before the first call."""

    def __init__(
        self,
        service: str,
        settings: Settings,
        credentials: KeySource,
        clock: Clock,
        *,
        signing_name: str | None = None,
        bearer_token: str = "",
    ) -> None:
        """Name the service.

        Args:
            service: The host's name of it, such as `dynamodb` or `bedrock-runtime`.
            settings: Region, endpoints, proxies and trust.
            credentials: What to sign with.
            clock: Wall clock for signatures, deadlines and the age of idle connections.
            signing_name: Where it is not the host's name: `bedrock` for `bedrock-runtime`.
            bearer_token: Sent in the place of a signature, by services that take one.
        """
        self._service = service
        self._signing_name = signing_name or service
        self._settings = settings
        self._credentials = credentials
        self._clock = clock
        self._bearer_token = bearer_token
        self._url: Url | None = None
        self._http = HttpClient(service, lambda: self.url, settings.environ, clock)

    @property
    def url(self) -> Url:
        """Where the service is asked.

        Raises:
            SettingError: No region, or an endpoint that is not a URL.
        """
        if self._url is None:
            self._url = resolve(self._service, self._settings)
        return self._url

    @property
    def region(self) -> str:
        """The region that requests are signed for.

        Raises:
            SettingError: None is set.
        """
        return require_region(self._settings)

    def post(  # noqa: PLR0913 - three parts of a request, four limits
        self,
        path: str,
        headers: Headers,
        body: bytes,
        *,
        deadline_ms: int,
        connect_timeout_seconds: float = 3.0,
        read_timeout_seconds: float = 60.0,
        idempotent: bool = False,
    ) -> HttpReply:
        """Send a signed POST once and return the reply, whatever its status; see `send`."""
        return self.send(
            "POST",
            path,
            headers,
            body,
            deadline_ms=deadline_ms,
            connect_timeout_seconds=connect_timeout_seconds,
            read_timeout_seconds=read_timeout_seconds,
            idempotent=idempotent,
        )

    def send(  # noqa: PLR0913 - the parts of a request, four limits
        self,
        method: str,
        path: str,
        headers: Headers,
        body: bytes,
        *,
        query: str = "",
        deadline_ms: int,
        connect_timeout_seconds: float = 3.0,
        read_timeout_seconds: float = 60.0,
        idempotent: bool = False,
    ) -> HttpReply:
        """Send a signed request once and return the reply, whatever its status.

        Args:
            method: Of the request.
            path: Percent-encoded for the wire.
            headers: Signed as they are; `host`, `content-length`, date and signature are added.
            body: The payload.
            query: Behind the path's `?`, percent-encoded.
            deadline_ms: Wall clock, epoch milliseconds; bounds all steps together.
            connect_timeout_seconds: For each step until the request leaves.
            read_timeout_seconds: For each wait for more bytes of the reply.
            idempotent: Sending twice does no harm; see `HttpClient.send`.

        Raises:
            DeadlineError: The deadline has passed; nothing was sent.
            NotSentError: Nothing was processed.
            AnswerLostError: It may have been processed.
            SettingError: Region, endpoint, credentials, proxy or trust must be set right.
        """
        patience = self._http.patience(
            deadline_ms,
            connect_seconds=connect_timeout_seconds,
            read_seconds=read_timeout_seconds,
        )
        request = self._encode(method, path, query, headers, body)
        try:
            return self._http.send(method, request, patience, idempotent=idempotent)
        except NotSentError as error:
            raise self._unreached(error) from error

    def open(  # noqa: PLR0913 - a request's parts, and its limits
        self,
        method: str,
        path: str,
        headers: Headers,
        body: bytes,
        *,
        query: str = "",
        key: Headers | None = None,
        deadline_ms: int,
        connect_timeout_seconds: float = 3.0,
        read_timeout_seconds: float = 60.0,
        decode: bool = False,
    ) -> Exchange:
        """Send a signed request once and return its reply when the head is there.

        Args:
            method: Of the request.
            path: Percent-encoded for the wire.
            headers: Signed as they are; `host`, `content-length`, date and signature are added.
            body: The payload.
            query: Behind the path's `?`, percent-encoded.
            key: Headers that authenticate the request, sent in the place of a signature.
            deadline_ms: Wall clock, epoch milliseconds; bounds all steps together.
            connect_timeout_seconds: For each step until the request leaves.
            read_timeout_seconds: For each wait for more bytes of the reply.
            decode: Undo a content coding of the body; see `HttpClient.open`.

        Raises:
            DeadlineError, NotSentError, AnswerLostError, SettingError: As `post`.
        """
        patience = self._http.patience(
            deadline_ms,
            connect_seconds=connect_timeout_seconds,
            read_seconds=read_timeout_seconds,
        )
        request = self._encode(method, path, query, headers, body, key)
        try:
            return self._http.open(method, request, patience, decode=decode)
        except NotSentError as error:
            raise self._unreached(error) from error

    def reopen(self) -> None:
        """Drop idle connections that a freeze may have killed, and open one if none is left.

        Returns at once; credentials are renewed and the connection opened by a thread.
        """
        self._http.reopen(self._credentials.current)

    def renew_credentials(self) -> None:
        """Forget credentials that the service refused as expired; the next call fetches them."""
        self._credentials.forget()

    def close(self) -> None:
        """Close the connections, those in use when their call ends."""
        self._http.close()

    def _encode(
        self,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        body: bytes,
        key: Headers | None = None,
    ) -> bytes:
        url = self.url
        full_path = url.path + path
        sent = [("host", url.authority), *headers]
        given = {name.lower() for name, _ in headers}
        unsigned = [header for header in _UNSIGNED_HEADERS if header[0] not in given]
        if self._bearer_token and not key:
            key = [("authorization", f"Bearer {self._bearer_token}")]
        added = key or sign(
            method,
            full_path,
            query,
            sent,
            body,
            credentials=self._credentials.current(),
            region=require_region(self._settings),
            service=self._signing_name,
            epoch_ms=self._clock.epoch_ms(),
        )
        target = f"{full_path}?{query}" if query else full_path
        content = body if body or method in _WITH_BODY else None
        return http1.encode_request(method, target, [*sent, *added, *unsigned], content)

    def _unreached(self, error: NotSentError) -> NotSentError:
        return NotSentError(f"{error}. {self._ways_there()}")

    def _ways_there(self) -> str:
        """Say what makes the service reachable from a VPC, where functions lack a way mostly."""
        kind = "a gateway" if self._service in ("dynamodb", "s3") else "an interface"
        return (
            f"A function in a VPC reaches {self._service} through {kind} endpoint or a NAT "
            f"gateway; {variable(self._service)} names another address."
        )
