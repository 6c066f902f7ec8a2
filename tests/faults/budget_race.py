"""Workers that share one limit over a real server, in real time: a budget, and a cached check.

    python -m faults.budget_race '{"url": "http://127.0.0.1:…", "side": "leased", …}'

is one process of them; `race` starts several. A worker is an environment with a store of its own,
and makes its calls one after the other. Of the cached check each has read the sum at a moment of
its own before, as environments that have lived for a while.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lambdallm_extension import errors
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.budget_settings import Budget
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Add, Key
from lambdallm_extension.services.budgets import Budgets
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_extension.stores import dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.ports import Item, Store

PROCESSES = 4

CACHED_SECONDS = 60.0

REFUSED_SECONDS = 0.1
"""Between a refusal and the next try."""

PATIENCE_SECONDS = 3.0
"""A worker that is refused for so long has no more to do: longer than a refusal is remembered."""

ASK_MS = 10_000

TABLE = "lambdallm"
SUM = Key("CACHED-CHECK", "SUM")


class Race(NamedTuple):
    """What is asked for.

    Attributes:
        workers: All together; a multiple of `PROCESSES`.
        calls: That each wants to make.
        call_seconds: Of a call, on average.
        cost_pico_usd: Of a call, on average, about.
        most_share: The most that a call can cost, in parts of that.
        limit_share: The limit, in parts of what all calls would cost.
    """

    workers: int = 64
    calls: int = 280
    call_seconds: float = 0.05
    cost_pico_usd: int = 10_000_000_000
    most_share: int = 3
    limit_share: float = 0.5

    @property
    def limit_pico_usd(self) -> int:
        """That all share."""
        return round(self.workers * self.calls * self.cost_pico_usd * self.limit_share)


class Ended(NamedTuple):
    """What came of it.

    Attributes:
        billed: Of all calls, in parts of the limit.
        recorded: What the table says of it.
        calls: That were made.
        refused: Tries that were not.
        operations_a_call: Requests to the table.
        seconds: From the first process's start to the last one's end.
    """

    billed: float
    recorded: float
    calls: int
    refused: int
    operations_a_call: float
    seconds: float


class CountingStore:
    """A store and how often it was asked."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.operations = 0

    def __getattr__(self, name: str) -> Any:
        self.operations += 1
        return getattr(self._store, name)


class Leased:
    """The real admission."""

    def __init__(self, store: Any, clock: SystemClock, name: str, limit: int) -> None:
        rules = [Budget("race", "organisation", window="all", limit_pico_usd=limit)]
        self._clock = clock
        self._budgets = Budgets(lambda: rules, lambda: store, clock, lambda: name, lambda _: None)

    def admit(self, most: int) -> Callable[[int], None] | None:
        try:
            return self._budgets.admit({}, most, deadline_ms=self._deadline()).settle
        except (errors.BudgetExceededError, errors.StoreError):
            return None

    def end(self, *, last: bool) -> None:
        self._budgets.flush(deadline_ms=self._deadline(), last=last)

    def _deadline(self) -> int:
        return self._clock.epoch_ms() + ASK_MS


class Cached:
    """Checked before, recorded after, and read once in a minute."""

    def __init__(self, store: Any, clock: SystemClock, age_seconds: float, limit: int) -> None:
        self._store = store
        self._clock = clock
        self._limit = limit
        self._seen = 0
        self._seen_at = time.monotonic() - age_seconds

    def admit(self, most: int) -> Callable[[int], None] | None:
        del most
        if time.monotonic() - self._seen_at >= CACHED_SECONDS:
            item: Item | None = self._store.get(SUM, deadline_ms=self._clock.epoch_ms() + ASK_MS)
            spent = item.attributes["spent"] if item else 0
            assert isinstance(spent, int)
            self._seen, self._seen_at = spent, time.monotonic()
        return self._record if self._seen < self._limit else None

    def end(self, *, last: bool) -> None:
        """Hold nothing that could go back."""

    def _record(self, cost: int) -> None:
        add = Add(SUM, {"spent": cost})
        self._store.add_if(add, deadline_ms=self._clock.epoch_ms() + ASK_MS)


def race(url: str, side: str, wanted: Race) -> Ended:
    """Let all spend; the table is there, and nobody has spent of it on this side yet."""
    told = {"url": url, "side": side, "race": wanted}
    begun = time.monotonic()
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "faults.budget_race", json.dumps({**told, "process": number})],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    said = [process.communicate()[0] for process in started]
    seconds = time.monotonic() - begun
    assert not any(process.returncode for process in started), "a process of the race has failed"
    sums = [sum(column) for column in zip(*map(json.loads, said), strict=True)]
    billed, calls, refused, operations = sums
    store = _store(url, SystemClock())
    key = SUM if side == "cached" else Key(keys.budget_pk("race", "", "all"), keys.HEAD)
    item = store.get(key, deadline_ms=SystemClock().epoch_ms() + ASK_MS)
    store.close()
    assert item is not None, "nobody has recorded anything"
    recorded = item.attributes["spent" if side == "cached" else "leased"]
    assert isinstance(recorded, int)
    limit = wanted.limit_pico_usd
    return Ended(
        billed / limit, recorded / limit, calls, refused, operations / max(1, calls), seconds
    )


def _store(url: str, clock: SystemClock) -> Store:
    settings = Settings.from_environ({
        "AWS_ENDPOINT_URL_DYNAMODB": url, "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
    })  # fmt: skip
    return dynamodb.connect(TABLE, settings, clock, CredentialSource(settings, clock))


class _Worker:
    def __init__(self, policy: Leased | Cached, wanted: Race, seed: int) -> None:
        self._policy = policy
        self._wanted = wanted
        self._chance = random.Random(seed)
        self.billed = self.calls = self.refused = 0

    def run(self) -> None:
        wanted, refused_at = self._wanted, 0.0
        while self.calls < wanted.calls:
            cost = round(min(wanted.most_share, self._chance.expovariate(1)) * wanted.cost_pico_usd)
            book = self._policy.admit(wanted.most_share * wanted.cost_pico_usd)
            if book is None:
                self.refused += 1
                refused_at = refused_at or time.monotonic()
                if time.monotonic() - refused_at > PATIENCE_SECONDS:
                    break
                time.sleep(REFUSED_SECONDS)
            else:
                refused_at = 0.0
                time.sleep(self._chance.expovariate(1 / wanted.call_seconds))
                self.calls += 1
                self.billed += cost
                book(cost)
            self._policy.end(last=False)
        self._policy.end(last=True)


def main() -> None:
    told = json.loads(sys.argv[1])
    wanted, clock = Race(*told["race"]), SystemClock()
    ages = random.Random(told["process"])
    stores, workers = [], []
    for number in range(wanted.workers // PROCESSES):
        store = CountingStore(_store(told["url"], clock))
        age = ages.uniform(0, CACHED_SECONDS)
        policy = (
            Cached(store, clock, age, wanted.limit_pico_usd)
            if told["side"] == "cached"
            else Leased(store, clock, f"{os.getpid()}.{number}", wanted.limit_pico_usd)
        )
        stores.append(store)
        workers.append(_Worker(policy, wanted, told["process"] * 1_000 + number))
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    sys.stdout.write(json.dumps([
        sum(worker.billed for worker in workers), sum(worker.calls for worker in workers),
        sum(worker.refused for worker in workers), sum(store.operations for store in stores),
    ]))  # fmt: skip


if __name__ == "__main__":
    main()
