"""Environments that spend one table's budgets, and what happens to them meanwhile.

Spenders are processes (`budget_spender`) before a table that fails; some are killed, others stopped
for longer than their leases are meant to last, and all have clocks that pass midnights.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from faults.billing_model import MODEL
from lambdallm_extension.domain.budget_windows import window_at
from lambdallm_extension.domain.keys import budget_pk
from lambdallm_extension.services.hedging import RECORD_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from faults.billing_model import Billed

ZONE = "Europe/Berlin"

TABLE_FAULTS: tuple[dict[str, Any], ...] = tuple(
    {"service": "dynamodb", **rule}
    for rule in (
        {"probability": 0.03, "error": {"code": "ProvisionedThroughputExceededException"}},
        {"probability": 0.02, "error": {"code": "InternalServerError"}},
        {"probability": 0.05, "response": {"abort_frac": 0.5}},
        {"probability": 0.02, "reset": True},
    )
)
"""One request in twenty is refused; one in twenty more is done, and its answer lost."""

MOMENTS = (
    "2026-10-24 23:59:58",  # the day that begins has 25 hours
    "2026-10-25 02:59:59",  # one second before it is two o'clock again
    "2026-10-25 23:59:58",  # the end of that day, and of an ISO week
    "2026-10-31 23:59:58",  # and of a month
)
"""To which the clocks of all are set, one after the other."""

USERS = ("ada", "bob", "eve")

GIVEN_UP = ("ReaderGone", "EnvironmentEnded")
"""Of streams that nobody reads any more: a clock that is set ends the time that they have."""

HEDGE_AFTER_MS = 40
"""A fifth of the model's answers take longer: another one is asked for beside them, and billed."""

ENDING_SECONDS = 60


class Rule(NamedTuple):
    """A budget as the campaign knows it, in USD; `own` are limits of single ids, `only` is one."""

    name: str
    window: str
    usd: str
    scope: str = "organisation"
    reaction: str = "block"
    only: str = ""
    own: Mapping[str, str] = {}

    def pico_usd(self, scope_id: str) -> int:
        """Return an id's limit."""
        whole, _, part = self.own.get(scope_id, self.usd).partition(".")
        return int(whole + part.ljust(12, "0"))

    def id_of(self, call: Billed) -> str | None:
        """Return under which id of it a call counts, None where it does not."""
        if self.scope == "organisation":
            return ""
        found = {"model": call.model, "session": f"talk-{call.user}"}.get(self.scope, call.user)
        return None if self.only and found != self.only else found


RULES = (
    Rule("daily", "day", "0.020"),
    Rule("monthly", "month", "0.050"),
    Rule("weeks", "week", "0.035", "model"),
    Rule("people", "day", "0.009", "tag:person"),
)

ALL_RULES = (
    Rule("daily", "day", "0.020"),
    Rule("monthly", "month", "0.048"),
    Rule("weeks", "week", "0.004", "model", only=MODEL),
    Rule("people", "day", "0.008", "tag:person"),
    Rule("users", "month", "0.020", "user"),
    Rule("talks", "all", "0.022", "session"),
    Rule("cheaper", "week", "0.030", reaction="downgrade"),
    Rule("told", "week", "0.005", reaction="warn"),
)
"""Every scope that a call has here, and every reaction. In `MOMENTS`, and by whom `SPENDING` names
most, each of them is the tightest once."""

SPENDING = ("ada", "ada", "ada", "bob", "eve")


def configuration(rules: Sequence[Rule]) -> str:
    """Write a `lambdallm.yaml`; `daily` and `monthly` are the organisation's."""
    lines = ["resilience:", f"  hedge_after_ms: {HEDGE_AFTER_MS}"]
    lines += ["cost:", f"  time_zone: {ZONE}", f"  downgrade_to: {MODEL}", "  budgets:"]
    for rule in rules:
        only = f", id: '{rule.only}'" if rule.only else ""
        lines.append(
            f"    {rule.name}: {{scope: '{rule.scope}', window: {rule.window}, "
            f"limit: '{rule.usd}', on_exceeded: {rule.reaction}{only}}}"
        )
    return "\n".join([*lines, ""])


def jumps(first_ms: int, seconds_each: float, moments: Iterable[str] = MOMENTS) -> list[list[int]]:
    """Return when a clock is set, and to what; each moment has so many seconds."""
    return [
        [first_ms + round(number * seconds_each * 1_000), _epoch_ms(moment)]
        for number, moment in enumerate(moments)
    ]


