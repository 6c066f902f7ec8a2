"""Budgets with the built layer: functions and sidecars die apart, clones wake from a snapshot."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from e2e.conftest import make_table, one_snapshot
from fakes.microburst import serve_microburst
from fakes.ministack import serve_ministack
from faults.billing_model import MODEL, BillingModel
from faults.budget_campaign import (
    RULES,
    TABLE_FAULTS,
    USERS,
    Account,
    Verdict,
    accounts,
    configuration,
    judge,
)
from faults.processes import sidecar_pid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.conftest import Start

__all__ = ["one_snapshot"]

FUNCTION = """
import json, os, time
from concurrent.futures import ThreadPoolExecutor
from lambdallm import BudgetExceededError, LambdaLLMError, handler

def one(context, person):
    said = {"user": person, "at": time.time_ns() // 1_000_000, "most": 1000}
    try:
        context.chat(json.dumps(said), max_tokens=1000, max_retries=1)
    except BudgetExceededError:
        return "refused"
    except LambdaLLMError as error:
        return type(error).__name__
    return "answered"

@handler
def spend(event, context):
    context.tag(person=event["person"])
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(one, context, event["person"]) for _ in range(event["calls"])]
        return {"done": [call.result() for call in calls]}
"""

PRIMING = """
class Primed:
    aws_request_id = "primed-in-init"
    @staticmethod
    def get_remaining_time_in_millis():
        return 60_000

while not os.path.exists(os.environ["LAMBDALLM_DIRECTORY"] + "/token"):
    time.sleep(0.005)  # the sidecar starts beside the function
spend({"person": "ada", "calls": 4}, Primed)
"""
"""Spends in Init: what is leased then is in every clone's memory."""


class Place:
    """A table, the proxy before it, a model that bills, and environments of the built layer."""

    def __init__(self, table: Any, model: BillingModel, client: Any, start: Any) -> None:
        self.table = table
        self.model = model
        self.start = start
        self._client = client

    def books(self) -> tuple[Verdict, dict[str, Account]]:
        """Return what was billed and what the table says."""
        return judge(self.model.ledger, RULES), accounts(self._client, "lambdallm")


@pytest.fixture
def place(emulator: Start, layer: Path, tmp_path: Path) -> Iterator[Place]:
    folders = [tmp_path / name for name in ("ministack", "microburst")]
    for folder in folders:
        folder.mkdir()
    with ExitStack() as ends:
        url = ends.enter_context(serve_ministack(folders[0]))
        table = ends.enter_context(serve_microburst(folders[1], url))
        model = ends.enter_context(BillingModel())
        variables = {
            "LAMBDALLM_STORE": f"dynamodb://{make_table(url)}",
            "LAMBDALLM_MODEL": MODEL,
            "AWS_ENDPOINT_URL_DYNAMODB": table.url,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model.url,
            "AWS_REGION": "us-east-1",
        }
        client = boto3.client("dynamodb", endpoint_url=url, region_name="us-east-1",
                              aws_access_key_id="test", aws_secret_access_key="test")  # fmt: skip
        ends.callback(client.close)

        def start(*, more: str = "", **options: Any) -> Any:
            files = {"app.py": FUNCTION + more, "lambdallm.yaml": configuration(RULES)}
            environment = emulator(
                files, "app.spend", opt=layer, variables=variables, timeout_seconds=30, **options
            )
            return ends.enter_context(environment)

        yield Place(table, model, client, start)


def spend(environment: Any, person: str, calls: int) -> list[str]:
    """Invoke once; return what became of each call, nothing where the function died."""
    invocation = environment.invoke({"person": person, "calls": calls})
    environment.wait_until_idle()
    if invocation.error_type is not None:
        return []
    answer = json.loads(invocation.payload)
    done: list[str] = json.loads(answer["body"])["done"]
    return done


def kill(environment: Any, which: str) -> bool:
    """Kill the function's process or the sidecar's; False when there is none now."""
    pids = environment.pids
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        pid = pids.get("runtime")
        if which == "sidecar" and "lambdallm" in pids:
            pid = sidecar_pid(pids["lambdallm"])
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            return True
    return False


@pytest.mark.parametrize(
    ("environments", "invocations", "kills"),
    [(2, 4, 2), pytest.param(6, 40, 40, marks=pytest.mark.slow)],
    ids=["once", "for long"],
)
def test_no_budget_is_overspent_though_functions_and_sidecars_die(
    place: Place,
    record_property: Callable[[str, object], None],
    environments: int,
    invocations: int,
    kills: int,
) -> None:
    place.table.rules(*TABLE_FAULTS)
    started = [place.start() for _ in range(environments)]
    chance = random.Random(1)
    done: list[str] = []

    def carry(environment: Any, number: int) -> None:
        for turn in range(invocations):
            done.extend(spend(environment, USERS[(number + turn) % len(USERS)], 16))

    threads = [
        threading.Thread(target=carry, args=(environment, number))
        for number, environment in enumerate(started)
    ]
    for thread in threads:
        thread.start()
    killed = 0
    while killed < kills and any(thread.is_alive() for thread in threads):
        time.sleep(chance.uniform(0.05, 0.3))
        killed += kill(chance.choice(started), chance.choice(["runtime", "sidecar"]))
    for thread in threads:
        thread.join()
    place.table.rules()
    for environment in started:
        environment.shutdown()
    verdict, stored = place.books()
    record_property("figures", json.dumps({
        "killed": killed, "generations": len(place.model.ledger),
        "done": {what: done.count(what) for what in sorted({*done})},
        "accounts": {
            pk: [round(part / verdict.limits[pk], 4)
                 for part in (verdict.billed[pk], stored[pk].spent, stored[pk].leased)]
            for pk in sorted(verdict.billed)
        },
    }))  # fmt: skip

    assert killed
    assert len(place.model.ledger) > 10
    assert not verdict.overspent()
    for pk, billed in verdict.billed.items():
        assert billed <= stored[pk].leased <= verdict.limits[pk], pk


def test_environments_that_end_have_told_all_and_keep_nothing(place: Place) -> None:
    """Frozen after each invocation, as on Lambda; answers are lost, but no process."""
    started = [place.start(freeze=True) for _ in range(2)]
    for number in range(2):
        for environment, person in zip(started, USERS, strict=False):
            assert len(spend(environment, person, 12)) == 12, number
    for environment in started:
        environment.shutdown()
    verdict, stored = place.books()

    assert len(place.model.ledger) > 10
    assert not verdict.overspent()
    for rule in RULES:
        of_rule = [each for pk, each in stored.items() if pk.startswith(f"BUDGET#{rule.name}#")]
        told = sum(each.spent - each.unknown for each in of_rule)
        assert told == sum(verdict.answered.values()), rule.name
        assert all(each.leased == each.spent for each in of_rule), "what is not spent went back"


def test_clones_of_a_snapshot_share_no_lease(place: Place, one_snapshot: None) -> None:
    """Both remember what was leased in Init; neither spends it."""
    pair = [place.start(more=PRIMING, snap_start=True) for _ in range(2)]
    for clone in pair:
        clone.initialise()
    for clone, person in zip(pair, USERS, strict=False):
        assert spend(clone, person, 8)
    for clone in pair:
        clone.shutdown()
    verdict, stored = place.books()

    assert len(place.model.ledger) > 16
    assert not verdict.overspent()
    for pk, billed in verdict.billed.items():
        assert billed <= stored[pk].leased <= verdict.limits[pk], pk
        assert stored[pk].granted <= stored[pk].leased, f"{pk}: both tell of one lease"
