"""A model whose answers a test speaks word by word, over ConverseStream and real HTTP:

    with SpokenModel() as model:
        …                              # somebody asks
        speech = model.next_question()
        speech.say("one ")             # and has it now
        speech.say("two")
        speech.end()

Its price is that of the model whose id it is asked by.
"""

from __future__ import annotations

import json
from queue import Queue
from typing import TYPE_CHECKING, Any

from lambdallm.testing.model_script import Answer, Failure, make_reply
from lambdallm.testing.model_server import ModelServer, _Handler
from lambdallm_extension.aws.eventstream import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL_ID = "anthropic.claude-3-haiku-20240307-v1:0"

PICO_USD = (250_000, 1_250_000)
"""Of one of its tokens of input and of output. Source: AWS's price list of Bedrock, 2026-11."""

ASKING_SECONDS = 30


class Speech:
    """One answer, while it is spoken."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body
        self._said: list[str] = []
        self._pieces: Queue[str | Failure | None] = Queue()

    @property
    def question(self) -> list[tuple[str, str]]:
        """The conversation as it was asked: roles and texts."""
        return [
            (message["role"], "".join(block["text"] for block in message["content"]))
            for message in self._body["messages"]
        ]

    @property
    def reply(self) -> dict[str, Any]:
        """What Converse would answer to all that was said."""
        return make_reply(self._body, Answer("".join(self._said)))

    @property
    def cost_pico_usd(self) -> int:
        """What all that was said costs."""
        usage = self.reply["usage"]
        return int(usage["inputTokens"] * PICO_USD[0] + usage["outputTokens"] * PICO_USD[1])

    def say(self, piece: str) -> None:
        self._said.append(piece)
        self._pieces.put(piece)

    def end(self) -> None:
        self._pieces.put(None)

    def fail(self, error: str, message: str) -> None:
        """End it by an exception of Bedrock's, such as `modelStreamErrorException`."""
        self._pieces.put(Failure(0, error, message))

    def pieces(self) -> Iterator[str | Failure]:
        while (piece := self._pieces.get()) is not None:
            yield piece


class SpokenModel(ModelServer):
    """Says nothing by itself. What is not ended is ended with the block."""

    def __init__(self) -> None:
        super().__init__()
        self._server.RequestHandlerClass = _Spoken
        self._speeches: list[Speech] = []
        self._asked: Queue[Speech] = Queue()

    @property
    def questions(self) -> int:
        """How often it was asked until now."""
        return len(self._speeches)

    def next_question(self) -> Speech:
        """Wait until somebody asks."""
        return self._asked.get(timeout=ASKING_SECONDS)

    def begin(self, body: dict[str, Any]) -> Speech:
        speech = Speech(body)
        self._speeches.append(speech)
        self._asked.put(speech)
        return speech

    def close(self) -> None:
        for speech in self._speeches:
            speech.end()
        super().close()


class _Spoken(_Handler):
    server: Any

    def do_POST(self) -> None:  # noqa: N802 - so the server calls it
        assert self.path.endswith("/converse-stream"), self.path
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        speech = self.server.models.begin(body)
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.amazon.eventstream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._say("messageStart", {"role": "assistant"})
        for piece in speech.pieces():
            if isinstance(piece, Failure):
                self._say(piece.error, {"message": piece.message}, what="exception")
                self.wfile.write(b"0\r\n\r\n")
                return
            self._say("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}})
        reply = speech.reply
        self._say("contentBlockStop", {"contentBlockIndex": 0})
        self._say("messageStop", {"stopReason": reply["stopReason"]})
        self._say("metadata", {"usage": reply["usage"], "metrics": reply["metrics"]})
        self.wfile.write(b"0\r\n\r\n")

    def _say(self, kind: str, payload: object, what: str = "event") -> None:
        headers = {
            f":{what}-type": kind, ":content-type": "application/json", ":message-type": what,
        }  # fmt: skip
        frame = encode(headers, json.dumps(payload).encode())
        self.wfile.write(b"%x\r\n%b\r\n" % (len(frame), frame))
