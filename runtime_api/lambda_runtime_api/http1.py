"""HTTP/1.1 without I/O: what every client and server of this project speaks.

A `Reader` turns received bytes into one message after another; `encode_*` make the bytes to
send. Sockets, threads and timeouts belong to the callers. The module is read before the
extension registers, so it imports nothing but the rules for heads (`heads`), which it passes on.

    feed(bytes)  ──►  read_head()  ──►  read_body() or read_arrived() until b""  ──►  next_message()
                        None: feed more         None: feed more
"""

from __future__ import annotations

from lambda_runtime_api import heads
from lambda_runtime_api.heads import (
    ConnectionEndedError,
    Headers,
    ProtocolError,
    Request,
    Response,
    content_coding,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "BODY_MAX_BYTES",
    "HEAD_MAX_BYTES",
    "RECEIVE_BYTES",
    "ConnectionEndedError",
    "Headers",
    "ProtocolError",
    "Reader",
    "Request",
    "Response",
    "content_coding",
    "encode_chunk",
    "encode_last_chunk",
    "encode_request",
    "encode_response",
    "receive",
]

HEAD_MAX_BYTES = 65_536
"""A request or status line with its headers; S3 and Bedrock stay below 8 KiB."""

BODY_MAX_BYTES = 33_554_432
"""32 MiB: Lambda's largest payload is 6 MB (20 MB streamed), Bedrock's largest request 25 MB."""

RECEIVE_BYTES = 65_536

_CHUNK_LINE_MAX_BYTES = 4_096
_FINAL_STATUS = 200
_SWITCHING_PROTOCOLS = 101


def encode_request(
    method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes | None = None
) -> bytes:
    """Make the bytes of a request; a body brings its `content-length`.

    Raises:
        ProtocolError: A name, a value or the target would break the framing.
    """
    return heads.encode_head(heads.request_line(method, target), headers, body)


def encode_response(
    status: int, headers: Iterable[tuple[str, str]], body: bytes | None = b"", reason: str = ""
) -> bytes:
    """Make the bytes of a response. `body=None` sends the head alone (a streamed body follows).

    Raises:
        ProtocolError: The reason, a name or a value would break the framing.
    """
    if status in heads.BODILESS_STATUS or status < _FINAL_STATUS:
        body = None
    return heads.encode_head(heads.status_line(status, reason), headers, body)


