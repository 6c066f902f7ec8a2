"""A model that bills what it generates, whether or not its answer arrives, and keeps the ledger.

What is asked says in its text what it counts under, and when its environment admitted it at the
earliest: `{"user": "ada", "at": 1790000000000, "call": "8f…"}`. When it was sent at the latest
stands in the signature's date, by the same clock. Streams break off in their middle, and are billed
whole.
"""

from __future__ import annotations

import json
import random
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from lambdallm.testing.model_server import Answer, Failure, ModelServer, _Handler
from lambdallm_extension.aws.eventstream import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL = "bedrock/us.amazon.nova-micro-v1:0"
DEARER = "bedrock/us.amazon.nova-lite-v1:0"
PICO_USD = {MODEL: (35_000, 140_000), DEARER: (60_000, 240_000)}
"""Of one token of input and of output. Source: AWS's price list of Bedrock, 2026-11."""

REFUSED, BILLED_AND_CUT = 0.05, 0.03
"""Parts of all requests: refused with a 429 or 500; billed, and the answer lost."""

SECOND_MS = 1_000

PIECES = 5
PIECE_SECONDS = 0.004
CUT_AFTER = 2
"""Of a stream: its pieces, the time between them, and how many a broken one has."""


class Billed(NamedTuple):
    """One generation.

    Attributes:
        user: Whom it was for.
        call: The call's id, "" where nobody says it; two may be asked for one.
        model: `provider/model`.
        pico_usd: What it costs.
        asked_ms: It was not admitted before.
        sent_ms: And not after, both by the clock of its environment.
        cut: Whether its answer was lost.
        arrived: When it was asked for, by our monotonic clock, in seconds.
    """

    user: str
    call: str
    model: str
    pico_usd: int
    asked_ms: int
    sent_ms: int
    cut: bool
    arrived: float


class BillingModel(ModelServer):
    """Converse over real HTTP; the server closes with the block.

    Attributes:
        ledger: All that was generated.
        refused: How many requests were not answered, nor billed.
        strangers: Models that were asked, and have no price.
    """

    def __init__(self, seed: int = 1, *, slow_seconds: float = 0.05) -> None:
        """Let chance, from this seed, decide lengths, failures and delays."""
        super().__init__(self._decide)
        self._server.RequestHandlerClass = _StreamingHandler
        self._chance = random.Random(seed)
        self._chance_lock = threading.Lock()
        self._slow_seconds = slow_seconds
        self.ledger: list[Billed] = []
        self.refused = 0
        self.strangers: list[str] = []

    def answer(
        self, path: str, body: dict[str, Any], headers: Mapping[str, str]
    ) -> dict[str, Any] | Failure:
        """Answer, and bill it before it is on its way."""
        arrived = time.monotonic()
        model = f"bedrock/{unquote(path.split('/')[2])}"
        if model not in PICO_USD:
            self.strangers.append(model)
            return Failure(404, "ResourceNotFoundException")
        with self._chance_lock:
            luck = self._chance.random()
            status = self._chance.choice([429, 500])
        if luck < REFUSED:
            self.refused += 1
            return Failure(status, "ThrottlingException" if status == 429 else "Internal")
        reply = super().answer(path, body, headers)
        assert isinstance(reply, dict), reply
        usage = reply["usage"]
        bound = body["inferenceConfig"]["maxTokens"]
        assert usage["outputTokens"] <= bound, "more than was allowed"
        cut = luck < REFUSED + BILLED_AND_CUT
        asked = json.loads(body["messages"][-1]["content"][0]["text"])
        of_input, of_output = PICO_USD[model]
        cost = usage["inputTokens"] * of_input + usage["outputTokens"] * of_output
        self.ledger.append(
            Billed(
                asked["user"], asked.get("call", ""), model, cost,
                asked["at"], _date_of(headers), cut, arrived,
            )
        )  # fmt: skip
        return Failure(0) if cut else reply

    def _decide(self, messages: list[dict[str, Any]]) -> Answer:
        asked = json.loads(messages[-1]["content"][0]["text"])
        with self._chance_lock:
            return Answer(
                "Yes.",
                input_tokens=self._chance.randint(20, 60),
                output_tokens=self._chance.randint(1, asked["most"]),
                delay_seconds=self._chance.uniform(0, self._slow_seconds),
            )


class _StreamingHandler(_Handler):
    """Answers `converse-stream` too: what `converse` would say, in pieces."""

    def do_POST(self) -> None:  # noqa: N802 - so the server calls it
        path, _, stream = self.path.rpartition("-")
        if stream != "stream":
            super().do_POST()
            return
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        reply = self.server.models.answer(path, body, dict(self.headers))
        if isinstance(reply, Failure) and reply.status:
            self._fail(reply)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.amazon.eventstream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._say("messageStart", {"role": "assistant"})
        for _ in range(CUT_AFTER if isinstance(reply, Failure) else PIECES):
            self._say("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Yes. "}})
            time.sleep(PIECE_SECONDS)
        if isinstance(reply, Failure):
            self.close_connection = True
            return
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


def _date_of(headers: Mapping[str, str]) -> int:
    """Return the end of the second in which a request was signed, by its sender's clock."""
    names = {name.lower(): value for name, value in headers.items()}
    signed = datetime.strptime(names["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    return round(signed.timestamp() * 1_000) + SECOND_MS - 1
