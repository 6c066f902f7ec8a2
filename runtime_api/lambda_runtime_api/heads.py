"""The head of an HTTP/1.1 message: its first line, its headers, and what they say of the body.

Strict on purpose, because two readers who disagree about where a message ends can be played
against each other: no bare line feeds, no folded headers, no `Content-Length` beside
`Transfer-Encoding`, no coding but `chunked`, exactly one `Host`.
Source: RFC 9112, sections 2, 3, 5, 6 and 7.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

Headers = list[tuple[str, str]]

CHUNKED = -1
"""The length of a body that comes in chunks."""

BODILESS_STATUS = (204, 304)

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TOKEN = b"!#$%&'*+-.^_`|~0123456789" + _LETTERS
_VISIBLE = bytes(range(0x21, 0x7F))
_CONTROL = bytes(range(0x20)).replace(b"\t", b"") + b"\x7f"
_HEX = b"0123456789abcdefABCDEF"
_FRAMING_HEADERS = ("content-length", "transfer-encoding")
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")
_STATUSES = range(100, 1_000)
_LENGTH_MAX_DIGITS = 18
_CHUNK_SIZE_MAX_DIGITS = 15


_KNOWN_MAX = 256
_KNOWN_LENGTH_MAX = 200
_parsed: dict[bytes, tuple[str, str]] = {}
_encoded: dict[tuple[str, str], str] = {}
"""Headers that have been checked before: nearly all of one peer's come with its every message."""


class ProtocolError(ValueError):
    """The peer does not speak HTTP/1.1, or more of it than was agreed.

    `status` is what a server answers before it closes the connection.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class ConnectionEndedError(ProtocolError):
    """The peer closed in the middle of a message, or before one began (`clean`)."""

    def __init__(self, message: str, *, clean: bool) -> None:
        super().__init__(message)
        self.clean = clean


class _Head:
    """What requests and responses share: header names are lower case, values Latin-1 text."""

    __slots__ = ("headers", "keep_alive")

    def __init__(self, headers: Headers, *, keep_alive: bool) -> None:
        self.headers = headers
        self.keep_alive = keep_alive

    def header(self, name: str, default: str = "") -> str:
        """Return the first value of a header, by its lower-case name."""
        for candidate, value in self.headers:
            if candidate == name:
                return value
        return default


class Request(_Head):
    """A request's head."""

    __slots__ = ("method", "target")

    def __init__(self, method: str, target: str, headers: Headers, *, keep_alive: bool) -> None:
        super().__init__(headers, keep_alive=keep_alive)
        self.method = method
        self.target = target


