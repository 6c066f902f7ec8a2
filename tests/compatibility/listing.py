"""Which names of the earlier package are there: looked up, and written to docs/compatibility.md.

Run `python tests/compatibility/listing.py` to write the page anew; a test holds it up to date.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NAMES = ROOT / "tests" / "data" / "earlier_names.json"
PAGE = ROOT / "docs" / "compatibility.md"

# ruff: noqa: E501 - rows of a table

HEAD = """\
# Compatibility with the earlier package

Code written for `lambdallm` 2.x runs on this one as far as the names below are there. This page
is generated from the earlier package's public names (`tests/data/earlier_names.json`) by
`python tests/compatibility/listing.py`; a test fails when it is out of date.

## What is different on purpose

| Then | Now | Why |
| --- | --- | --- |
| Every failure became a 500 | Failures of HTTP and WebSocket events get a status; those of all others are raised | Queues, DLQs, alarms and direct callers see the failure |
| A failed invocation answered 200 or 500 with `{"error": …}` | `application/problem+json`; `error` is still in it | Programs look at `code` |
| `context.session` was `None` | The session, loaded and saved | |
| The whole session was rewritten, and a failed read looked like a new one | Turns are added; a failed read is an error | Nothing is lost or erased |
| `Session.load` of an unknown id kept the last user's messages | It is empty | No user sees another's words |
| A region was fixed in the code | `AWS_REGION` | |
| `temperature` and `top_p` were always sent | Only when given | Current models refuse them |
| An event's JSON body was text | It is decoded; `json.loads(event["body"])` still works | |
| `max_retries` counted attempts | It counts further attempts | |
| Every value without `statusCode` became the body of a 200 | The same for HTTP, WebSocket and direct events (`{"session_id": …}`, a Step Functions task); events of AWS's services get the value as it is | They read batch responses, policies and the like |
| `timeout_buffer` was kept whole | In Lambda at most a quarter of the time there is | With Lambda's default of 3 s no call would be made |
"""


def names() -> dict[str, dict[str, dict[str, list[str]]]]:
    """Return the earlier names: module, name, members and parameters."""
    loaded: dict[str, dict[str, dict[str, list[str]]]] = json.loads(NAMES.read_text())
    return loaded


def find(module: str, name: str) -> Any:
    """Return what stands under a name, None when there is nothing."""
    try:
        return getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError:
        return None


def missing_members(found: Any, members: list[str]) -> list[str]:
    """Return which of a class's earlier members it lacks."""
    return [member for member in members if not hasattr(found, member)]


def render() -> str:
    """Return the page."""
    there: list[str] = []
    absent: list[str] = []
    for module, entries in names().items():
        present = []
        lacking = []
        for name, facts in entries.items():
            found = find(module, name)
            if found is None:
                lacking.append(f"`{name}`")
                continue
            gone = missing_members(found, facts["members"])
            note = f" (without {', '.join(f'`{member}`' for member in gone)})" if gone else ""
            present.append(f"`{name}`{note}")
        if present:
            there.append(f"| `{module}` | {', '.join(present)} |")
        if lacking:
            absent.append(f"| `{module}` | {', '.join(lacking)} |")
    table = ["| Module | Names |", "| --- | --- |"]
    return "\n".join(
        [HEAD, "## There", "", *table, *there, "", "## Not yet there", "", *table, *absent, ""]
    )


def main() -> None:
    """Write the page."""
    PAGE.write_text(render())
    sys.stdout.write(f"{PAGE} is written.\n")


if __name__ == "__main__":
    main()
