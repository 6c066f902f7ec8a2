"""What a run of `faults.model_soak` has made and what the books say of it, held against each other.

The books are the records in the table (`CALL#…`) and the metric lines in the log.
"""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from faults.model_asks import BROKEN_OFF, MODELS, TEXT, WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MODELS_OWN = {
    "context": {"lambdallm.ModelInvocationError"},
    "openai": {
        "openai.RateLimitError",
        "openai.InternalServerError",
        "openai.APIError",
        "openai.APIConnectionError",
        "httpx2.RemoteProtocolError",
        "json.JSONDecodeError",
    },
    "anthropic": {
        "anthropic.RateLimitError",
        "anthropic.InternalServerError",
        "anthropic.OverloadedError",
        "anthropic.APIConnectionError",
        "httpx2.RemoteProtocolError",
        "json.JSONDecodeError",
    },
    "boto3": {
        "botocore.ThrottlingException",
        "botocore.ServiceUnavailableException",
        "botocore.InternalServerException",
        "botocore.ModelErrorException",
        "botocore.EventStreamError",
        "botocore.ChecksumMismatch",
        "botocore.ResponseStreamingError",
        "botocore.ConnectionClosedError",
        "urllib3.ProtocolError",
    },
}
"""What each client may raise of a model that fails: what it raises without us between."""

READ_OVER = "anthropic"
"""The client that passes over an event without a name, even where it is damaged.

Its answer is then whole, and its record says `MalformedReply`, with what had come by then.
"""

ENDED = ("settled", "failed", "unknown", "unmetered")
PICO = Decimal(10) ** 12


class Made(NamedTuple):
    """One call, as `faults.model_function` tells it."""

    ask: str
    requests: int
    outcome: str
    text: str
    output_tokens: int

    @property
    def whole(self) -> bool:
        """Whether the client got all of the answer, its usage included."""
        if self.outcome != WHOLE:
            return False
        return "embed" in self.ask or bool(self.output_tokens)

    @property
    def broken_off(self) -> bool:
        """Whether the client has left in the middle of it."""
        return self.outcome == BROKEN_OFF

    def problem(self, *, whole: bool) -> str:
        """Say what is wrong with it, "" if nothing is.

        Args:
            whole: Whether no model has failed.
        """
        client = self.ask.partition(" ")[0].partition(".")[0]
        if self.outcome not in (WHOLE, BROKEN_OFF):
            if not whole and self.outcome in MODELS_OWN[client]:
                return ""
            return f"{self.ask}: {self.outcome}: {self.text}"
        if self.broken_off:
            return ""
        if not self.whole and (whole or client == "context"):
            return f"{self.ask}: no usage, after {self.text!r}"
        of_llmock = (
            "boto3" not in self.ask and "Bedrock" not in self.ask and "embed" not in self.ask
        )
        if of_llmock and (self.text != TEXT if self.whole else not TEXT.startswith(self.text)):
            return f"{self.ask}: {self.text!r}"
        return ""


class Books(NamedTuple):
    """The records, and the totals of all metric lines."""

    records: list[dict[str, Any]]
    reported: Counter[str]
    reported_usd: Decimal

    @classmethod
    def read(cls, url: str, table: str, lines: Iterable[str] = ()) -> Books:
        """Read a table and a log."""
        totals: Counter[str] = Counter()
        usd = Decimal(0)
        for line in lines:
            if '"_aws"' not in line:
                continue
            metrics = json.loads(line, parse_float=Decimal)
            usd += Decimal(metrics.get("CostUSD", 0))
            for name in ("Calls", "InputTokens", "OutputTokens", "UnpricedCalls", "Errors"):
                totals[name] += int(metrics.get(name, 0))
            totals["RecordsDropped"] += int(metrics.get("RecordsDropped", 0))
        return cls(_records(url, table), totals, usd)

    def open_calls(self) -> int:
        """Count the calls that have not ended."""
        return sum(record["state"] not in ENDED for record in self.records)

    def describe(self) -> Iterator[str]:
        """Say what they hold, in lines."""
        states = Counter(record["state"] for record in self.records)
        errors = Counter(record["error"] for record in self.records if record.get("error"))
        estimated = sum(bool(record.get("estimated")) for record in self.records)
        unattributed = sum(not record["work"] for record in self.records)
        yield f"records: {len(self.records):,}, {dict(states.most_common())}"
        yield f"  {estimated:,} estimated, {unattributed:,} without a unit of work"
        yield f"  errors: {dict(errors.most_common())}"
        yield f"reported: {dict(self.reported)}, {self.reported_usd} USD"


def differences(made: list[Made], books: Books, seen: int) -> Iterator[str]:
    """Say where what was done, what was recorded and what was reported differ."""
    records = books.records
    if books.open_calls():
        yield f"{books.open_calls()} records have no end."
    by_model = Counter(record["model"].partition("/")[2] for record in records)
    requests: Counter[str] = Counter()
    wholes: Counter[str] = Counter()
    for each in made:
        requests[each.ask] += each.requests
        wholes[each.ask] += each.whole
    for ask, model in MODELS.items():
        name = model.partition("/")[2] or model
        if by_model[name] != requests[ask]:
            yield f"{ask}: {requests[ask]:,} requests, {by_model[name]:,} records"
        settled = [each for each in records if each["model"].endswith(f"/{name}")]
        ends = Counter(each.get("error", "") for each in settled if each["state"] == "settled")
        most = ends[""] + (ends["MalformedReply"] if ask.startswith(READ_OVER) else 0)
        if "broken" not in ask and not ends[""] <= wholes[ask] <= most:
            yield f"{ask}: {wholes[ask]:,} whole answers, {ends['']:,} records of whole answers"
    attempts = sum(record["attempts"] for record in records)
    if seen > attempts:
        yield f"The models were asked {seen:,} times, and {attempts:,} are recorded."
    yield from _differences_of_totals(books)


def _differences_of_totals(books: Books) -> Iterator[str]:
    settled = [record for record in books.records if record["state"] == "settled"]
    lost = sum(record["state"] == "unknown" for record in books.records)
    inputs = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h")
    recorded = {
        "Calls": len(settled) + lost,
        "InputTokens": sum(each[f"{kind}_tokens"] for each in settled for kind in inputs),
        "OutputTokens": sum(each["output_tokens"] for each in settled),
        "UnpricedCalls": sum(each.get("cost_pico_usd") is None for each in settled) + lost,
        "RecordsDropped": 0,
    }
    for name, number in recorded.items():
        if books.reported[name] != number:
            yield f"{name}: {number:,} recorded, {books.reported[name]:,} reported"
    usd = sum(each.get("cost_pico_usd") or 0 for each in settled) / PICO
    if usd != books.reported_usd:
        yield f"Cost: {usd} USD recorded, {books.reported_usd} USD reported"


def _records(url: str, table: str) -> list[dict[str, Any]]:
    import boto3

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client("dynamodb", endpoint_url=url, region_name="us-east-1", **keys)
    found: list[dict[str, Any]] = []
    for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        found += [_plain(item) for item in page["Items"] if item["sk"]["S"] == "CALL"]
    client.close()
    return found


def _plain(item: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return an item's values; its numbers are all whole."""
    plain: dict[str, Any] = {}
    for name, typed in item.items():
        ((kind, value),) = typed.items()
        plain[name] = int(value) if kind == "N" else None if kind == "NULL" else value
    return plain