class Spenders:
    """Processes that spend, and their ends."""

    def __init__(self, folder: Path, variables: dict[str, str], *, threads: int, seed: int) -> None:
        self._folder = folder
        self._environ = {**os.environ, **variables}
        self._threads = threads
        self._chance = random.Random(seed)
        self._living: list[subprocess.Popen[str]] = []
        self._made = 0
        self.figures: Counter[str] = Counter()

    def begin(self, count: int, told: dict[str, Any]) -> None:
        """Start so many more, and wait until all are ready."""
        started = [self._start(told) for _ in range(count)]
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", self._said()
        self._living += started

    def harm(self, until: float, told: dict[str, Any], *, kills: int, freezes: int,
             freeze_seconds: float) -> None:  # fmt: skip
        """Kill and stop at moments that nobody has chosen, until then; the killed are replaced."""
        acts = ["kill"] * kills + ["freeze"] * freezes
        self._chance.shuffle(acts)
        moments = sorted(self._chance.uniform(time.monotonic(), until) for _ in acts)
        for act, moment in zip(acts, moments, strict=True):
            time.sleep(max(0.0, moment - time.monotonic()))
            process = self._chance.choice(self._living)
            if act == "freeze":
                self._freeze(process, freeze_seconds)
            else:
                self._kill(process)
                self.begin(1, told)
        time.sleep(max(0.0, until - time.monotonic()))

    def end(self) -> None:
        """End all that live as environments end, and add up what they say."""
        for process in self._living:
            process.send_signal(signal.SIGTERM)
        for process in self._living:
            said, _ = process.communicate(timeout=ENDING_SECONDS)
            assert process.returncode == 0, self._said()
            self.figures.update(json.loads(said))
        self._living = []

    def close(self) -> None:
        """Kill what is left."""
        for process in self._living:
            process.kill()
            process.communicate()

    def _start(self, told: dict[str, Any]) -> subprocess.Popen[str]:
        self._made += 1
        how = {"threads": self._threads, "users": SPENDING, **told, "seed": self._made}
        with (self._folder / "spenders.log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "faults.budget_spender", json.dumps(how)],
                cwd=Path(__file__).parents[1],
                env=self._environ,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def _kill(self, process: subprocess.Popen[str]) -> None:
        self._living.remove(process)
        process.kill()
        process.communicate()
        self.figures["kills"] += 1

    def _freeze(self, process: subprocess.Popen[str], seconds: float) -> None:
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)
        self.figures["freezes"] += 1

    def _said(self) -> str:
        return (self._folder / "spenders.log").read_text()[-3_000:]


class Account(NamedTuple):
    """What the table says of one budget in one window, in pico-USD."""

    leased: int
    granted: int
    spent: int
    reserved: int
    unknown: int
    calls: int


def accounts(client: Any, table: str) -> dict[str, Account]:
    """Read all accounts, by their partitions."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            pk, sk = item["pk"]["S"], item["sk"]["S"]
            if not pk.startswith("BUDGET#"):
                continue
            numbers = {name: int(value["N"]) for name, value in item.items() if "N" in value}
            if sk == "HEAD":
                found[pk]["leased"] += numbers["leased"]
            elif sk.startswith("LEASE#"):
                for name in ("granted", "spent", "reserved", "unknown", "calls"):
                    found[pk][name] += numbers[name]
    return {pk: Account(**{name: counted[name] for name in Account._fields})
            for pk, counted in found.items()}  # fmt: skip


class Told(NamedTuple):
    """What a call's records say, its own and that of the model that was left behind.

    Attributes:
        model: That was asked.
        pico_usd: Known to have been spent.
        given_up: Of how many answers nobody waited for the end, though they may have come.
    """

    model: str
    pico_usd: int
    given_up: int


def told(client: Any, table: str) -> dict[str, Told]:
    """Read the records of all calls, by their ids."""
    found: dict[str, Told] = {}
    for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            if not item["pk"]["S"].startswith("CALL#"):
                continue
            call_id = item["pk"]["S"].removeprefix("CALL#").removesuffix(RECORD_SUFFIX)
            model = item["model"]["S"]
            before = found.get(call_id, Told(model, 0, 0))
            assert before.model == model, "a call has one model here, also where it is hedged"
            estimated = "estimated" in item
            known = item["state"]["S"] == "settled" and not estimated
            given_up = estimated and item.get("error", {}).get("S", "") in GIVEN_UP
            found[call_id] = Told(
                model,
                before.pico_usd + (int(item["cost_pico_usd"]["N"]) if known else 0),
                before.given_up + given_up,
            )
    return found


class Verdict(NamedTuple):
    """What was billed beside what was allowed, by account, in pico-USD.

    Attributes:
        limits: Of all accounts that somebody spent of.
        billed: Of calls that belong to this window for certain.
        either: Of calls that were admitted in it or in the one before it.
        answered: Billed by call, where the answer was not lost.
        soft: Accounts that may be overspent.
    """

    limits: dict[str, int]
    billed: dict[str, int]
    either: dict[tuple[str, str], int]
    answered: dict[str, int]
    soft: frozenset[str]

    def overspent(self) -> list[str]:
        """Say where more was billed than the limit, also of two windows together."""
        said = [
            f"{pk}: {billed} of {self.limits[pk]}"
            for pk, billed in self.billed.items()
            if billed > self.limits[pk] and pk not in self.soft
        ]
        for (one, other), billed in self.either.items():
            both = billed + self.billed.get(one, 0) + self.billed.get(other, 0)
            if both > self.limits[one] + self.limits[other] and one not in self.soft:
                said.append(f"{one} and {other}: {both}")
        return said


def judge(ledger: Iterable[Billed], rules: Sequence[Rule]) -> Verdict:
    """Put what was billed to the windows that it belongs to."""
    limits: dict[str, int] = {}
    billed: Counter[str] = Counter()
    either: Counter[tuple[str, str]] = Counter()
    answered: Counter[str] = Counter()
    soft: set[str] = set()
    for call in ledger:
        answered[call.call] += 0 if call.cut else call.pico_usd
        for rule in rules:
            scope_id = rule.id_of(call)
            if scope_id is None:
                continue
            asked, sent = (
                budget_pk(rule.name, scope_id, window_at(rule.window, at, ZONE).name)
                for at in (call.asked_ms, call.sent_ms)
            )
            limits[asked] = limits[sent] = rule.pico_usd(scope_id)
            if rule.reaction == "warn":
                soft |= {asked, sent}
            if asked == sent:
                billed[asked] += call.pico_usd
            else:
                either[asked, sent] += call.pico_usd
    return Verdict(limits, dict(billed), dict(either), dict(answered), frozenset(soft))


def _epoch_ms(moment: str) -> int:
    first_of_two = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(ZONE), fold=0)
    return round(first_of_two.timestamp() * 1_000)
