"""Coverage-guided fuzzing of what reads bytes of others; run by hand, with `atheris`.

    python -m venv /tmp/fuzz && /tmp/fuzz/bin/pip install atheris h11 botocore hypothesis
    nice -n 19 /tmp/fuzz/bin/python tests/fuzz/fuzz.py sse -max_total_time=300
    nice -n 19 /tmp/fuzz/bin/python tests/fuzz/fuzz.py bedrock.converse -max_total_time=300

What stands behind the target's name goes to libFuzzer. An input that breaks a rule is left in the
working directory as `crash-…`, and is tried again by naming that file. The beginning is made of the
recorded answers in `tests/extension/providers/recorded`.
"""

from __future__ import annotations

import itertools
import json
import re
import struct
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import atheris

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / folder) for folder in ("tests", "sdk", "extension", "runtime_api")]

with atheris.instrument_imports(include=["lambdallm_extension", "lambda_runtime_api"]):
    from lambda_runtime_api import http1  # noqa: F401 - for those that read with it
    from lambdallm_extension.aws.eventstream import DamagedStreamError, EventStreamReader, encode
    from lambdallm_extension.errors import ProviderError
    from lambdallm_extension.providers import find_dialect
    from lambdallm_extension.providers.sse import EventReader, EventTooLongError

from botocore.eventstream import EventStreamBuffer, ParserError  # noqa: E402

from fakes.h11_oracle import Message, outcome, read_by_h11  # noqa: E402

RECORDED = REPOSITORY / "tests/extension/providers/recorded"
SSE = [("content-type", "text/event-stream")]
FRAMES = [("content-type", "application/vnd.amazon.eventstream")]

OF_LINES = {
    "openai.chat": "openai_chat.json",
    "openai.responses": "openai_responses.json",
    "anthropic.messages": "anthropic_messages.json",
}
OF_FRAMES = {
    "bedrock.converse": ("bedrock.converse", "anthropic.claude-3-haiku-20240307-v1:0"),
    "bedrock.claude": ("bedrock.invoke", "anthropic.claude-3-haiku-20240307-v1:0"),
    "bedrock.nova": ("bedrock.invoke", "amazon.nova-lite-v1:0"),
    "bedrock.titan": ("bedrock.invoke", "amazon.titan-text-express-v1"),
    "bedrock.llama": ("bedrock.invoke", "meta.llama3-8b-instruct-v1:0"),
    "bedrock.mistral": ("bedrock.invoke", "mistral.mistral-large-2402-v1:0"),
    "bedrock.cohere": ("bedrock.invoke", "cohere.command-r-v1:0"),
}
BYTE_BY_BYTE_MAX = 400
SWITCHING_PROTOCOLS = 101
"""An upgrade, which nobody here asks for."""

KINDS = ("MalformedReply", "CutStream")


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut bytes at these places, anywhere."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def sse(data: bytes) -> None:
    """Events are the same however they are cut; nothing but their length is refused."""
    places, stream = data[:4], data[4:]

    def read(pieces: list[bytes]) -> list[tuple[str, str]]:
        reader = EventReader()
        return [event for piece in pieces for event in reader.feed(piece)]

    try:
        whole = read([stream])
    except EventTooLongError:
        return
    assert read(cut(stream, places)) == whole
    short = stream[:BYTE_BY_BYTE_MAX]
    assert read([short[at : at + 1] for at in range(len(short))]) == read([short])
    assert whole == _sse_by_the_standard(stream)


