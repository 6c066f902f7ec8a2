"""What APIs have in common that are asked over HTTPS with a key: the way there, its errors."""

from __future__ import annotations

from lambda_runtime_api import http1
from lambdallm_extension import VERSION
from lambdallm_extension.http_client.client import HttpClient
from lambdallm_extension.model_ports import RawRequest
from lambdallm_extension.providers.streams import READ_TIMEOUT_SECONDS, RawExchange, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.http_client.client import Exchange, HttpReply
    from lambdallm_extension.http_client.urls import Url
    from lambdallm_extension.model_ports import RawReply
    from lambdallm_extension.ports import Clock

_JSON = ("content-type", "application/json")

_DEFAULTS: Headers = [("user-agent", f"lambdallm/{VERSION}"), ("accept-encoding", "identity")]

_WITH_BODY = ("POST", "PUT", "PATCH")


class HttpApi:
    """One API: its address, its key, and its connections. Threads share it."""

    def __init__(
        self,
        name: str,
        url: Url,
        authenticate: Callable[[int], Headers],
        environ: Mapping[str, str],
        clock: Clock,
    ) -> None:
        """Open nothing yet.

        Args:
            name: The provider's, for errors.
            url: The base of all paths.
            authenticate: Returns the headers of the key; it may fetch one until the deadline that
                it is given (epoch milliseconds), or raise a `SettingError`.
            environ: Proxies and trust.
            clock: Deadlines.
        """
        self.name = name
        self._url = url
        self._authenticate = authenticate
        self._http = HttpClient(name, lambda: url, environ, clock)

    def post(self, path: str, headers: Headers, body: bytes, *, deadline_ms: int) -> HttpReply:
        """Send a JSON body and return the whole reply, whatever its status.

        Raises:
            ProviderError: It was not reached, or did not answer.
            DeadlineError, SettingError: Nothing was sent.
        """
        request = RawRequest("POST", path, "", _with_json(headers), body)
        encoded = self._encode(request, deadline_ms)
        patience = self._http.patience(deadline_ms, read_seconds=READ_TIMEOUT_SECONDS)
        return ask(self.name, lambda: self._http.send("POST", encoded, patience))

    def open(self, path: str, headers: Headers, body: bytes, *, deadline_ms: int) -> Exchange:
        """Send a JSON body and return the reply when its head is there, whatever its status.

        Raises:
            ProviderError, DeadlineError, SettingError: As `post`.
        """
        request = RawRequest("POST", path, "", _with_json(headers), body)
        return self._open(request, deadline_ms, decode=True)

    def forward(self, request: RawRequest, *, deadline_ms: int) -> RawReply:
        """Pass a client's own request on; see `model_ports.Provider.forward`."""
        return RawExchange(self.name, self._open(request, deadline_ms, decode=False))

    def _open(self, request: RawRequest, deadline_ms: int, *, decode: bool) -> Exchange:
        encoded = self._encode(request, deadline_ms)
        patience = self._http.patience(deadline_ms, read_seconds=READ_TIMEOUT_SECONDS)
        return ask(
            self.name,
            lambda: self._http.open(request.method, encoded, patience, decode=decode),
        )

    def _encode(self, request: RawRequest, deadline_ms: int) -> bytes:
        target = f"{self._url.path}{request.path}" + (f"?{request.query}" if request.query else "")
        headers = [("host", self._url.authority), *request.headers]
        given = {name for name, _ in headers}
        headers += [header for header in _DEFAULTS if header[0] not in given]
        added = request.key or self._authenticate(deadline_ms)
        headers += [header for header in added if header[0] not in given]
        body = request.body if request.body or request.method in _WITH_BODY else None
        return http1.encode_request(request.method, target, headers, body)

    def reopen(self) -> None:
        """Drop connections that may have died in a freeze, and open a fresh one."""
        self._http.reopen()

    def close(self) -> None:
        """Close the connections, those in use when their call ends."""
        self._http.close()


def _with_json(headers: Headers) -> Headers:
    """Say what the body is, where nothing configured says it."""
    return headers if any(name == _JSON[0] for name, _ in headers) else [_JSON, *headers]
