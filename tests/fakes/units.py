"""Units of work of the SDK, as a handler would begin them."""

from typing import Any

from lambdallm import _settings
from lambdallm._work import Work

FAR_MS = 60_000


def make_work(name: str = "work") -> Work:
    return Work(name, name, _settings.epoch_ms() + FAR_MS)


def with_session(name: str = "e") -> Work:
    rule: Any = {
        "session_id": "s", "identity": name, "ttl_seconds": 60, "durability": "before_response",
        "memory": {"strategy": "sliding_window", "max_messages": 20},
    }  # fmt: skip
    work = Work(name, name, _settings.epoch_ms() + 10_000)
    work.begin(rule)
    return work
