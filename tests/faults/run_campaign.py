"""Many runs of one chain in a few environments whose processes are killed at random moments.

A run's event is delivered until it is answered, as a queue or a client does it: at once after a
kill, or when the answer says (`retry-after`). After each delivery the table is read: what is
finished there must never be done again.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from e2e.chain_function import post, stored_steps
from faults.processes import sidecar_pid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2e.conftest import Service

KINDS = ("runtime", "sidecar", "both", "timeout")
"""What is killed: a stopped runtime is one that Lambda's timeout ends."""

WEIGHTS = (4, 2, 1, 1)
WEIGHTS_AFTER_BOTH = (4, 2, 0, 1)
"""Where nobody has let go of a run, its lease is waited for: once is enough."""

WINDOW_SECONDS = 0.9
"""A delivery that nobody disturbs takes so long, with the start of its environment."""

KILLS_MAX = 3
"""Of one run: what finishes no step five times in a row is stopped, which is another promise."""

TWICE = 0.05
"""Part of the deliveries that come twice at once."""

DELIVERIES_MAX = 40
"""Of one run, before we give up."""

ERROR_PAUSE_SECONDS = 0.05


class Seen(NamedTuple):
    """The finished steps of a run as the table held them at a moment (monotonic seconds)."""

    run: str
    at: float
    steps: frozenset[str]


class Kill(NamedTuple):
    """What was killed while a run was delivered, and when."""

    run: str
    kind: str
    at: float


class Delivery(NamedTuple):
    """An event that is due: when, and how often it has come before."""

    due: float
    run: str
    number: int


class Campaign:
    """Delivers runs to environments until all are answered.

    Attributes:
        answers: What came of each run.
        kills: All that were made.
        seen: What the table held, after each delivery.
        deliveries: How many there were.
    """

    def __init__(self, environments: Sequence[Any], dynamodb: Service, *, seed: int) -> None:
        """Take environments that are running."""
        self._environments = environments
        self._dynamodb = dynamodb
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._queue: list[Delivery] = []
        self._open: set[str] = set()
        self.answers: dict[str, str] = {}
        self.kills: list[Kill] = []
        self.seen: list[Seen] = []
        self.deliveries = 0
        self.faults: list[str] = []

    def deliver(self, runs: Sequence[str]) -> Campaign:
        """Deliver them all until each is answered."""
        now = time.monotonic()
        self._queue = [Delivery(now, run, 1) for run in runs]
        self._open = {*runs}
        threads = [threading.Thread(target=self._work, args=(each,)) for each in self._environments]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self

    def _work(self, environment: Any) -> None:
        try:
            while self._open and not self.faults:
                delivery = self._take()
                if delivery is None:
                    time.sleep(0.02)
                else:
                    self._deliver(environment, delivery)
        except BaseException as error:
            self.faults.append(repr(error))
            raise

    def _take(self) -> Delivery | None:
        with self._lock:
            self._queue.sort()
            if not self._queue or self._queue[0].due > time.monotonic():
                return None
            delivery = self._queue.pop(0)
            if self._chance.random() < TWICE:  # to another environment, at once
                self._queue.append(delivery)
            return delivery

    def _deliver(self, environment: Any, delivery: Delivery) -> None:
        with self._lock:
            self.deliveries += 1
            kind, after = self._plan(delivery)
        killer = Killer(environment, kind, after) if kind else None
        invocation = environment.invoke(post(delivery.run))
        killed = killer is not None and killer.stop()
        environment.wait_until_idle()
        if killed:
            assert killer is not None
            with self._lock:
                self.kills.append(Kill(delivery.run, kind, killer.killed_at))
        steps = stored_steps(self._dynamodb, delivery.run)
        self.seen.append(Seen(delivery.run, time.monotonic(), frozenset(steps)))
        self._judge(delivery, invocation)
        if killed and kind == "sidecar":
            environment.shutdown()  # the next one has a sidecar again

    def _plan(self, delivery: Delivery) -> tuple[str, float]:
        """Decide what is killed, and after how many seconds; "" for nothing."""
        before = sum(kill.run == delivery.run for kill in self.kills)
        if before >= KILLS_MAX or self._chance.random() < before / (KILLS_MAX + 1):
            return "", 0.0
        waited = any(kill[:2] == (delivery.run, "both") for kill in self.kills)
        (kind,) = self._chance.choices(KINDS, WEIGHTS_AFTER_BOTH if waited else WEIGHTS)
        return kind, self._chance.uniform(0, WINDOW_SECONDS)

    def _judge(self, delivery: Delivery, invocation: Any) -> None:
        """Know that a run is answered, or deliver it again."""
        pause, run = ERROR_PAUSE_SECONDS, delivery.run
        if invocation.error_type is None:
            response = json.loads(invocation.payload)
            if response["statusCode"] == 200:
                with self._lock:
                    self._open.discard(run)
                    self.answers.setdefault(run, response["body"])
                    if self.answers[run] != response["body"]:
                        self.faults.append(f"{run} was answered in two ways")
                return
            pause = float(response["headers"].get("retry-after", pause))
        if delivery.number >= DELIVERIES_MAX:
            self.faults.append(f"{run}: {invocation.payload!r}")
        with self._lock:
            if run in self._open:
                due = time.monotonic() + pause
                self._queue.append(Delivery(due, run, delivery.number + 1))

    def figures(self) -> dict[str, Any]:
        """Count kills and deliveries."""
        return {
            "runs": len(self.answers),
            "deliveries": self.deliveries,
            "kills": Counter(kill.kind for kill in self.kills),
        }


class Killer:
    """Kills once, unless it is stopped before."""

    def __init__(self, environment: Any, kind: str, after_seconds: float) -> None:
        self._environment = environment
        self._kind = kind
        self._lock = threading.Lock()
        self._stopped = False
        self.killed_at = 0.0
        self._timer = threading.Timer(after_seconds, self._kill)
        self._timer.start()

    def stop(self) -> bool:
        """Kill nothing any more; return whether something was."""
        with self._lock:
            self._stopped = True
        self._timer.cancel()
        self._timer.join()
        return self.killed_at > 0

    def _kill(self) -> None:
        with self._lock:
            if self._stopped:
                return
            pids = self._environment.pids
            runtime, launcher = pids.get("runtime"), pids.get("lambdallm")
            sidecar = sidecar_pid(launcher) if launcher else None
            chosen = {
                "runtime": [runtime], "sidecar": [sidecar], "both": [sidecar, runtime],
                "timeout": [runtime],
            }[self._kind]  # fmt: skip
            if None in chosen:
                return  # it has not begun yet
            number = signal.SIGSTOP if self._kind == "timeout" else signal.SIGKILL
            for pid in chosen:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            self.killed_at = time.monotonic()
