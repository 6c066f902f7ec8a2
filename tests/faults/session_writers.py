"""Many writers of one session in three environments, before a table that fails, with kills.

Each writer is an event with an identity of its own, which is delivered again until it is
acknowledged, as a queue or an impatient browser does. One invocation carries many writers at once,
each a unit of work on a thread of its own, so that three environments hold fifty.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from faults.processes import sidecar_pid

if TYPE_CHECKING:
    from collections.abc import Sequence

ATTEMPTS_MAX = 40
"""Deliveries of one event; with a fault in every third request it takes two or three."""

TABLE_FAULTS: tuple[dict[str, Any], ...] = tuple(
    {"service": "dynamodb", **rule}
    for rule in (
        {"probability": 0.17, "error": {"code": "ProvisionedThroughputExceededException"}},
        {"probability": 0.03, "error": {"code": "ThrottlingException"}},
        {"probability": 0.05, "response": {"abort_frac": 0.5}},
        {"probability": 0.02, "reset": True},
    )
)
"""One request in five is throttled; one in twenty is done, and its answer lost."""

NOT_SAVED = "was not saved"
"""In the line about what the store did not take after the response."""

FUNCTION = """
import json, os
from concurrent.futures import ThreadPoolExecutor
from lambdallm import MemoryStrategy, Session, handler

DURABILITY = os.environ["DURABILITY"]

@handler(session=Session(memory=MemoryStrategy.FULL_HISTORY, durability=DURABILITY))
def speak(event, context):
    session, said = context.session, event["body"]["say"]
    seen = [message.content for message in session.messages]
    session.add_message("user", f"{said} asks")
    session.add_message("assistant", f"{said} hears")
    return {"saw": len(seen)}

@handler(session=Session(memory=MemoryStrategy.FULL_HISTORY))
def read(event, context):
    return {"seen": [message.content for message in context.session.messages]}

def write(event, context):
    def one(name):
        headers = {"x-session-id": event["session"], "idempotency-key": name}
        answer = speak({"headers": headers, "body": json.dumps({"say": name})}, context)
        return [answer["statusCode"], answer["headers"].get("x-lambdallm-exchange", "")]
    with ThreadPoolExecutor(32) as threads:
        return dict(zip(event["names"], threads.map(one, event["names"])))

def serve(event, context):
    if "names" in event:
        return write(event, context)
    headers = {"x-session-id": event["session"], **event.get("headers", {})}
    answer = read({"headers": headers, "body": "{}"}, context)
    return {"status": answer["statusCode"], **json.loads(answer["body"])}
"""


class Told(NamedTuple):
    """What the writers were told.

    Attributes:
        acknowledged: Names of events whose success reached their sender.
        receipts: Of those whose answer may have left before it was stored.
        stored: Those of them whose environment finished its writing, and lost no process before.
        refused: How often an event was refused with an error.
        lost_invocations: How many invocations ended with their process.
        kills: How many processes were killed.
    """

    acknowledged: list[str]
    receipts: dict[str, str]
    stored: list[str]
    refused: int
    lost_invocations: int
    kills: int


class Writers:
    """The writers of one session."""

    def __init__(
        self, environments: Sequence[Any], session: str, *, seed: int = 1, at_answers: bool = False
    ) -> None:
        """Name them.

        Args:
            environments: That write.
            session: Into which.
            seed: Of the chance by which processes are killed.
            at_answers: Whether sidecars whose response has just left are killed, too: each time
                that an odd number of kills is left.
        """
        self._environments = environments
        self._session = session
        self._chance = random.Random(seed)
        self._at_answers = at_answers
        self._lock = threading.Lock()
        self._told = Told([], {}, [], 0, 0, 0)
        self._kills_left = 0
        self._kills_of = dict.fromkeys(map(id, environments), 0)
        self._writing = 0

    @property
    def receipts(self) -> dict[str, str]:
        """What has been acknowledged so far, with what its sender got to send back."""
        with self._lock:
            return dict(self._told.receipts)

    def write(self, each: int, rounds: int, kills: int) -> Told:
        """Let each environment carry so many writers at once, for so many rounds."""
        self._kills_left = kills
        self._writing = len(self._environments)
        threads = [
            threading.Thread(target=self._carry, args=(number, each, rounds))
            for number in range(len(self._environments))
        ]
        killer = threading.Thread(target=self._kill)
        for thread in (*threads, killer):
            thread.start()
        for thread in (*threads, killer):
            thread.join()
        return self._told

    def _carry(self, number: int, each: int, rounds: int) -> None:
        try:
            for turn in range(rounds):
                names = [f"e{number}-{turn}-{writer}" for writer in range(each)]
                for _ in range(ATTEMPTS_MAX):
                    names = self._deliver(self._environments[number], names)
                    if not names:
                        break
                assert not names, f"{names} were never taken"
        finally:
            with self._lock:
                self._writing -= 1

    def _deliver(self, environment: Any, names: list[str]) -> list[str]:
        """Return the names that are to be delivered again."""
        kills, printed = self._kills_of[id(environment)], len(environment.logs)
        invocation = environment.invoke({"session": self._session, "names": names})
        if self._at_answers and self._kills_left > 0 and self._kills_left % 2:
            self._kill_and_count(environment, "sidecar")
        environment.wait_until_idle()
        unharmed = kills == self._kills_of[id(environment)] and not any(
            NOT_SAVED in line.text for line in environment.logs[printed:]
        )
        with self._lock:
            if invocation.error_type is not None:
                self._told = self._told._replace(lost_invocations=self._told.lost_invocations + 1)
                return names
            answers = invocation.json()
            again = [name for name, (status, _) in answers.items() if status != 200]
            told = [name for name in names if name not in again]
            self._told.acknowledged.extend(told)
            self._told.receipts.update({name: answers[name][1] for name in told})
            self._told.stored.extend(told if unharmed else [])
            self._told = self._told._replace(refused=self._told.refused + len(again))
            return again

    def _kill(self) -> None:
        """Kill sidecars and runtimes by turns, at moments that nobody has chosen."""
        while self._kills_left > 0 and self._writing:
            time.sleep(self._chance.uniform(0.1, 0.6))
            environment = self._chance.choice(list(self._environments))
            self._kill_and_count(environment, self._chance.choice(["runtime", "sidecar"]))

    def _kill_and_count(self, environment: Any, which: str) -> None:
        if self._kill_one(environment, which):
            with self._lock:
                self._kills_left -= 1
                self._told = self._told._replace(kills=self._told.kills + 1)

    def _kill_one(self, environment: Any, which: str) -> bool:
        pids = environment.pids
        pid = pids.get("runtime")
        try:
            if which == "sidecar" and "lambdallm" in pids:
                pid = sidecar_pid(pids["lambdallm"])
            if pid is None:
                return False
            self._kills_of[id(environment)] += 1
            os.kill(pid, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            return False  # it has ended by itself
        return True
