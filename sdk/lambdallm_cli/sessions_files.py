"""Sessions as lines of JSON, one session a line, and as the earlier package has kept them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from lambdallm_cli import calls_read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORD_VERSION = 1
"""Of `lambdallm_session` in a line."""


class Line(NamedTuple):
    """One session to put in, and where it stands; or why that is none."""

    place: str
    record: dict[str, Any]
    fault: str = ""


def written_before(path: Path) -> set[tuple[str, str]]:
    """Return ids and owners of the sessions in a file, and cut off a last line without an end."""
    done: set[tuple[str, str]] = set()
    whole = 0
    with path.open("rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                record = json.loads(line)
                done.add((record["session_id"], record["owner"]))
            except (ValueError, KeyError, TypeError):
                message = f"{path} is not a file of exported sessions: --overwrite begins it anew."
                raise calls_read.UsageError(message) from None
            whole += len(line)
        file.truncate(whole)
    return done


def part_of(path: Path) -> Path:
    """Return where an export is written until it is whole: what stands in its place stays."""
    return path.with_name(f"{path.name}.part")


def begin(path: Path) -> None:
    """Make a file empty, for its owner alone."""
    path.touch(mode=0o600)
    path.write_text("", encoding="utf-8")


def append(path: Path, record: dict[str, Any]) -> None:
    """Add a session to a file, whole before this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write(to_line(record))
        file.flush()
        os.fsync(file.fileno())


def to_line(record: dict[str, Any]) -> str:
    """Write a session as one line."""
    return json.dumps(record, ensure_ascii=True, separators=(",", ":")) + "\n"


def lines_of(path: Path) -> Iterator[Line]:
    """Read sessions from a file."""
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, start=1):
            if not text.strip():
                continue
            place = f"line {number}"
            try:
                record = json.loads(text)
            except ValueError as error:
                yield Line(place, {}, f"It is no JSON: {error}")
                continue
            fine = isinstance(record, dict) and isinstance(record.get("session_id"), str)
            yield Line(place, record if fine else {}, "" if fine else "It names no session_id.")


def lines_of_legacy(table: str, region: str | None) -> Iterator[Line]:
    """Read sessions from a table of the earlier package.

    Shape of an item: {"session_id": "ada", "data": '{"messages": […], "metadata": {…}}',
    "expires_at": epoch seconds, "updated_at": …}
    """
    for item in calls_read.scan_table(table, region):
        session_id = str(item.get("session_id", ""))
        try:
            yield Line(f"{session_id!r}", _from_legacy(session_id, item))
        except (ValueError, TypeError, KeyError) as error:
            yield Line(f"{session_id!r}", {}, f"Its data is not of the earlier package: {error!r}")


def _from_legacy(session_id: str, item: dict[str, Any]) -> dict[str, Any]:
    text = item["data"]
    kept = json.loads(text) if isinstance(text, str) else text
    messages = kept if isinstance(kept, list) else kept["messages"]
    return {
        "lambdallm_session": RECORD_VERSION,
        "session_id": session_id,
        "owner": "",
        "expires_at": int(item["expires_at"]),
        "messages": [_message(message) for message in messages],
        "metadata": {} if isinstance(kept, list) else kept.get("metadata") or {},
    }


def _message(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "role": message["role"],
        "content": message["content"],
        "metadata": message.get("metadata") or {},
        "at_epoch_ms": round(float(message.get("timestamp") or 0) * 1_000),
    }
