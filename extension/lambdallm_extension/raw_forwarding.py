"""Passes clients' requests on to the APIs, and nothing else: no metering, no records, no retries.

The last resort for clients that were pointed at the sidecar. It shares no code with the features
but what finds `lambdallm.yaml`, and what makes and checks signatures, without which it does if that
cannot be loaded. Settings do not count here, addresses and keys are the environment's; but where a
budget is to hold, nothing is passed on that may be billed.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import raw_limits
from lambdallm_extension.raw_admission import KEY_HEADERS, Admission, Incoming, RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdallm_extension.raw_admission import Headers

CONNECT_SECONDS = 5.0
READ_SECONDS = 900.0
"""As long as an invocation can last: who waits has a time limit of his own."""

BODY_MAX_BYTES = 33_554_432
PIECE_BYTES = 65_536
BODILESS = (204, 304)
FREE_METHODS = ("GET", "HEAD")
"""Lists and retrievals: nothing is generated, and nothing billed."""

OURS = ("lambdallm-", "x-lambdallm-")

OF_ONE_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade")
)  # fmt: skip
NOT_PASSED_ON = OF_ONE_HOP | frozenset(
    (*KEY_HEADERS, "host", "content-length", "expect", "x-amz-date", "x-amz-security-token",
     "x-amz-content-sha256")
)  # fmt: skip


class Service(NamedTuple):
    """An API.

    Attributes:
        variable: Names its address.
        address: Its own, where the variable says nothing.
        keys: Variables that hold keys.
    """

    variable: str
    address: str
    keys: tuple[str, ...] = ()


SERVICES = {
    "/openai/v1": Service("OPENAI_BASE_URL", "https://api.openai.com/v1", ("OPENAI_API_KEY",)),
    "/anthropic": Service(
        "ANTHROPIC_BASE_URL",
        "https://api.anthropic.com",
        ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    ),
    "/bedrock": Service(
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "https://bedrock-runtime{fips}.{region}.{domain}"
    ),
}
"""By what their paths begin with."""


class Forwarder:
    """Serves connections. Threads share it."""

    def __init__(self, client_key: str, environ: Mapping[str, str]) -> None:
        """Take the client key, and the environment as Lambda made it."""
        self._admission = Admission(client_key, environ)
        self._environ = environ
        self._refusal = raw_limits.refusal(environ)
        self._trust = ssl.create_default_context(cafile=environ.get("AWS_CA_BUNDLE") or None)

    def serve(self, descriptor: int) -> None:
        """Serve one connection to its end."""
        with socket.socket(fileno=descriptor) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Handler(connection, connection.getpeername(), self)  # type: ignore[arg-type]

    def pass_on(self, request: Incoming) -> http.client.HTTPResponse:
        """Send a request to its API and return the answer when its head is there.

        Raises:
            RefusedError: It may not be sent, or was not answered.
        """
        prefix = next((one for one in SERVICES if request.target.startswith(f"{one}/")), "")
        if not prefix:
            raise RefusedError(404, "There is no such path here.")
        if request.header("origin") or request.header("x-forwarded-for"):
            raise RefusedError(403, "Requests of browsers and proxies are refused.")
        if request.header("host").partition(":")[0] not in ("127.0.0.1", "localhost"):
            raise RefusedError(403, "Ask 127.0.0.1 by that name.")
        path = unquote(unquote(request.target.partition("?")[0]))
        if {".", ".."}.intersection(path.split("/")):
            raise RefusedError(400, "The path has dot segments: it would leave the API's.")
        if self._refusal and request.method not in FREE_METHODS:
            raise RefusedError(503, self._refusal)
        service = SERVICES[prefix]
        url = urlsplit(self._address(service))
        target = url.path.rstrip("/") + request.target[len(prefix) :]
        headers = [("host", url.netloc.rpartition("@")[2]), *_passed_on(request.headers)]
        if service.keys:
            headers += self._admission.key_headers(request, service.keys)
        else:
            headers += self._admission.sign(request, target, headers)
        try:
            connection = self._connect(url.scheme, url.hostname or "", url.port)
            return _ask(connection, request._replace(target=target, headers=headers))
        except (OSError, http.client.HTTPException) as error:
            message = f"{url.hostname} did not answer ({type(error).__name__}: {error})."
            raise RefusedError(503, message) from error

    def _address(self, service: Service) -> str:
        environ = self._environ
        region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
        own = service.address.format(
            region=region,
            fips="-fips" if environ.get("AWS_USE_FIPS_ENDPOINT", "").lower() == "true" else "",
            domain="amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com",
        )
        everywhere = "" if service.keys else environ.get("AWS_ENDPOINT_URL", "")
        return environ.get(service.variable) or everywhere or own

    def _connect(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        proxy = getproxies_environment().get(scheme, "")
        if not proxy or proxy_bypass(host):
            return self._connection(scheme, host, port)
        through = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        connection = self._connection(scheme, through.hostname or "", through.port)
        connection.set_tunnel(host, port or (443 if scheme == "https" else 80))
        return connection

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        return http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=self._trust)


class _Handler(BaseHTTPRequestHandler):
    """Speaks with one client."""

    protocol_version = default_request_version = "HTTP/1.1"
    wbufsize = 0
    server: Forwarder  # type: ignore[assignment]

    def serve_any(self) -> None:
        """Answer one request."""
        try:
            reply = self.server.pass_on(self._read())
        except RefusedError as refusal:
            self._refuse(refusal)
            return
        try:
            self._send_back(reply)
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # cut at one end, so it is cut at the other
        finally:
            reply.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = serve_any  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing: the function's log is not ours."""

    def _read(self) -> Incoming:
        headers = [(name.lower(), value) for name, value in self.headers.items()]
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not length.isdigit():
            raise RefusedError(411, "Send the body's length.")
        if int(length) > BODY_MAX_BYTES:
            raise RefusedError(413, "The body is too long.")
        body = self.rfile.read(int(length))
        return Incoming(self.command, self.path, headers, body)

    def _refuse(self, refusal: RefusedError) -> None:
        message = f"lambdallm: {refusal}"
        body = json.dumps({"message": message, "error": {"message": message, "type": "sidecar"}})
        self.close_connection = True  # its body may still be on its way
        self.send_response_only(refusal.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body.encode())

    def _send_back(self, reply: http.client.HTTPResponse) -> None:
        bodiless = self.command == "HEAD" or reply.status in BODILESS
        chunked = reply.length is None and not bodiless
        self.send_response_only(reply.status, reply.reason)
        for name, value in reply.getheaders():
            if name.lower() not in OF_ONE_HOP:
                self.send_header(name, value)
        if chunked:
            self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while not bodiless and (piece := reply.read1(PIECE_BYTES)):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        elif reply.length:
            self.close_connection = True  # the API has cut its answer


def _ask(connection: http.client.HTTPConnection, request: Incoming) -> http.client.HTTPResponse:
    connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
    for name, value in request.headers:
        connection.putheader(name, value.encode("latin-1"))
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        connection.putheader("content-length", str(len(request.body)))
    connection.putheader("connection", "close")
    connection.endheaders(request.body or None)
    connection.sock.settimeout(READ_SECONDS)
    return connection.getresponse()


def _passed_on(headers: Headers) -> Headers:
    options = ",".join(value for name, value in headers if name == "connection").lower()
    dropped = NOT_PASSED_ON | {option.strip() for option in options.split(",")}
    return [
        header for header in headers if header[0] not in dropped and not header[0].startswith(OURS)
    ]