def _sse_by_the_standard(stream: bytes) -> list[tuple[str, str]]:
    """Read as the standard says it, line by line."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    events, name, lines = [], "", []
    normal = text.replace("\r\n", "\n").replace("\r", "\n")
    for line in normal.split("\n")[:-1]:
        if not line:
            if lines:
                events.append((name, "\n".join(lines)))
            name, lines = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            lines.append(value)
        elif field == "event":
            name = value
    return events


def eventstream(data: bytes) -> None:
    """What botocore reads we read; what it refuses we refuse, and more of what cannot be."""
    provider = atheris.FuzzedDataProvider(data)
    places = provider.ConsumeIntListInRange(3, 0, 4_000)
    right = provider.ConsumeBool()
    block = provider.ConsumeBytes(provider.ConsumeIntInRange(0, 200))
    rest = provider.ConsumeBytes(provider.remaining_bytes())
    stream = _frame(block, rest) * 2 if right else block + rest
    ours, refused = _read_frames(cut(stream, places))
    theirs, they_refused = _read_frames_by_botocore([stream])
    assert _read_frames([stream]) == (ours, refused)
    if right:  # botocore takes a value that is cut off by its message's end
        assert refused or (ours, they_refused) == (theirs, False)
        assert refused or not they_refused
    else:
        assert (ours, refused) == (theirs, they_refused)


def _frame(block: bytes, payload: bytes) -> bytes:
    prelude = struct.pack("!II", 16 + len(block) + len(payload), len(block))
    content = prelude + struct.pack("!I", crc32(prelude)) + block + payload
    return content + struct.pack("!I", crc32(content))


def _read_frames(pieces: list[bytes]) -> tuple[list[Any], bool]:
    reader = EventStreamReader()
    found: list[Any] = []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (message := reader.next()) is not None:
                found.append((dict(message.headers), message.payload))
    except DamagedStreamError:
        return found, True
    return found, False


def _read_frames_by_botocore(pieces: list[bytes]) -> tuple[list[Any], bool]:
    buffer = EventStreamBuffer()
    found: list[Any] = []
    try:
        for piece in pieces:
            buffer.add_data(piece)
            for message in buffer:
                found.append((message.headers, message.payload))  # noqa: PERF401 - kept on errors
    except (ParserError, struct.error, KeyError, UnicodeDecodeError):
        return found, True
    return found, False


def http1_requests(data: bytes) -> None:
    """A request is read alike however it is cut; what we take h11 takes, and reads the same."""
    _http1(data, requests=True)


def http1_responses(data: bytes) -> None:
    """The same for responses."""
    _http1(data, requests=False)


def _http1(data: bytes, *, requests: bool) -> None:
    places, stream = data[:4], data[4:]
    pieces = [piece for piece in cut(stream, places) if piece]
    ours = outcome([stream] if stream else [], requests=requests)
    assert outcome(pieces, requests=requests) == ours
    if not isinstance(ours, Message) or ours.line[0] == SWITCHING_PROTOCOLS:
        return
    theirs = read_by_h11(_WHITE_BEFORE_EXTENSION.sub(rb"\1;", stream), requests=requests)
    assert theirs is not None, ours
    assert theirs._replace(headers=[]) == ours._replace(headers=[]), (theirs, ours)
    assert _alike(theirs.headers) == _alike(ours.headers), (theirs, ours)


_WHITE_BEFORE_EXTENSION = re.compile(rb"(\r\n[0-9A-Fa-f]+)[ \t]+;")
"""Which a reader has to take, and h11 does not: RFC 9112, section 7.1.1."""


def _alike(headers: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """h11 drops repeated equal lengths, and writes codings in lower case."""
    return {
        (name, value.lower() if name == "transfer-encoding" else value) for name, value in headers
    }


def of_lines(name: str) -> Callable[[bytes], None]:
    """Return the target of a dialect whose streams are server-sent events."""
    dialect = find_dialect(name, "m")

    def target(data: bytes) -> None:
        places, stream = data[:4], data[4:]
        _check(dialect, "m", SSE, [stream], cut(stream, places))

    return target


def of_frames(name: str) -> Callable[[bytes], None]:
    """Return the target of a dialect whose streams are AWS's; an input is lines of them.

    Shape: each line is an event's name, a blank, and its payload.
    """
    form, model_id = OF_FRAMES[name]
    dialect = find_dialect(form, model_id)

    def target(data: bytes) -> None:
        places, lines = data[:4], data[4:].split(b"\n")
        stream = b"".join(map(_event, lines))
        _check(dialect, model_id, FRAMES, [stream], cut(stream, [each * 17 for each in places]))

    return target


def _event(line: bytes) -> bytes:
    name, _, payload = line.partition(b" ")
    text = name.decode("latin-1")[:60]
    failed = text.endswith(("Exception", "Error"))
    kind = "exception" if failed else "event"
    if text == "chunk":
        payload = json.dumps({"bytes": _base64(payload)}).encode()
    return encode({":message-type": kind, f":{kind}-type": text}, payload)


def _base64(payload: bytes) -> str:
    import base64

    return base64.b64encode(payload).decode()


def _check(
    dialect: Any, model_id: str, headers: Any, whole: list[bytes], pieces: list[bytes]
) -> None:
    """An answer or a typed error, the same however it is cut; with usage that can be booked."""
    first, error = _feed(dialect, model_id, headers, whole)
    second, again = _feed(dialect, model_id, headers, pieces)
    assert repr(first.to_answer()) == repr(second.to_answer())
    assert repr(first.spent()) == repr(second.spent())
    assert _named(error) == _named(again)
    usage, _ = first.spent()
    assert all(type(count) is int and count >= 0 for count in usage.values()), usage
    assert all(count < 2**63 for count in usage.values()), usage
    first.text.encode()
    json.dumps(first.to_answer().content).encode("ascii")
    if error is None:
        assert first.ended
    else:
        assert error.kind in KINDS or error.status >= 400, error


def _named(error: ProviderError | None) -> tuple[object, ...] | None:
    return None if error is None else (error.kind, error.status, error.sent, error.retryable)


def _feed(
    dialect: Any, model_id: str, headers: Any, pieces: list[bytes]
) -> tuple[Any, ProviderError | None]:
    reader = dialect.read_stream(model_id, headers)
    try:
        for piece in pieces:
            reader.feed(piece)
        reader.end()
    except ProviderError as error:
        return reader.answer, error
    return reader.answer, None


def seeds(name: str) -> Iterator[bytes]:
    """Make first inputs for a target."""
    files = [OF_LINES[name]] if name in OF_LINES else [*OF_LINES.values()] if name == "sse" else []
    for file in files:
        for reply in json.loads((RECORDED / file).read_text())["replies"].values():
            text = "".join(
                (f"event: {event}\n" if event else "")
                + f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n"
                for event, value in reply.get("events", [])
            )
            yield b"\1\7\40\177" + text.encode()
    if name in OF_FRAMES:
        for file in ("bedrock_converse.json", "bedrock_invoke_claude.json"):
            for reply in json.loads((RECORDED / file).read_text())["replies"].values():
                lines = [
                    f"{event} {value if isinstance(value, str) else json.dumps(value)}"
                    for event, value in reply.get("frames", [])
                ]
                yield b"\1\7\40\177" + "\n".join(lines).encode()
        yield from _SEEDS_OF_FAMILIES
    yield from _SEEDS.get(name, ())


_METRICS = (
    b'"amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":5,'
    b'"invocationLatency":9,"firstByteLatency":2}'
)
_SEEDS_OF_FAMILIES = [
    b'\1\7\40\177chunk {"generation":"Hi","prompt_token_count":3,"generation_token_count":1,'
    b'"stop_reason":null}\nchunk {"generation":"","stop_reason":"stop",' + _METRICS + b"}",
    b'\1\7\40\177chunk {"outputs":[{"text":"Hi","stop_reason":null}]}\n'
    b'chunk {"outputs":[{"text":"","stop_reason":"stop"}],' + _METRICS + b"}",
    b'\1\7\40\177chunk {"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},'
    b'"stop_reason":"stop"}],' + _METRICS + b"}",
    b'\1\7\40\177chunk {"outputText":"Hi","index":0,"totalOutputTextTokenCount":null,'
    b'"completionReason":null,"inputTextTokenCount":3}\nchunk {"outputText":"","index":0,'
    b'"totalOutputTextTokenCount":5,"completionReason":"FINISH",' + _METRICS + b"}",
    b'\1\7\40\177chunk {"is_finished":false,"event_type":"text-generation","text":"Hi"}\n'
    b'chunk {"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE",'
    + _METRICS
    + b"}",
    b'\1\7\40\177chunk {"contentBlockDelta":{"delta":{"text":"Hi"},"contentBlockIndex":0}}\n'
    b'chunk {"messageStop":{"stopReason":"end_turn"}}\n'
    b'chunk {"metadata":{"usage":{"inputTokens":3,"outputTokens":5}},' + _METRICS + b"}",
]
_SEEDS = {
    "eventstream": [
        b"\0\0\0\1\13\x0b:event-type\7\0\5chunk{}" * 2,
        bytes(40),
    ],
    "http1.requests": [
        b"\1\7\40\177POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        b"\1\7\40\177POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
    ],
    "http1.responses": [
        b"\1\7\40\177HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"\1\7\40\177HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"\1\7\40\177HTTP/1.0 200\r\n\r\nuntil the end",
    ],
}

TARGETS: dict[str, Callable[[bytes], None]] = {
    "sse": sse,
    "eventstream": eventstream,
    "http1.requests": http1_requests,
    "http1.responses": http1_responses,
}
with atheris.instrument_imports(include=["lambdallm_extension"]):  # they are loaded here
    TARGETS |= {name: of_lines(name) for name in OF_LINES}
    TARGETS |= {name: of_frames(name) for name in OF_FRAMES}


def main() -> None:
    """Fuzz one target until libFuzzer ends it."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: fuzz.py TARGET [LIBFUZZER'S ARGUMENTS]; targets: {', '.join(TARGETS)}")
    name, arguments = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as corpus:
        if all(argument.startswith("-") for argument in arguments):
            for number, seed in enumerate(seeds(name)):
                (Path(corpus) / str(number)).write_bytes(seed)
            arguments.append(corpus)
        atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
