"""A model that streams, over TLS, in a process of its own: OpenAI's chat and Bedrock's Converse.

How much it says stands in the model's name, `CHUNKS-GAPMS` (`500-2`: 500 chunks, 2 ms apart). Each
chunk holds the instant at which it was sent (the machine's monotonic clock, nanoseconds), so that
a reader knows how long it was on its way:

    $ python stream_peer.py CERTIFICATE KEY
    40123                           one line: its port

It ends when its standard input does.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import sys
import threading
import time
import zlib

WORDS = " and so the model goes on"
"""Behind the instant: chunks are about 150 bytes on the wire, as those of today's APIs are."""


def main() -> int:
    """Serve until the standard input ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    threading.Thread(target=_accept, args=(listener, context), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
    return 0


def _accept(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        connected, _ = listener.accept()
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(connected, context), daemon=True).start()


def _serve(connected: socket.socket, context: ssl.SSLContext) -> None:
    try:
        with context.wrap_socket(connected, server_side=True) as line:
            while (request := _read(line)) is not None:
                _answer(line, *request)
    except OSError:
        return  # how every client ends


def _read(line: ssl.SSLSocket) -> tuple[str, bytes] | None:
    """Return one request's path and body, None when there is no more."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = line.recv(65_536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [each[15:] for each in head.lower().split(b"\r\n") if each[:15] == b"content-length:"]
    while len(body) < int(lengths[0]):
        body += line.recv(65_536)
    return head.split(b" ")[1].decode(), body


def _answer(line: ssl.SSLSocket, path: str, body: bytes) -> None:
    bedrock = "/model/" in path
    model = path.split("/")[2] if bedrock else json.loads(body)["model"]
    chunks, gap_ms = (int(part) for part in model.rpartition(".")[2].split("-"))
    kind = "application/vnd.amazon.eventstream" if bedrock else "text/event-stream"
    line.sendall(
        f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n"
        "x-amzn-requestid: 1\r\n\r\n".encode()
    )
    piece, begin, ends = (_frame, _FRAMES_BEGIN, _FRAMES_END) if bedrock else (_sse, [], _SSE_END)
    for each in begin:
        _send(line, each)
    due = time.monotonic()
    for _ in range(chunks):
        due += gap_ms / 1_000
        time.sleep(max(0.0, due - time.monotonic()))
        _send(line, piece(f"{time.monotonic_ns()}{WORDS}"))
    for each in ends(chunks):
        _send(line, each)
    line.sendall(b"0\r\n\r\n")


def _send(line: ssl.SSLSocket, data: bytes) -> None:
    line.sendall(b"%x\r\n%b\r\n" % (len(data), data))


def _sse(text: str) -> bytes:
    return (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",'
        b'"choices":[{"index":0,"delta":{"content":%b},"finish_reason":null}]}\n\n'
        % json.dumps(text).encode()
    )


def _sse_end(chunks: int) -> list[bytes]:
    common = '"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m"'
    usage = f'"prompt_tokens":14,"completion_tokens":{chunks},"total_tokens":{chunks + 14}'
    return [
        f'data: {{{common},"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"}}]}}'
        "\n\n".encode(),
        f'data: {{{common},"choices":[],"usage":{{{usage}}}}}\n\n'.encode(),
        b"data: [DONE]\n\n",
    ]


def _frame(text: str) -> bytes:
    return _event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})


def _event(kind: str, payload: object) -> bytes:
    """Make a message of `application/vnd.amazon.eventstream`."""
    headers = b"".join(
        bytes([len(name)]) + name.encode() + b"\7" + struct.pack(">H", len(value)) + value.encode()
        for name, value in (
            (":event-type", kind),
            (":content-type", "application/json"),
            (":message-type", "event"),
        )
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack(">I", zlib.crc32(message))


def _frames_end(chunks: int) -> list[bytes]:
    usage = {"inputTokens": 14, "outputTokens": chunks, "totalTokens": chunks + 14}
    return [
        _event("contentBlockStop", {"contentBlockIndex": 0}),
        _event("messageStop", {"stopReason": "end_turn"}),
        _event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
    ]


_FRAMES_BEGIN = [_event("messageStart", {"role": "assistant"})]
_FRAMES_END = _frames_end
_SSE_END = _sse_end


if __name__ == "__main__":
    sys.exit(main())
