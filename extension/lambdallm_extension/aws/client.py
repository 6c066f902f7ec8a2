"""A client for AWS's HTTP APIs: signs, keeps connections, and says exactly how a call failed.

It sends once. What may be sent again is for the caller to decide, who knows what it means; the
one exception is a connection that the peer gave up while it was idle, see `AwsClient.post`.
"""

from __future__ import annotations

import sys
from threading import Lock, Thread

from lambda_runtime_api import http1
from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import VERSION
from lambdallm_extension.aws.connection import Connection, Patience, open_connection
from lambdallm_extension.aws.endpoints import Url, require_region, resolve
from lambdallm_extension.aws.failures import AnswerLostError, NotSentError
from lambdallm_extension.aws.pool import Pool
from lambdallm_extension.aws.proxies import pick_proxy
from lambdallm_extension.aws.signing import sign
from lambdallm_extension.errors import DeadlineError, SettingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.settings import Settings

__all__ = ["AnswerLostError", "AwsClient", "AwsReply", "NotSentError"]

KEPT_SILENCE_SECONDS = 1.0
"""After which a kept connection counts as dead, where asking again does no harm.

A NAT gateway forgets connections without a word; what is sent on them vanishes.
"""

OPEN_AHEAD_MS = 5_000
"""How long a connection that nobody waits for yet may take to open."""

_UNSIGNED_HEADERS: Headers = [
    ("accept-encoding", "identity"),
    ("user-agent", f"lambdallm/{VERSION} python/{sys.version_info[0]}.{sys.version_info[1]}"),
]


class AwsReply(NamedTuple):
    """A whole reply, whatever its status. Header names are lower case."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        """Return the first value of a header by its lower-case name, "" when it is missing."""
        return next((value for candidate, value in self.headers if candidate == name), "")


class AwsClient:
    """Calls one service. Threads share it; nothing is opened or read before the first call."""

    def __init__(
        self,
        service: str,
        settings: Settings,
        credentials: CredentialSource,
        clock: Clock,
        *,
        signing_name: str | None = None,
    ) -> None:
        """Name the service.

        Args:
            service: The host's name of it, such as `dynamodb` or `bedrock-runtime`.
            settings: Region, endpoints, proxies and trust.
            credentials: What to sign with.
            clock: Wall clock for signatures, deadlines and the age of idle connections.
            signing_name: Where it is not the host's name: `bedrock` for `bedrock-runtime`.
        """
        self._service = service
        self._signing_name = signing_name or service
        self._settings = settings
        self._credentials = credentials
        self._clock = clock
        self._pool = Pool(clock)
        self._url: Url | None = None
        self._opening = Lock()

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
    ) -> AwsReply:
        """Send a signed POST once and return the reply, whatever its status.

        Args:
            path: Percent-encoded for the wire.
            headers: Signed as they are; `host`, `content-length`, date and signature are added.
            body: The payload.
            deadline_ms: Wall clock, epoch milliseconds; bounds all steps together.
            connect_timeout_seconds: For each step until the request leaves.
            read_timeout_seconds: For each wait for more bytes of the reply.
            idempotent: Sending twice does no harm. A kept connection that was closed, or silent
                for a second, without a byte of an answer is then replaced once by a fresh one.

        Raises:
            DeadlineError: The deadline has passed; nothing was sent.
            NotSentError: Nothing was processed.
            AnswerLostError: It may have been processed.
            SettingError: Region, endpoint, credentials, proxy or trust must be set right.
        """
        patience = Patience(self._clock, deadline_ms, connect_timeout_seconds, read_timeout_seconds)
        request = self._encode(path, headers, body)
        kept = self._pool.take(patience)
        if kept is None:
            return self._exchange(self._open(patience), request, patience)
        brief = min(read_timeout_seconds, KEPT_SILENCE_SECONDS)
        hope = patience._replace(read_seconds=brief) if idempotent else patience
        lost: AnswerLostError | None = None
        try:
            return self._exchange(kept, request, hope)
        except NotSentError:
            pass  # Nothing was processed: a fresh connection may carry it.
        except AnswerLostError as error:
            if not (idempotent and error.silent):
                raise
            lost = error
        self._pool.drop_idle()  # What killed this one has killed those that are older.
        try:
            self._pool.claim(patience)
            return self._exchange(self._open(patience), request, patience)
        except (NotSentError, DeadlineError):
            if lost is None:
                raise
            raise lost from None  # The first sending may have been processed all the same.

    def reopen(self) -> None:
        """Drop idle connections that a freeze may have killed, and open one if none is left.

        Returns at once; credentials are renewed and the connection opened by a thread.
        """
        if self._pool.drop_idle(suspect_only=True) or not self._opening.acquire(blocking=False):
            return
        Thread(target=self._open_ahead, name=f"open {self._service}", daemon=True).start()

    def renew_credentials(self) -> None:
        """Forget credentials that the service refused as expired; the next call fetches them."""
        self._credentials.forget()

    def close(self) -> None:
        """Close the connections, those in use when their call ends."""
        self._pool.close()

    def _encode(self, path: str, headers: Headers, body: bytes) -> bytes:
        url = self.url
        full_path = url.path + path
        signed = [("host", url.authority), *headers]
        added = sign(
            "POST",
            full_path,
            "",
            signed,
            body,
            credentials=self._credentials.current(),
            region=require_region(self._settings),
            service=self._signing_name,
            epoch_ms=self._clock.epoch_ms(),
        )
        return http1.encode_request("POST", full_path, [*signed, *added, *_UNSIGNED_HEADERS], body)

    def _open(self, patience: Patience) -> Connection:
        """Open a connection for a permit that the pool has given; hand it back on failure."""
        connection = None
        try:
            environ = self._settings.environ
            connection = open_connection(self.url, pick_proxy(self.url, environ), environ, patience)
        except NotSentError as error:
            message = f"{error}. {self._ways_there()}"
            raise NotSentError(message) from error
        else:
            return connection
        finally:
            if connection is None:
                self._pool.drop(None)

    def _ways_there(self) -> str:
        """Say what makes the service reachable from a VPC, where functions lack a way mostly."""
        kind = "a gateway" if self._service == "dynamodb" else "an interface"
        variable = f"AWS_ENDPOINT_URL_{self._service.upper().replace('-', '_')}"
        return (
            f"A function in a VPC reaches {self._service} through {kind} endpoint or a NAT "
            f"gateway; {variable} names another address."
        )

    def _exchange(self, connection: Connection, request: bytes, patience: Patience) -> AwsReply:
        whole = False
        try:
            head, body = connection.exchange(request, patience)
            whole = head.keep_alive and connection.reusable
            return AwsReply(head.status, head.headers, body)
        finally:
            if whole:
                self._pool.put(connection)
            else:
                self._pool.drop(connection)

    def _open_ahead(self) -> None:
        deadline_ms = self._clock.epoch_ms() + OPEN_AHEAD_MS
        patience = Patience(self._clock, deadline_ms, OPEN_AHEAD_MS / 1000, 0)
        try:
            self._credentials.current()
            self._pool.claim(patience)
            self._pool.put(self._open(patience))
        except (DeadlineError, NotSentError, SettingError):
            return  # The first call meets the same and tells it to somebody who waits.
        finally:
            self._opening.release()
