"""A proxy before a DynamoDB-compatible server that counts what its clients would pay for.

Units are worked out from the items, as DynamoDB does it, because servers made for tests do not:
a write unit is 1 KiB of the whole item, twice in a transaction; a consistent read unit 4 KiB.

Source: DynamoDB developer guide, "Read and write operations" and "Item sizes and formats", 2026-10.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WRITE_USD, READ_USD = 0.625e-6, 0.125e-6
"""Of one request unit, on demand.

Source: aws.amazon.com/dynamodb/pricing/on-demand, us-east-1, Standard table class, 2026-11.
"""

OK = 200

WRITES = ("PutItem", "UpdateItem", "TransactWriteItems", "BatchWriteItem", "DeleteItem")


class Meter:
    """Counts while it serves."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.lock = threading.Lock()
        self.turns: list[dict[str, int]] = []
        self.reset()

    def reset(self) -> None:
        """Start again at nothing."""
        self.requests = self.bytes_written = self.read_units = self.write_units = 0
        self.written: list[int] = []
        self.asked: Counter[str] = Counter()

    def refuse(self, operation: str, request: dict[str, Any], reply: dict[str, Any]) -> None:
        """Count a request that was refused: a condition that does not hold costs the write.

        Source: DynamoDB developer guide, "Condition expressions", 2026-10.
        """
        kind = str(reply.get("__type", "")).rpartition("#")[2]
        with self.lock:
            self.requests += 1
            self.asked[operation] += 1
            if kind in ("ConditionalCheckFailedException", "TransactionCanceledException"):
                before = self.bytes_written
                self._write(operation, request)
                self.bytes_written = before

    def take(self, operation: str, request: dict[str, Any], reply: dict[str, Any]) -> None:
        """Count one request."""
        with self.lock:
            self.requests += 1
            self.asked[operation] += 1
            if operation in WRITES:
                self._write(operation, request)
            elif operation == "BatchGetItem":
                tables = reply.get("Responses", {}).values()
                self.read_units += sum(_units(size_of(i), 4_096) for t in tables for i in t)
            else:
                items = reply.get("Items") or [reply.get("Item") or {}]
                units = _units(sum(map(size_of, items)), 4_096)
                self.read_units += units if request.get("ConsistentRead") else (units + 1) // 2

    def _write(self, operation: str, request: dict[str, Any]) -> None:
        times = 2 if operation == "TransactWriteItems" else 1
        for kind, action in _actions(operation, request):
            if kind == "ConditionCheck":
                self.write_units += times
                continue
            size = size_of(action["Item"]) if "Item" in action else self._size_now(action)
            self.bytes_written += size
            self.write_units += times * _units(size, 1_024)

    def _size_now(self, action: dict[str, Any]) -> int:
        """Return the size of an item that was updated."""
        key = {"TableName": action["TableName"], "Key": action["Key"]}
        found = self.forward("DynamoDB_20120810.GetItem", json.dumps(key).encode(), {})[1]
        return size_of(json.loads(found).get("Item") or action["Key"])

    def forward(self, target: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Ask the server."""
        request = urllib.request.Request(  # noqa: S310 - our own server
            self.upstream, body,
            {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.0",
             "Authorization": headers.get("Authorization", _SIGNED)},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - the same
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


_SIGNED = (
    "AWS4-HMAC-SHA256 Credential=test/20261121/us-east-1/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=0"
)


def serve(meter: Meter) -> ThreadingHTTPServer:
    """Serve on a free port of 127.0.0.1, in threads, until `shutdown`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            target = self.headers["X-Amz-Target"]
            status, reply = meter.forward(target, body, dict(self.headers))
            count = meter.take if status == OK else meter.refuse
            count(target.rpartition(".")[2], json.loads(body), json.loads(reply))
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def size_of(item: dict[str, Any]) -> int:
    """Return the size of an item in bytes."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: dict[str, Any]) -> int:
    ((kind, held),) = value.items()
    if kind == "S":
        return len(held.encode())
    if kind == "N":
        return (len(held.strip("-").replace(".", "")) + 1) // 2 + 1
    if kind == "B":
        return len(held) * 3 // 4
    if kind == "M":
        return 3 + sum(len(name.encode()) + _size(each) + 1 for name, each in held.items())
    if kind == "L":
        return 3 + sum(_size(each) + 1 for each in held)
    return 1 if kind in ("BOOL", "NULL") else sum(len(str(each)) for each in held)


def _units(size: int, unit: int) -> int:
    return max(1, -(-size // unit))


def _actions(operation: str, request: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    if operation == "TransactWriteItems":
        return [pair for action in request["TransactItems"] for pair in action.items()]
    if operation == "BatchWriteItem":
        return [
            ("Put", action.get("PutRequest") or {"Item": action["DeleteRequest"]["Key"]})
            for actions in request["RequestItems"].values()
            for action in actions
        ]
    return [(operation, request)]
