"""A model that knows which step of which run asks, answers the same each time, and bills.

A prompt begins with `STEP of RUN:`. Its answer follows from the prompt alone, so that a run's right
output is known beforehand; an answer that has been begun (the last message is the assistant's) is
gone on with where it ends. What is generated is billed whole, whether or not anybody reads it.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from lambdallm.testing.model_script import Answer, Failure, count_tokens, make_reply
from lambdallm.testing.model_server import ModelServer, _Handler
from lambdallm_extension.aws.eventstream import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MODEL = "bedrock/anthropic.claude-3-haiku-20240307-v1:0"
"""It goes on with the beginning of its own answer."""

PICO_USD = (250_000, 1_250_000)
"""Of one token of input and of output. Source: AWS's price list of Bedrock, 2026-11."""

PIECES = 12
"""Of a streamed answer."""

WORDS = 60
"""Of an answer to a step whose name begins with `long`."""


class Billed(NamedTuple):
    """One generation, or one call of a function that has told of itself.

    Attributes:
        run: For which run.
        step: By which step.
        beginning: What it went on with, "" for nothing.
        pico_usd: What it costs.
        arrived: When it was asked for, by our monotonic clock, in seconds.
    """

    run: str
    step: str
    beginning: str
    pico_usd: int
    arrived: float


class ChainModel(ModelServer):
    """Converse and ConverseStream over real HTTP; the server closes with the block.

    Attributes:
        ledger: All that was generated, from the moment it was asked for.
        told: Calls of functions that have asked `/told/STEP/RUN`.
        before: Called with each generation before it is answered.
        within: Called with each generation and the number of each piece, before that is sent.
    """

    def __init__(self, *, slow_seconds: float = 0.0, piece_seconds: float = 0.0) -> None:
        """Take so long at most for an answer, and for a piece of one."""
        super().__init__(self._decide)
        self._server.RequestHandlerClass = _Streaming
        self._chance = random.Random(1)
        self._slow_seconds = slow_seconds
        self._piece_seconds = piece_seconds
        self._ledger_lock = threading.Lock()
        self.ledger: list[Billed] = []
        self.told: list[Billed] = []
        self.before: Callable[[Billed], object] = bool
        self.within: Callable[[Billed, int], object] = lambda billed, number: None

    def answer(
        self, path: str, body: dict[str, Any], headers: Mapping[str, str]
    ) -> dict[str, Any] | Failure:
        """Bill it, then answer."""
        billed = bill(body)
        with self._ledger_lock:
            self.ledger.append(billed)
        self.before(billed)
        return super().answer(path, body, headers)

    def tell(self, path: str) -> None:
        """Take note of what a function has told: `/told/STEP/RUN`."""
        _, _, step, run = path.split("/", 3)
        with self._ledger_lock:
            self.told.append(Billed(run, step, "", 0, time.monotonic()))

    def of(self, run: str, step: str = "") -> list[Billed]:
        """Return what was generated for a run, or for one of its steps."""
        with self._ledger_lock:
            return [each for each in self.ledger if each.run == run and step in ("", each.step)]

    def told_of(self, run: str, what: str) -> list[Billed]:
        """Return what a function has told of a run."""
        with self._ledger_lock:
            return [each for each in self.told if (each.run, each.step) == (run, what)]

    def count_told(self, what: str) -> int:
        """Return how often functions have told something."""
        return sum(each.step == what for each in self.told)

    def pause(self) -> None:
        """Wait as long as a piece takes."""
        self._closed.wait(self._piece_seconds)

    def _decide(self, messages: list[dict[str, Any]]) -> Answer:
        with self._ledger_lock:
            delay_seconds = self._chance.uniform(0, self._slow_seconds)
        return Answer(rest_of(messages), delay_seconds=delay_seconds)


class _Streaming(_Handler):
    server: Any

    def do_GET(self) -> None:  # noqa: N802 - so the server calls it
        self.server.models.tell(self.path)
        self._send(200, b"{}", {})

    def do_POST(self) -> None:  # noqa: N802 - so the server calls it
        path, _, stream = self.path.rpartition("-")
        if stream != "stream":
            super().do_POST()
            return
        model: ChainModel = self.server.models
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        reply = model.answer(path, body, dict(self.headers))
        assert isinstance(reply, dict), reply
        billed = bill(body)
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.amazon.eventstream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._say("messageStart", {"role": "assistant"})
        text = reply["output"]["message"]["content"][0]["text"]
        length = -(-len(text) // PIECES)
        for number in range(PIECES):
            model.within(billed, number)
            piece = text[number * length : (number + 1) * length]
            if piece:
                self._say("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}})
            model.pause()
        self._say("contentBlockStop", {"contentBlockIndex": 0})
        self._say("messageStop", {"stopReason": reply["stopReason"]})
        self._say("metadata", {"usage": reply["usage"], "metrics": reply["metrics"]})
        self.wfile.write(b"0\r\n\r\n")

    def _say(self, kind: str, payload: object) -> None:
        headers = {
            ":event-type": kind, ":content-type": "application/json", ":message-type": "event",
        }  # fmt: skip
        frame = encode(headers, json.dumps(payload).encode())
        self.wfile.write(b"%x\r\n%b\r\n" % (len(frame), frame))


def answer_to(prompt: str) -> str:
    """Return the whole answer to a prompt."""
    digest = hashlib.blake2b(prompt.encode(), digest_size=4).hexdigest()
    step = prompt.split(maxsplit=1)[0]
    if not step.startswith("long"):
        return f"{step} {digest}"
    return " ".join(f"{step}{number}-{digest}" for number in range(WORDS))


def rest_of(messages: list[dict[str, Any]]) -> str:
    """Return what is to be generated: the answer to the prompt, behind what was begun of it."""
    whole, beginning = answer_to(_text(messages[0])), _beginning(messages)
    assert whole.startswith(beginning), "it was to go on with something else"
    return whole[len(beginning) :]


def bill(body: dict[str, Any]) -> Billed:
    """Return what a question costs, and whose it is."""
    messages = body["messages"]
    step, _, run = _text(messages[0]).split(":", 1)[0].split()
    usage = make_reply(body, Answer(rest_of(messages)))["usage"]
    assert usage["outputTokens"] == count_tokens(rest_of(messages)), "max_tokens has cut it"
    cost = usage["inputTokens"] * PICO_USD[0] + usage["outputTokens"] * PICO_USD[1]
    return Billed(run, step, _beginning(messages), cost, time.monotonic())


def _beginning(messages: list[dict[str, Any]]) -> str:
    return _text(messages[-1]) if messages[-1]["role"] == "assistant" else ""


def _text(message: dict[str, Any]) -> str:
    content: list[dict[str, str]] = message["content"]
    return "".join(block["text"] for block in content)
