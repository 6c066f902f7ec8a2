"""Sessions as lines of JSON, one session a line, and as the earlier package has kept them."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from lambdallm_cli import calls_read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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


def append(file: BinaryIO, pages: Iterable[dict[str, Any]]) -> None:
    """Add a session to a file, page by page; where one cannot be had, the file is as it was.

    Args:
        file: Stands at its end.
        pages: Of the session's record; the first one has what stands beside the items.
    """
    begins = file.tell()
    try:
        separator = ""
        for number, page in enumerate(pages):
            record = page["record"]
            if number == 0:
                beside = {name: value for name, value in record.items() if name != "items"}
                file.write(f'{_compact(beside)[:-1]},"items":['.encode())
            for item in record["items"]:
                file.write(f"{separator}{_compact(item)}".encode())
                separator = ","
        file.write(b"]}\n")
        file.flush()
    except BaseException:
        file.seek(begins)
        file.truncate()
        raise


def lines_of(file: Iterable[bytes]) -> Iterator[Line]:
    """Read sessions from a file's lines."""
    for number, line in enumerate(file, start=1):
        place = f"line {number}"
        if number == 1 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            yield Line(place, {}, "The file is in UTF-16: an export is in UTF-8.")
            return
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            record = json.loads(text) if text else None
        except UnicodeDecodeError as error:
            yield Line(place, {}, f"It is no UTF-8: {error}")
            continue
        except (ValueError, RecursionError) as error:
            yield Line(place, {}, f"It is no JSON: {error}")
            continue
        if text:
            if isinstance(record, dict) and isinstance(record.get("session_id"), str):
                yield Line(place, record)
            else:
                yield Line(place, {}, "It names no session_id.")


def lines_of_legacy(table: str, region: str | None) -> Iterator[Line]:
    """Read sessions from a table of the earlier package.

    Shape of an item: {"session_id": "ada", "data": '{"messages": […], "metadata": {…}}',
    "expires_at": epoch seconds, "updated_at": …}
    """
    for item in calls_read.scan_table(table, region):
        session_id = str(next(iter(item.get("session_id", {}).values()), ""))
        try:
            record = _from_legacy(session_id, calls_read.plain_item(item))
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
            fault = f"Its data is not of the earlier package: {error!r}"
            yield Line(f"{session_id!r}", {}, fault)
        else:
            yield Line(f"{session_id!r}", record)


def _compact(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


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
