"""The engine behind its real server, for real clients, and what it has written down."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import anthropic
import boto3
import openai
from botocore.config import Config

from lambdallm_extension import engine as engines
from lambdallm_extension.server.http import Server, listen
from lambdallm_extension.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-of-the-function"
CLIENT_KEY = "lambdallm-client-key"
WAIT_SECONDS = 5


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


class Gateway:
    """An engine behind the real server, and what it has written down."""

    def __init__(self, folder: Path, **variables: str) -> None:
        environ = {
            "AWS_ACCESS_KEY_ID": "ASIATEST",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_SESSION_TOKEN": "session",
            "AWS_REGION": "us-east-1",
            "LAMBDALLM_STORE": f"sqlite:///{folder}/calls.db",
            "LAMBDALLM_TELEMETRY": "off",
            "OPENAI_API_KEY": KEY,
            "ANTHROPIC_API_KEY": KEY,
            **variables,
        }
        self._calls = folder / "calls.db"
        self.engine = engines.build(Settings.from_environ(environ))
        self.logged: list[str] = []
        self._clients: list[Any] = []
        listener = listen(0)
        self._server = Server(listener, "token", self.engine, self.logged.append)
        self.engine.admit_clients(CLIENT_KEY, self._server.tokens)
        self._server.start()
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def openai(self, **options: Any) -> openai.OpenAI:
        url = f"{self.url}/openai/v1"
        return self.keep(openai.OpenAI(base_url=url, api_key=KEY, **options))

    def anthropic(self, **options: Any) -> anthropic.Anthropic:
        url = f"{self.url}/anthropic"
        return self.keep(anthropic.Anthropic(base_url=url, api_key=KEY, **options))

    def bedrock(self, url: str = "") -> Any:
        """Make a client of ours, or one of a server's own URL."""
        client = boto3.client(
            "bedrock-runtime",
            endpoint_url=url or f"{self.url}/bedrock",
            region_name="us-east-1",
            aws_access_key_id="ASIATEST",
            aws_secret_access_key="secret",
            aws_session_token="session",
            config=Config(retries={"total_max_attempts": 1}),
        )
        return self.keep(client)

    def keep(self, client: Any) -> Any:
        """Close a client when the engine is closed."""
        self._clients.append(client)
        return client

    def records(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many calls have ended, and return their records, oldest first."""
        until = time.monotonic() + WAIT_SECONDS
        while True:
            ended = [item for item in self._items() if item["state"] != "intent"]
            if len(ended) >= count or time.monotonic() > until:
                return sorted(ended, key=lambda item: item["at"])
            time.sleep(0.01)

    def _items(self) -> list[dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(self._calls)) as calls:
            try:
                rows = calls.execute("SELECT attributes FROM items WHERE pk LIKE 'CALL#%'")
            except sqlite3.OperationalError:  # nothing was written yet
                return []
            return [json.loads(attributes) for (attributes,) in rows]

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._server.close()
        self.engine.close()


def tokens(record: dict[str, Any]) -> tuple[int, int]:
    """Return what went in, cached or not, and what came out."""
    kinds = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h")
    return sum(record[f"{kind}_tokens"] for kind in kinds), record["output_tokens"]
