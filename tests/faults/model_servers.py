"""Models of others that fail, for `faults.model_soak`: llmock's APIs, and Bedrock by ministack.

environment ──► relay ──► llmock                     OpenAI's and Anthropic's APIs
└──► relay ──► microburst ──► ministack     Bedrock's
"""

from __future__ import annotations

import json
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from llmock.chaos import StreamChaos
from llmock.journal import Journal
from llmock.scenarios import Reply
from llmock.testing import LLMockServer

from fakes.microburst import Microburst, serve_microburst
from fakes.ministack import serve_ministack
from faults.model_asks import TEXT
from lambda_runtime_api.emulator.network import Relay

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

CHUNK_DELAY_MS = 4
"""A stream then takes a third of a second: whoever breaks it off leaves something to be read."""

STALL_SECONDS = 4.0
"""Longer than the gateway waits here (`resilience.stall_seconds`)."""

REQUESTS_MAX = 10_000_000
"""Remembered by llmock, which would count no further than 10,000."""

ERROR_RATES = {429: 0.03, 529: 0.01, 500: 0.01}
STREAM_FAULT_RATES = (
    ("disconnect", 0.015),
    ("truncate", 0.015),
    ("stall", 0.01),
    ("malformed", 0.01),
)
"""With the errors: one stream in ten fails."""

BEDROCK_FAULTS: tuple[dict[str, Any], ...] = (
    {"probability": 0.03, "error": {"code": "ThrottlingException", "status": 429}},
    {"probability": 0.01, "error": {"code": "ServiceUnavailableException", "status": 503}},
    {"probability": 0.01, "error": {"code": "InternalServerException", "status": 500}},
    {"probability": 0.01, "reset": True},
    {
        "probability": 0.01,
        "response": {"event_error": {"code": "modelStreamErrorException", "after_frames": 3}},
    },
    {"probability": 0.01, "response": {"event_frames": [{"at": 3, "bad_crc": True}]}},
    {"probability": 0.01, "response": {"event_frames": [{"at": 3, "cut": 0.5}]}},
    {"probability": 0.01, "response": {"abort_frac": 0.5}},
)


class Models:
    """The servers, and the ways to them."""

    def __init__(self, folder: Path) -> None:
        """Start them, without faults.

        Args:
            folder: For their logs.
        """
        with ExitStack() as stack:
            self._llmock = stack.enter_context(LLMockServer())
            self._llmock.state.journal = Journal(capacity=REQUESTS_MAX)
            self._llmock.state.scenarios.add(Reply(text=TEXT, times=None))
            (folder / "ministack").mkdir()
            ministack = stack.enter_context(serve_ministack(folder / "ministack"))
            self._burst: Microburst = stack.enter_context(serve_microburst(folder, ministack))
            self.keyed = stack.enter_context(Relay(self._llmock.url))
            self.bedrock = stack.enter_context(Relay(self._burst.url))
            self._stack = stack.pop_all()
        self.work()

    def __enter__(self) -> Models:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def variables(self) -> dict[str, str]:
        """What a function is told of them."""
        return {
            "OPENAI_BASE_URL": f"{self.keyed.url}/v1",
            "OPENAI_API_KEY": "sk-of-the-environment",
            "ANTHROPIC_BASE_URL": f"{self.keyed.url}/anthropic",
            "ANTHROPIC_API_KEY": "sk-ant-of-the-environment",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": self.bedrock.url,
        }

    def fail(self) -> None:
        """Let one request in ten fail, from now on."""
        state = self._llmock.state
        state.chaos.error_rates = ERROR_RATES
        state.stream_chaos = StreamChaos(STREAM_FAULT_RATES, STALL_SECONDS, CHUNK_DELAY_MS)
        self._burst.rules(*BEDROCK_FAULTS)

    def work(self) -> None:
        """Let none fail, from now on."""
        state = self._llmock.state
        state.chaos.error_rates = {}
        state.stream_chaos = StreamChaos(chunk_delay_ms=CHUNK_DELAY_MS)
        self._burst.rules()

    def cut(self) -> None:
        """Reset every connection to them; new ones work."""
        self.keyed.cut()
        self.bedrock.cut()

    @property
    def seen(self) -> int:
        """How many requests have reached them."""
        with urllib.request.urlopen(f"{self._burst.url}/_microburst/stats", timeout=10) as reply:
            return len(self._llmock.state.journal) + json.load(reply)["requests"]["total"]
