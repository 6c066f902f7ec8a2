"""The function with lambdallm: one turn, and how long each part of it took."""

import os
import time

_import_started = time.perf_counter(), time.process_time()
import lambdallm  # noqa: E402 - it is what is measured

_names = lambdallm.handler, lambdallm.Session  # the public names load their modules lazily
IMPORT_WALL, IMPORT_CPU = (
    now - then
    for now, then in zip((time.perf_counter(), time.process_time()), _import_started, strict=True)
)

NOTE = {}


def sidecar_cpu():
    """Return the CPU seconds that the sidecar has used; the pid comes with the event."""
    pid = NOTE.get("sidecar")
    return time.clock_gettime(~pid << 3 | 2) if pid else 0.0


def now():
    """Return wall clock, our CPU and the sidecar's, in seconds."""
    return time.perf_counter(), time.process_time(), sidecar_cpu()


def _turn(event, context):
    count = len(context.session.messages)
    NOTE["read"] = now()
    if event.get("save"):
        context.session.add_message("user", "What was asked this time, in a few words?")
        NOTE["asked"] = now()
        burn(event.get("burn_ms", 0))
        NOTE["said"] = now()
        context.session.add_message("assistant", "What was answered this time, in a few words.")
    return count


_SESSION = {"session_id": "bench", "ttl_hours": 24}
_HANDLERS = {
    durability: lambdallm.handler(session=lambdallm.Session(durability=durability, **_SESSION))(
        _turn
    )
    for durability in ("before_response", "after_response")
}


def burn(milliseconds):
    """Use CPU, as a handler does with its own work."""
    until = time.process_time() + milliseconds / 1_000
    while time.process_time() < until:
        pass


class Context:
    """Lambda's context for a unit of work of its own inside one invocation."""

    def __init__(self, context, number):
        self.aws_request_id = f"{context.aws_request_id}-{number}"
        self.get_remaining_time_in_millis = context.get_remaining_time_in_millis
        for name in ("function_name", "function_version", "memory_limit_in_mb"):
            setattr(self, name, getattr(context, name))


def one(event, context):
    """Run one unit of work; return what was seen of it, in seconds."""
    durability = event.get("durability", "before_response")
    started = now()
    count = _HANDLERS[durability](event, context)
    ended = now()
    read, asked, said = NOTE["read"], NOTE.get("asked", ended), NOTE.get("said", ended)
    return {
        "count": count,
        "read": [b - a for a, b in zip(started, read, strict=True)],
        "ask": [b - a for a, b in zip(read, asked, strict=True)],
        "save": [b - a for a, b in zip(said, ended, strict=True)],
        "all": [b - a for a, b in zip(started, ended, strict=True)],
    }


def handler(event, context):
    """Run `count` units of work with a gap between them; the first is Lambda's own invocation."""
    NOTE["sidecar"] = event.get("sidecar")
    seen = []
    for number in range(event.get("count", 1)):
        if number and event.get("gap_ms"):
            time.sleep(event["gap_ms"] / 1_000)
        seen.append(one(event, Context(context, number) if number else context))
    return {
        "import": [IMPORT_WALL, IMPORT_CPU],
        "from": os.path.dirname(lambdallm.__file__),  # noqa: PTH120 - no import that is not needed
        "seen": seen,
    }
