"""The real engine, asked as its server asks it, without a socket."""

from __future__ import annotations

import json
import time
from itertools import count
from typing import Any

from lambdallm_extension import engine as engines
from lambdallm_extension.settings import Settings, SystemClock, SystemRandom
from lambdallm_wire import codec, names, routes

DEADLINE = 4_102_444_800_000
"""The year 2100: nothing here waits for it."""

_numbers = count(1)


class Api:
    """The real engine, asked as the server asks it."""

    def __init__(self, **environ: str) -> None:
        self.lines: list[str] = []
        self._engine = engines.Engine(
            Settings.from_environ(
                {
                    "LAMBDALLM_STORE": "memory:",
                    "LAMBDALLM_MODEL": "scripted/demo",
                    "LAMBDALLM_SCRIPT": json.dumps(["Heard {last}."]),
                    "LAMBDALLM_TELEMETRY": "on",
                    **environ,
                }
            ),
            clock=SystemClock(),
            random=SystemRandom(),
            sleep=time.sleep,
            write_line=self.lines.append,
        )

    def ask(self, route: routes.Route, **message: Any) -> tuple[int, dict[str, Any]]:
        body = json.dumps(message).encode()
        status, reply = self._engine.handle(route.method, route.path, body, connection=1)
        return status, codec.decode(reply)

    def begin(self, session_id: str = "s", *, strategy: str = "full_history", **more: Any) -> str:
        work = f"work-{next(_numbers)}"
        rule = {
            "session_id": session_id, "identity": work, "ttl_seconds": 60,
            "memory": {"strategy": strategy, "max_messages": 20}, "durability": "before_response",
        }  # fmt: skip
        status, reply = self.ask(
            routes.BEGIN, wire_version=names.WIRE_VERSION, work_id=work, request_id=work,
            deadline_epoch_ms=DEADLINE, session=rule, **more,
        )  # fmt: skip
        assert status == 200, reply
        return work

    def stream(self, **message: Any) -> tuple[int, Any]:
        return self._engine.stream(routes.STREAM.path, json.dumps(message).encode(), connection=1)

    @property
    def store(self) -> Any:
        return self._engine.store()

    def finish(self, seconds: float) -> None:
        self._engine.finish(seconds)

    def disconnect(self) -> None:
        self._engine.disconnected(1)

    def close(self) -> None:
        self._engine.close()

    @property
    def reports(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines if line.startswith('{"')]
