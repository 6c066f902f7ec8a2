"""AWS's event stream (`application/vnd.amazon.eventstream`), without I/O: bytes in, messages out.

    ┌─ 12 bytes ──────────────────────────────┬─────────┬─────────┬──────────────┐
    │ whole length │ headers' length │ CRC-32  │ headers │ payload │ CRC-32 of it │
    └─ 4 ──────────┴─ 4 ─────────────┴─ 4 ─────┴─────────┴─────────┴─ 4 ──────────┘

Lengths count everything and are big-endian. A header is the length of its name (1 byte), its name,
its type (1 byte) and its value. Source: "Amazon Transcribe streaming: event stream encoding",
Smithy 2.0, "Amazon Event Stream Specification", 2026-11.
"""

from __future__ import annotations

from binascii import crc32

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    HeaderValue = bool | int | str | bytes

MESSAGE_MAX_BYTES = 16_777_216
"""Of one message, its frame included. Source: as above, "message length": 16 MB."""

HEADERS_MAX_BYTES = 131_072
"""Of one message's headers. Source: as above."""

_PRELUDE_BYTES = 12
_CRC_BYTES = 4
_FRAME_BYTES = _PRELUDE_BYTES + _CRC_BYTES
_32_BITS = 0xFFFF_FFFF

_KNOWN_HEADERS_MAX = 32
_KNOWN_HEADERS_MAX_BYTES = 512
"""Header blocks repeat, byte for byte, with each event of a type: so many are read only once."""

_BYTES = 6
_STRING = 7
_UUID = 9
_INTEGERS = {2: 1, 3: 2, 4: 4, 5: 8, 8: 8}
"""Types whose value is a signed number of so many bytes; the last is milliseconds since 1970."""

_NAME_MAX_BYTES = 255
_VALUE_MAX_BYTES = 65_535


class DamagedStreamError(ValueError):
    """The bytes are no event stream, or were damaged on their way. Nothing after them counts."""


class Message(NamedTuple):
    """One message.

    Attributes:
        kind: `event`, `exception` (modelled by the service) or `error` (not modelled).
        name: Which event or exception, or the error's code.
        payload: As it came.
        headers: All of them; those of AWS begin with a colon.
    """

    kind: str
    name: str
    payload: bytes
    headers: Mapping[str, HeaderValue]


