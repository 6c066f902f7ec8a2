"""What people put in front of boto3 today to stream: FastAPI's StreamingResponse, in uvicorn.

    $ python web_adapter_peer.py
    40123                           one line: its port

On Lambda, AWS Lambda Web Adapter stands before it. Its program is in no package registry, so that
it is not here, and its CPU is not counted. It ends when its standard input does.
"""

from __future__ import annotations

import socket
import sys
import threading
from typing import TYPE_CHECKING

import boto3
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

app = FastAPI()
client = boto3.client("bedrock-runtime")


@app.get("/{model}")
def tell(model: str) -> StreamingResponse:
    """Give the model's chunks on as they come."""
    answer = client.converse_stream(
        modelId=f"bench.{model}", messages=[{"role": "user", "content": [{"text": "Go on."}]}]
    )

    def chunks() -> Iterator[str]:
        for event in answer["stream"]:
            delta = event.get("contentBlockDelta")
            if delta:
                yield f"data: {delta['delta']['text']}\n\n"

    return StreamingResponse(chunks(), media_type="text/event-stream")


def main() -> int:
    """Serve until the standard input ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))

    def wait() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=wait, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
