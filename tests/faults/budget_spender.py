"""One environment that spends as fast as it may: the real engine in a process of its own.

    python -m faults.budget_spender '{"jumps": [[real_ms, wall_ms], …], "threads": 8, …}'

Its clock is the machine's, moved: at each instant `real_ms` it jumps to `wall_ms`. SIGTERM ends it
as an environment ends; then it prints what it has done. Whatever else ends it leaves nothing.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from typing import Any
from uuid import uuid4

from lambdallm_extension import engine as engines
from lambdallm_extension.errors import ExtensionError
from lambdallm_extension.settings import Settings, SystemClock, SystemRandom
from lambdallm_wire import codec, names, routes

DEADLINE_MS = 4_102_444_800_000
"""The year 2100, which no jump reaches."""

CALLS_OF_AN_INVOCATION = 12

PERSIST_SECONDS = 5.0

STREAMED, LEFT, STRANGE = 0.3, 0.3, 0.05
"""Parts: of calls that are streams; of these, that are left after a piece; and of calls that ask a
model whose price nobody knows."""

STRANGER = "bedrock/nobody.knows-v1:0"


class MovedClock(SystemClock):
    """`ports.Clock` whose wall clock jumps."""

    def __init__(self, jumps: list[list[int]]) -> None:
        self._jumps = jumps

    def epoch_ms(self) -> int:
        real = super().epoch_ms()
        moved = real
        for at, wall in self._jumps:
            if real >= at:
                moved = wall + real - at
        return moved


class Spender:
    """An environment and its threads."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._clock = MovedClock(told["jumps"])
        self._chance = random.Random(told["seed"])
        self._users: list[str] = told["users"]
        self._most: int = told["most_tokens"]
        self._engine = engines.Engine(
            Settings.from_environ(dict(os.environ)),
            clock=self._clock,
            random=SystemRandom(),
            sleep=time.sleep,
            write_line=lambda _: None,
        )
        self._engine.serve()
        self._ends = threading.Event()
        self.done: Counter[str] = Counter()

    def end(self, *_: object) -> None:
        self._ends.set()

    def run(self, threads: int) -> None:
        """Spend until the end is asked for; then let go of everything as an environment does."""
        while not self._ends.is_set():
            self._invoke(threads)
            if not self._engine.wait_persisted(PERSIST_SECONDS):
                self.done["not persisted at once"] += 1
        self._engine.finish(PERSIST_SECONDS)

    def _invoke(self, threads: int) -> None:
        work = uuid4().hex
        user = self._chance.choice(self._users)
        session = {
            "session_id": f"talk-{user}", "identity": work, "ttl_seconds": 3_600,
            "memory": {"strategy": "full_history"}, "durability": "after_response",
        }  # fmt: skip
        self._ask(
            routes.BEGIN, wire_version=names.WIRE_VERSION, work_id=work, request_id=work,
            deadline_epoch_ms=DEADLINE_MS, session=session,
        )  # fmt: skip
        self._ask(routes.TAG, work_id=work, tags={"person": user, "user": user})
        each = max(1, CALLS_OF_AN_INVOCATION // threads)
        running = [
            threading.Thread(target=self._call, args=(work, user, each)) for _ in range(threads)
        ]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        self._ask(routes.END, work_id=work, outcome="ok", handler_ms=1.0)

    def _call(self, work: str, user: str, times: int) -> None:
        for _ in range(times):
            if self._ends.is_set():
                return
            call, at = uuid4().hex, self._clock.epoch_ms()
            text = json.dumps({"user": user, "at": at, "most": self._most, "call": call})
            strange = self._chance.random() < STRANGE
            message = {
                "work_id": work, "call_id": call, "max_tokens": self._most, "max_retries": 2,
                "model": STRANGER if strange else os.environ["LAMBDALLM_MODEL"],
                "messages": [{"role": "user", "content": text}],
            }  # fmt: skip
            kind = (
                self._read(message)
                if self._chance.random() < STREAMED
                else self._kind(*self._ask(routes.CHAT, **message))
            )
            self.done[f"{kind}, of an unknown price" if strange else kind] += 1
            if kind == "budget_exceeded" and not strange:
                time.sleep(0.05)  # as whoever was refused waits a little before the next try

    def _read(self, message: dict[str, Any]) -> str:
        """Read a stream to its end, or leave it in its middle."""
        status, body = self._engine.stream(
            routes.STREAM.path, json.dumps(message).encode(), connection=1
        )
        leaves = self._chance.random() < LEFT
        try:
            piece = body.read()
            if status != 200:
                return self._kind(status, codec.decode(piece))
            while piece and not leaves:
                piece = body.read()
        except ExtensionError:
            return "a stream that was cut"
        finally:
            body.close()
        return "a stream that was left" if leaves else "streamed"

    @staticmethod
    def _kind(status: int, said: dict[str, Any]) -> str:
        return "answered" if status == 200 else str(said.get("code"))

    def _ask(self, route: routes.Route, **message: Any) -> tuple[int, dict[str, Any]]:
        body = json.dumps(message).encode()
        status, reply = self._engine.handle(route.method, route.path, body, connection=1)
        return status, codec.decode(reply)


def main() -> None:
    told = json.loads(sys.argv[1])
    spender = Spender(told)
    signal.signal(signal.SIGTERM, spender.end)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    spender.run(told["threads"])
    sys.stdout.write(json.dumps(spender.done))


if __name__ == "__main__":
    main()
