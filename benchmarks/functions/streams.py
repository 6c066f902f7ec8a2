"""The function that reads streams: through lambdallm, or with clients that know nothing of it."""

import json
import os
import socket
import ssl
import sys
import threading
import time

import lambdallm

PORT = int(os.environ.get("LAMBDALLM_PORT", "2772"))
KEY = "bench"
CLIENTS = {}


def sidecar_cpu(pid):
    """Return the CPU seconds that the sidecar has used; the pid comes with the event."""
    return time.clock_gettime(~pid << 3 | 2) if pid else 0.0


def read_sdk(event, context):
    """Read through the SDK."""
    stream = context.stream("Go on.", model=f"bedrock/bench.{event['model']}", max_retries=0)
    return list(stream)


def read_boto3(event, context):
    """Read with boto3 alone, in this process."""
    import boto3

    if "bedrock" not in CLIENTS:
        CLIENTS["bedrock"] = boto3.client("bedrock-runtime")
    answer = CLIENTS["bedrock"].converse_stream(
        modelId=f"bench.{event['model']}",
        messages=[{"role": "user", "content": [{"text": "Go on."}]}],
    )
    deltas = (each.get("contentBlockDelta") for each in answer["stream"])
    return [delta["delta"]["text"] for delta in deltas if delta]


def read_openai(event, context):
    """Read with the unmodified `openai` package, through the sidecar."""
    if os.environ["PACKAGES"] not in sys.path:
        sys.path.append(os.environ["PACKAGES"])
    import openai

    if "openai" not in CLIENTS:
        url = f"http://127.0.0.1:{PORT}/openai/v1"
        CLIENTS["openai"] = openai.OpenAI(base_url=url, api_key=KEY)
    chunks = CLIENTS["openai"].chat.completions.create(
        model=event["model"], messages=[{"role": "user", "content": "Go on."}], stream=True
    )
    return [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]


def read_raw(event, context):
    """Read with a bare socket: all that lies between is the way. Return each chunk's way, in us."""
    body = json.dumps({"model": event["model"], "messages": [], "stream": True}).encode()
    if event["direct"]:
        host, port = "localhost", int(os.environ["STREAM_PORT"])
        trusted = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
        line = trusted.wrap_socket(socket.create_connection((host, port)), server_hostname=host)
        path = "/v1/chat/completions"
    else:
        host, port = "127.0.0.1", PORT
        line, path = socket.create_connection((host, port)), "/openai/v1/chat/completions"
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    line.sendall(head.encode() + body)
    ways, data = [], b""
    with line:
        while b"0\r\n\r\n" not in data[-16:]:
            data = line.recv(65_536)
            now = time.monotonic_ns()
            if not data:
                raise RuntimeError("the stream was cut")
            parts = data.split(b'"content":"')[1:]
            ways += [(now - int(part[: part.index(b" ")])) / 1_000 for part in parts]
    return ways


READERS = {"sdk": read_sdk, "boto3": read_boto3, "openai": read_openai, "raw": read_raw}


def handler(event, context):
    """Read, as a handler of lambdallm does, and return what was seen."""
    seen = {}
    lambdallm.handler(lambda event, context: seen.update(read_all(event, context)))(event, context)
    return seen


def read_all(event, context):
    """Read `streams` of them at once; return the CPU of both processes for each, and the pieces."""
    reader, found = READERS[event["reader"]], []

    def read():
        found.append(reader(event, context))

    before = time.process_time(), sidecar_cpu(event.get("sidecar"))
    if event.get("streams", 1) == 1:
        read()
    else:
        threads = [threading.Thread(target=read) for _ in range(event["streams"])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    after = time.process_time(), sidecar_cpu(event.get("sidecar"))
    pieces = sum(len(each) for each in found)
    ways = [way for each in found for way in each] if event["reader"] == "raw" else []
    return {"seen": [b - a for a, b in zip(before, after)], "pieces": pieces, "ways": ways}  # noqa: B905 - two of each