class Response(_Head):
    """A response's head."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str, headers: Headers, *, keep_alive: bool) -> None:
        super().__init__(headers, keep_alive=keep_alive)
        self.status = status
        self.reason = reason


def may_begin(buffer: bytearray) -> bool:
    """Whether a head can begin like this; a TLS handshake, for one, does not."""
    return not buffer or buffer[0] in _LETTERS


def parse_request_head(lines: list[bytes]) -> tuple[Request, int]:
    """Read a request's head and the length of its body (`CHUNKED` where it comes in chunks).

    Raises:
        ProtocolError: It is not HTTP/1.1; `status` says what to answer.
    """
    headers = parse_headers(lines)
    method, _, rest = lines[0].partition(b" ")
    raw_target, _, version = rest.partition(b" ")
    if not method.isalpha() or not version or b" " in version:
        message = f"Not a request line: {lines[0][:80]!r}"
        raise ProtocolError(message)
    target = raw_target.decode("latin-1")
    if version not in _VERSIONS:
        raise ProtocolError("Only HTTP/1.1 is spoken here.", 505)
    if not _is_visible(target):
        raise ProtocolError("Not a request target.")
    hosts = sum(name == "host" for name, _ in headers)
    if hosts > 1 or (not hosts and version == b"HTTP/1.1"):
        raise ProtocolError("A request needs exactly one Host.")
    length = _body_length(headers, version)
    keep_alive = _keep_alive(version, headers)
    request = Request(method.decode("ascii"), target, headers, keep_alive=keep_alive)
    return request, 0 if length is None else length


def parse_response_head(lines: list[bytes], method: str) -> tuple[Response, int | None]:
    """Read a response's head and the length of its body; None when it lasts until the peer closes.

    Args:
        lines: The head, without its line breaks.
        method: The request's; a `HEAD` is answered without a body, whatever the headers say.

    Raises:
        ProtocolError: It is not HTTP/1.1.
    """
    headers = parse_headers(lines)
    version, _, rest = lines[0].partition(b" ")
    digits, _, reason = rest.partition(b" ")
    status = int(digits) if digits.isdigit() and len(digits) == len("200") else 0
    if version not in _VERSIONS or status not in _STATUSES or _has_controls(reason):
        message = f"Not a status line: {lines[0][:80]!r}"
        raise ProtocolError(message, 502)
    length = _body_length(headers, version)
    if method == "HEAD" or status in BODILESS_STATUS:
        length = 0
    keep_alive = length is not None and _keep_alive(version, headers)
    return Response(status, reason.decode("latin-1"), headers, keep_alive=keep_alive), length


def parse_trailers(lines: list[bytes]) -> Headers:
    """Read the headers below a last chunk; they come too late to change the framing."""
    trailers = parse_headers(lines)
    if any(name in _FRAMING_HEADERS for name, _ in trailers):
        raise ProtocolError("A length among the trailers.")
    return trailers


def parse_headers(lines: list[bytes]) -> Headers:
    """Read the headers below a first line."""
    headers: Headers = []
    for line in lines[1:]:
        header = _parsed.get(line)
        if header is None:
            header = _parse_header(line)
            _remember(_parsed, line, header, len(line))
        headers.append(header)
    return headers


def _parse_header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or not name or name.translate(None, _TOKEN):
        message = f"Not a header: {line[:80]!r}"
        raise ProtocolError(message)
    value = value.strip(b" \t")
    if _has_controls(value):
        message = f"Control characters in header {name.decode()!r}."
        raise ProtocolError(message)
    return name.decode("ascii").lower(), value.decode("latin-1")


def parse_chunk_size(line: bytes) -> int:
    """Read the first line of a chunk; its extensions mean nothing to us."""
    if line and not line.translate(None, _HEX) and len(line) <= _CHUNK_SIZE_MAX_DIGITS:
        return int(line, 16)
    digits = line.partition(b";")[0].rstrip(b" \t")
    if (
        not digits
        or len(digits) > _CHUNK_SIZE_MAX_DIGITS
        or digits.translate(None, _HEX)
        or _has_controls(line)
    ):
        raise ProtocolError("Not a chunk size.")
    return int(digits, 16)


def request_line(method: str, target: str) -> str:
    """Make the first line of a request."""
    if not (method.isascii() and method.isalpha()) or not _is_visible(target):
        message = f"Not a request line: {method!r} {target!r}"
        raise ProtocolError(message)
    return f"{method} {target} HTTP/1.1\r\n"


def status_line(status: int, reason: str) -> str:
    """Make the first line of a response."""
    if status not in _STATUSES or _has_controls(reason.encode("latin-1", "replace")):
        message = f"Not a status line: {status} {reason!r}"
        raise ProtocolError(message)
    return f"HTTP/1.1 {status} {reason}\r\n"


def encode_head(
    first_line: str, headers: Iterable[tuple[str, str]], body: bytes | None = None
) -> bytes:
    """Make the bytes of a head, with the body that belongs to it."""
    lines = [first_line]
    for header in headers:
        line = _encoded.get(header)
        if line is None:
            line = _encode_header(*header)
            _remember(_encoded, header, line, len(line))
        if body is not None and header[0].lower() in _FRAMING_HEADERS:
            message = f"The body brings its own length; header {header[0]!r} would contradict it."
            raise ProtocolError(message)
        lines.append(line)
    if body is not None:
        lines.append(f"content-length: {len(body)}\r\n")
    lines.append("\r\n")
    try:
        head = "".join(lines).encode("latin-1")
    except UnicodeEncodeError:
        raise ProtocolError("A head has characters outside Latin-1.") from None
    return head + body if body else head


def _encode_header(name: str, value: str) -> str:
    if not name or name.encode("latin-1", "replace").translate(None, _TOKEN):
        message = f"Not a header's name: {name!r}"
        raise ProtocolError(message)
    if _has_controls(value.encode("latin-1", "replace")):
        message = f"The value of header {name!r} has control characters in it."
        raise ProtocolError(message)
    return f"{name}: {value}\r\n"


def _remember(known: dict[Any, Any], key: object, value: object, length: int) -> None:
    if length <= _KNOWN_LENGTH_MAX:
        if len(known) >= _KNOWN_MAX:
            known.clear()
        known[key] = value


_CODINGS = ("gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress")
"""Others (`utf-8`, `none`) say nothing of the bytes: urllib3 and httpx pass over them too."""


def content_coding(headers: Headers) -> str:
    """Return how a body is coded, such as `gzip`; "" where it stands as it is."""
    values = [value for name, value in headers if name == "content-encoding"]
    if not values:
        return ""
    codings = [coding.strip().lower() for coding in ",".join(values).split(",")]
    return ", ".join(coding for coding in codings if coding in _CODINGS)


def _body_length(headers: Headers, version: bytes) -> int | None:
    lengths = {value for name, value in headers if name == "content-length"}
    codings = [value.lower() for name, value in headers if name == "transfer-encoding"]
    if codings:
        if codings != ["chunked"]:
            message = f"Transfer coding {codings} is not supported."
            raise ProtocolError(message, 501)
        if lengths or version != b"HTTP/1.1":
            raise ProtocolError("Transfer-Encoding beside Content-Length, or in HTTP/1.0.")
        return CHUNKED
    if not lengths:
        return None
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit()) or len(length) > _LENGTH_MAX_DIGITS:
        raise ProtocolError("Not a length, or more than one.")
    return int(length)


def _keep_alive(version: bytes, headers: Headers) -> bool:
    tokens = ",".join(value for name, value in headers if name == "connection").lower()
    options = [token.strip() for token in tokens.split(",")]
    return "keep-alive" in options if version == b"HTTP/1.0" else "close" not in options


def _is_visible(target: str) -> bool:
    return bool(target) and target.isascii() and not target.encode().translate(None, _VISIBLE)


def _has_controls(text: bytes) -> bool:
    return len(text.translate(None, _CONTROL)) != len(text)