class EventStreamReader:
    """Reads messages out of bytes that are cut anywhere. Keeps at most one message, and a piece."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._held = b""
        self._at = 0
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0
        self._length = 0  # of the message whose prelude has been read; 0 before that
        self._headers_length = 0
        self._known: dict[bytes, tuple[str, str, Mapping[str, HeaderValue]]] = {}

    def feed(self, data: bytes) -> None:
        """Take bytes as they come."""
        if self._at == len(self._held) and not self._pieces:
            self._held, self._at = data, 0
            return
        self._pieces.append(data)
        self._pieces_bytes += len(data)

    @property
    def within(self) -> bool:
        """Whether some of a message has come, and not all of it."""
        return len(self._held) - self._at + self._pieces_bytes > 0

    def next(self) -> Message | None:
        """Return the next message, None while not all of it has come.

        Raises:
            DamagedStreamError: A checksum is wrong, or a length cannot be right.
        """
        if not self._length:
            if self._at == len(self._held) and not self._pieces:
                return None
            if not self._has(_PRELUDE_BYTES):
                return None
            self._read_prelude()
        end = self._at + self._length
        if end > len(self._held):
            if not self._has(self._length):
                return None
            end = self._length
        held, start = self._held, self._at
        payload_start = start + _PRELUDE_BYTES + self._headers_length
        payload_end = end - _CRC_BYTES
        if crc32(held[start:payload_end]) != int.from_bytes(held[payload_end:end], "big"):
            message = "The checksum of a message is wrong."
            raise DamagedStreamError(message)
        block = held[start + _PRELUDE_BYTES : payload_start]
        kind, name, headers = self._known.get(block) or self._headers(block)
        self._at, self._length = end, 0
        return Message(kind, name, held[payload_start:payload_end], headers)

    def _has(self, length: int) -> bool:
        """Say whether so many bytes are there, and then have them in one piece."""
        held = len(self._held) - self._at
        if held >= length:
            return True
        if held + self._pieces_bytes < length:
            return False
        self._held = b"".join([self._held[self._at :], *self._pieces])
        self._at = 0
        self._pieces.clear()
        self._pieces_bytes = 0
        return True

    def _read_prelude(self) -> None:
        prelude = self._held[self._at : self._at + _PRELUDE_BYTES]
        number = int.from_bytes(prelude, "big")  # of three, 32 bits each
        if crc32(prelude[:8]) != number & _32_BITS:
            message = "The checksum of a message's lengths is wrong."
            raise DamagedStreamError(message)
        length = number >> 64
        headers_length = number >> 32 & _32_BITS
        if not (
            _FRAME_BYTES + headers_length <= length <= MESSAGE_MAX_BYTES
            and headers_length <= HEADERS_MAX_BYTES
        ):
            message = f"A message of {length:,} bytes, {headers_length:,} of them headers, is none."
            raise DamagedStreamError(message)
        self._length, self._headers_length = length, headers_length

    def _headers(self, block: bytes) -> tuple[str, str, Mapping[str, HeaderValue]]:
        headers = _parse_headers(block)
        kind = str(headers.get(":message-type", "event"))
        name = str(headers.get(_NAME_OF.get(kind, ""), ""))
        known = kind, name, headers
        if len(self._known) < _KNOWN_HEADERS_MAX and len(block) <= _KNOWN_HEADERS_MAX_BYTES:
            self._known[block] = known
        return known


_NAME_OF = {"event": ":event-type", "exception": ":exception-type", "error": ":error-code"}


def encode(headers: Mapping[str, HeaderValue], payload: bytes) -> bytes:
    """Make one message. Numbers become long ones.

    Raises:
        ValueError: A name or a value is longer than the form allows.
    """
    block = b"".join([_encode_header(name, value) for name, value in headers.items()])
    prelude = (_FRAME_BYTES + len(block) + len(payload)).to_bytes(4, "big")
    prelude += len(block).to_bytes(4, "big")
    content = prelude + crc32(prelude).to_bytes(4, "big") + block + payload
    return content + crc32(content).to_bytes(4, "big")


def _encode_header(name: str, value: HeaderValue) -> bytes:
    named = name.encode()
    if not 0 < len(named) <= _NAME_MAX_BYTES:
        message = f"A header's name has 1 to {_NAME_MAX_BYTES} bytes, this one {len(named)}."
        raise ValueError(message)
    start = bytes((len(named),)) + named
    if isinstance(value, bool):
        return start + (b"\x00" if value else b"\x01")
    if isinstance(value, int):
        return start + b"\x05" + value.to_bytes(8, "big", signed=True)
    content = value.encode() if isinstance(value, str) else value
    if len(content) > _VALUE_MAX_BYTES:
        message = f"The header {name} has {len(content):,} bytes; {_VALUE_MAX_BYTES:,} are allowed."
        raise ValueError(message)
    kind = _STRING if isinstance(value, str) else _BYTES
    return start + bytes((kind,)) + len(content).to_bytes(2, "big") + content


def _parse_headers(block: bytes) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(block):
            name_end = at + 1 + block[at]
            name = block[at + 1 : name_end].decode()
            value, at = _parse_value(block, block[name_end], name_end + 1)
            if name in headers:
                message = f"The header {name!r:.80} comes twice in one message."
                raise DamagedStreamError(message)
            headers[name] = value
    except (IndexError, UnicodeDecodeError) as error:
        message = f"The headers of a message cannot be read ({type(error).__name__})."
        raise DamagedStreamError(message) from error
    return headers


def _parse_value(block: bytes, kind: int, at: int) -> tuple[HeaderValue, int]:
    """Return a header's value, and where the next header begins."""
    if kind in (0, 1):
        return kind == 0, at
    if kind in (_BYTES, _STRING):
        length = int.from_bytes(block[at : at + 2], "big")
        at += 2
    elif kind == _UUID:
        length = 16
    elif kind in _INTEGERS:
        length = _INTEGERS[kind]
    else:
        message = f"A header is of type {kind}, which is none."
        raise DamagedStreamError(message)
    end = at + length
    content = block[at:end]
    if len(block) < end:
        raise IndexError
    if kind == _STRING:
        return content.decode(), end
    if kind in _INTEGERS:
        return int.from_bytes(content, "big", signed=True), end
    return content, end