def encode_chunk(data: bytes) -> bytes:
    """Make one chunk of a chunked body. Empty data would end the body, so it makes nothing."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def encode_last_chunk(trailers: Iterable[tuple[str, str]] = ()) -> bytes:
    """End a chunked body."""
    return heads.encode_head("0\r\n", trailers)


class Reader:
    """Reads the messages of one connection, one after the other.

    How the bytes are cut into pieces changes nothing in what is read or refused.
    """

    def __init__(
        self,
        *,
        requests: bool,
        head_max_bytes: int = HEAD_MAX_BYTES,
        body_max_bytes: int = BODY_MAX_BYTES,
    ) -> None:
        """Start with an empty connection.

        Args:
            requests: True in a server, False in a client.
            head_max_bytes: A longer head is refused (431).
            body_max_bytes: A longer body is refused (413), by `read_body` alone.
        """
        self._requests = requests
        self._head_max_bytes = head_max_bytes
        self._body_max_bytes = body_max_bytes
        self._buffer = bytearray()
        self._searched = 0  # no blank line begins before this offset
        self._ended = False
        self._fault: ProtocolError | None = None
        self._begin()

    def _begin(self) -> None:
        self._begun = False  # a head, an interim one too, has come
        self._method = ""
        self._left: int | None = 0  # of the body or the chunk; None: until the peer closes
        self._chunked = False
        self._after_chunk = False
        self._in_trailers = False
        self._body_done = False
        self._collected = bytearray()
        self.trailers: Headers = []

    def expect(self, method: str) -> None:
        """Tell a client's reader which request the next response answers."""
        self._method = method

    def next_message(self) -> None:
        """Forget the message that was read to its end; bytes of the next one stay.

        Raises:
            ProtocolError: Its body was not read, so that nobody knows where the next one begins.
        """
        if self._begun and not self._body_done:
            raise ProtocolError("The message before was not read to its end.")
        self._begin()

    @property
    def buffered(self) -> bool:
        """Whether bytes of a further message are already here."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take received bytes. Empty bytes say that the peer has closed."""
        if data:
            self._buffer += data
        else:
            self._ended = True

    def read_head(self) -> Request | Response | None:
        """Return the next head, or None while bytes are missing. Interim (1xx) heads are skipped.

        Raises:
            ConnectionEndedError: The peer closed before a whole head came.
            ProtocolError: What came is not HTTP/1.1.
        """
        while (lines := self._take_head()) is not None:
            self._begun = True
            head: Request | Response
            length: int | None
            if self._requests:
                head, length = heads.parse_request_head(lines)
            else:
                head, length = heads.parse_response_head(lines, self._method)
                if head.status < _FINAL_STATUS and head.status != _SWITCHING_PROTOCOLS:
                    continue
            self._chunked = length == heads.CHUNKED
            self._left = 0 if self._chunked else length
            self._body_done = length == 0
            return head
        return None

    def read_chunk(self) -> bytes | None:
        """Return the next piece of the body, b"" at its end, None while bytes are missing.

        Raises:
            ConnectionEndedError: The peer closed inside the body.
            ProtocolError: The body's framing is broken.
        """
        buffer = self._buffer
        if self._chunked and not self._left and not self._body_done and buffer:
            self._begin_chunk()
        if self._body_done:
            return b""
        if not buffer or self._left == 0:
            return self._missing() if self._ended else None
        data = bytes(buffer if self._left is None else buffer[: self._left])
        size = len(data)
        if self._left is not None:
            self._left -= size
            if not self._chunked:
                self._body_done = not self._left
            elif not self._left and buffer[size : size + 2] == b"\r\n":
                self._after_chunk = False
                size += 2  # the line break behind a chunk is taken with it
        del buffer[:size]
        return data

    def read_arrived(self) -> bytes | None:
        """Return all of the body that is here, b"" at its end, None while nothing of it is.

        Raises:
            ConnectionEndedError, ProtocolError: As `read_chunk`, after what came before.
        """
        if not (self._buffer or self._ended or self._body_done or self._fault):
            return None
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault
        data = self.read_chunk()
        if not data or not self._buffer:
            return data
        pieces = [data]
        try:
            while piece := self.read_chunk():
                pieces.append(piece)
        except ProtocolError as error:
            self._fault = error
        return b"".join(pieces)

    def read_body(self) -> bytes | None:
        """Return the whole body, or None while bytes are missing.

        Raises:
            ConnectionEndedError: The peer closed inside the body.
            ProtocolError: The body is longer than allowed (413), or its framing is broken.
        """
        if self._left is not None and not self._chunked and self._left > self._body_max_bytes:
            raise ProtocolError("The body is too long.", 413)
        while True:
            piece = self.read_chunk()
            if piece is None:
                return None
            if not piece:
                return bytes(self._collected)
            self._collected += piece
            if len(self._collected) > self._body_max_bytes:
                raise ProtocolError("The body is too long.", 413)

    def _take_head(self) -> list[bytes] | None:
        if not heads.may_begin(self._buffer):
            raise ProtocolError("What came is not HTTP.")
        lines = self._take_lines()
        if lines is None and self._ended:
            clean = not self._buffer and not self._begun
            raise ConnectionEndedError("The peer closed before a whole head came.", clean=clean)
        return lines

    def _take_lines(self) -> list[bytes] | None:
        """Take what stands before the next blank line, with it; None while it has not come."""
        end = self._buffer.find(b"\r\n\r\n", self._searched)
        length = end if end >= 0 else max(0, len(self._buffer) - 3)
        if length > self._head_max_bytes:
            raise ProtocolError("The head is too long.", 431)
        if end < 0:
            self._searched = length
            return None
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        self._searched = 0
        return lines

    def _begin_chunk(self) -> None:
        """Go on to the next chunk's data or past the trailers, where they have come."""
        buffer = self._buffer
        if self._in_trailers:
            self._read_trailers()
            return
        if self._after_chunk:
            if len(buffer) < len(b"\r\n"):
                return
            if not buffer.startswith(b"\r\n"):
                raise ProtocolError("A chunk does not end where it said.")
            del buffer[:2]
            self._after_chunk = False
        end = buffer.find(b"\r\n", 0, _CHUNK_LINE_MAX_BYTES + 2)
        if end < 0:
            if len(buffer) > _CHUNK_LINE_MAX_BYTES + 1:
                raise ProtocolError("A chunk's first line is too long.")
            return
        self._left = heads.parse_chunk_size(bytes(buffer[:end]))
        if self._left:
            del buffer[: end + 2]
            self._after_chunk = True
            return
        del buffer[:end]  # its line break stays: with another one it ends the trailers
        self._in_trailers = True
        self._read_trailers()

    def _read_trailers(self) -> None:
        lines = self._take_lines()
        if lines is not None:
            self.trailers = heads.parse_trailers(lines)
            self._body_done = True

    def _missing(self) -> bytes | None:
        if not self._ended:
            return None
        if self._left is not None:
            raise ConnectionEndedError("The peer closed inside a body.", clean=False)
        self._body_done = True
        return b""


def receive(reader: Reader, recv: Callable[[int], bytes]) -> tuple[Request | Response, bytes]:
    """Read one whole message by calling `recv` (a socket's, with its own timeout).

    Raises:
        ConnectionEndedError: The peer closed; `clean` when it did so between two messages.
        ProtocolError: What came is not HTTP/1.1.
    """
    while (head := reader.read_head()) is None:
        reader.feed(recv(RECEIVE_BYTES))
    while (body := reader.read_body()) is None:
        reader.feed(recv(RECEIVE_BYTES))
    reader.next_message()
    return head, body
