"""What a subscriber of the Telemetry API saw in an emulator, in words that two can share."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from lambda_runtime_api.emulator import LogLine

SUBSCRIPTION = "platform.telemetrySubscription"
PROGRAMS = Path(__file__).with_name("programs")


class Told(NamedTuple):
    """What the program `subscriber` said at its end."""

    answers: dict[str, Any]
    """What came of its requests, by their names."""
    events: list[list[str | None]]
    """Events of the Extensions API: their types, and reasons."""
    batches: list[tuple[int, dict[str, str], list[dict[str, Any]]]]
    """Status that it answered with, headers, telemetry events."""

    @property
    def telemetry(self) -> list[dict[str, Any]]:
        """All telemetry events that were taken, in their order."""
        return [event for status, _, batch in self.batches if status == 200 for event in batch]

    def platform(self) -> list[tuple[str, Any]]:
        """Return platform events: the kinds, and records without what differs by nature.

        The subscription comes first, which is there as soon as the subscriber is.
        """
        names: dict[str, str] = {}
        events = [
            (event["type"], _plain(event["record"], names))
            for event in self.telemetry
            if event["type"].startswith("platform.")
        ]
        first = [event for event in events if event[0] == SUBSCRIPTION]
        return first + [event for event in events if event[0] != SUBSCRIPTION]

    def lines(self, kind: str) -> list[str]:
        """Return the lines that the function or the extension printed."""
        return [event["record"] for event in self.telemetry if event["type"] == kind]


def install(folder: Path) -> Path:
    """Make what stands in `/opt`: the subscriber alone."""
    (folder / "extensions").mkdir(parents=True)
    shutil.copy(PROGRAMS / "subscriber", folder / "extensions")
    return folder


def read(logs: list[LogLine]) -> Told:
    """Find what the subscriber said."""
    told = Told({}, [], [])
    for line in logs:
        if line.source != "extension" or not line.text.startswith('[["'):
            continue
        for what, value in json.loads(line.text):
            if what == "events":
                told.events.extend(value)
            elif what == "told":
                told.batches.append((value[0], value[1], value[2]))
            else:
                told.answers[what] = value
    return told


def _plain(value: Any, names: dict[str, str], name: str = "") -> Any:
    """Leave out what differs from run to run; keep which request is which."""
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if key != "tracing"}
        return {key: _plain(one, names, key) for key, one in kept.items()}
    if isinstance(value, list):
        return [_plain(one, names) for one in value]
    if name == "requestId":
        return names.setdefault(value, f"request {len(names) + 1}")
    if name in ("start", "instanceId"):
        return "text" if isinstance(value, str) else value
    return "number" if name == "durationMs" and not isinstance(value, str) else value
