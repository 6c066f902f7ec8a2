"""No window of a budget is overspent: many processes, a table that fails, and a model's ledger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest

from e2e.conftest import make_table
from fakes.dynalite import serve_dynalite
from fakes.microburst import serve_microburst
from fakes.ministack import serve_ministack
from faults import budget_campaign
from faults.billing_model import DEARER, BillingModel
from faults.budget_campaign import (
    ALL_RULES,
    TABLE_FAULTS,
    Account,
    Rule,
    Spenders,
    Verdict,
    accounts,
    judge,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

SERVERS = {"ministack": serve_ministack, "dynalite": serve_dynalite}

MOST_TOKENS = 1_000

HOUR_MS = 3_600_000

MINUTE_SECONDS = 60

ENOUGH = 30
"""So many generations are hardly a campaign."""

MANY = 64
"""So many processes fill every budget."""


class Scale(NamedTuple):
    """How much of everything, and over which server."""

    processes: int
    threads: int
    moment_seconds: float
    kills: int = 0
    freezes: int = 0
    freeze_seconds: float = 1.0
    limits: int = 1
    server: str = "ministack"


class Place(NamedTuple):
    """Where a campaign takes place; `commands` are the variables of whoever looks after budgets."""

    table: Any
    model: BillingModel
    spenders: Spenders
    client: Any
    commands: dict[str, str]


@pytest.fixture
def place(tmp_path: Path) -> Callable[[Scale, str], Any]:
    """Open a table of its own, a proxy that lets it fail, and a model that bills."""

    @contextmanager
    def opened(scale: Scale, text: str) -> Iterator[Place]:
        with ExitStack() as ends:
            url = ends.enter_context(SERVERS[scale.server](_folder(tmp_path, scale.server)))
            name = make_table(url)
            table = ends.enter_context(serve_microburst(_folder(tmp_path, "microburst"), url))
            model = ends.enter_context(BillingModel())
            (tmp_path / "lambdallm.yaml").write_text(text)
            variables = {
                "LAMBDALLM_STORE": f"dynamodb://{name}",
                "LAMBDALLM_MODEL": DEARER,
                "LAMBDALLM_CONFIG": str(tmp_path / "lambdallm.yaml"),
                "LAMBDALLM_TELEMETRY": "off",
                "AWS_ENDPOINT_URL_DYNAMODB": table.url,
                "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model.url,
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
            }
            spenders = Spenders(tmp_path, variables, threads=scale.threads, seed=1)
            ends.callback(spenders.close)
            client = boto3.client(
                "dynamodb", endpoint_url=url, region_name="us-east-1",
                aws_access_key_id="test", aws_secret_access_key="test",
            )  # fmt: skip
            ends.callback(client.close)
            commands = {**os.environ, **variables, "AWS_ENDPOINT_URL_DYNAMODB": url}
            yield Place(table, model, spenders, client, commands)

    return opened


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


class Interference:
    """What somebody does meanwhile: after so many seconds, a command of `lambdallm budget`."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._timers: list[threading.Timer] = []
        self.done_at: list[float] = []
        self.said: list[str] = []

    def plan(self, seconds: float, *words: str) -> None:
        timer = threading.Timer(seconds, self._do, words)
        self._timers.append(timer)
        timer.start()

    def wait(self) -> None:
        for timer in self._timers:
            timer.join()
        assert self.said == ["0"] * len(self._timers), self.said

    def _do(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "lambdallm_cli", "budget", *words],
            env=self._place.commands, capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.done_at.append(time.monotonic())
        self.said.append(f"{done.returncode}{done.stderr}")


def spend(
    place: Place, scale: Scale, moments: int, plan: Sequence[tuple[float, Sequence[str]]] = ()
) -> list[float]:
    """Let all spend through these moments, and end those that still live.

    Returns:
        When the commands of the plan were done, by our monotonic clock.
    """
    chosen = budget_campaign.MOMENTS[:moments]
    begin = time.time() + 0.25 * scale.processes
    jumps = budget_campaign.jumps(round(begin * 1_000), scale.moment_seconds, chosen)
    jumps.insert(0, [round(time.time() * 1_000), jumps[0][1] - HOUR_MS])
    how = {"jumps": jumps, "most_tokens": MOST_TOKENS}
    place.table.rules(*TABLE_FAULTS)
    place.spenders.begin(scale.processes, how)
    left = max(0.0, begin - time.time())
    interference = Interference(place)
    for seconds, words in plan:
        interference.plan(left + seconds, *words)
    until = time.monotonic() + left + moments * scale.moment_seconds
    place.spenders.harm(
        until, how, kills=scale.kills, freezes=scale.freezes, freeze_seconds=scale.freeze_seconds
    )
    place.table.rules()  # what is told at the end shall arrive; before, it may not
    place.spenders.end()
    interference.wait()
    return interference.done_at


@pytest.mark.parametrize(
    ("scale", "moments"),
    [
        (Scale(4, 3, 0.7, kills=2, freezes=1), 3),
        pytest.param(
            Scale(MANY, 1, 30, kills=60, freezes=15, freeze_seconds=3, limits=5), 4,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            Scale(16, 2, 10, kills=20, freezes=5, freeze_seconds=2, limits=3, server="dynalite"), 4,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["once", "for long", "over another server"],
)  # fmt: skip
def test_no_window_is_overspent_whoever_is_killed(
    place: Callable[..., Any],
    record_property: Callable[[str, object], None],
    scale: Scale,
    moments: int,
) -> None:
    rules = [rule._replace(usd=f"{float(rule.usd) * scale.limits:.6f}") for rule in ALL_RULES]
    with place(scale, budget_campaign.configuration(rules)) as opened:
        spend(opened, scale, moments)
        stored = accounts(opened.client, "lambdallm")
    verdict = judge(opened.model.ledger, rules)
    record_property("figures", figures(opened, verdict, stored))

    assert len(opened.model.ledger) > ENOUGH
    assert not verdict.overspent()
    assert not opened.model.strangers, "nobody knows what they cost"
    for rule in rules if scale.processes == MANY else ():
        assert fullest(stored, verdict, rule) > 0.75, f"{rule.name} was hardly tried"
    for pk, account in stored.items():
        limit = account.leased if pk in verdict.soft else verdict.limits.get(pk, account.leased)
        assert account.spent <= account.leased <= limit, pk
    for pk, billed in verdict.billed.items():
        if pk not in verdict.soft:  # which let calls through while nobody could be asked
            assert billed <= stored[pk].leased, "the dead have leased what they spent"


@pytest.mark.parametrize(
    ("scale", "moments"),
    [
        (Scale(3, 3, 0.8), 2),
        pytest.param(
            Scale(32, 2, 20, freezes=10, freeze_seconds=3, limits=5), 4, marks=pytest.mark.slow
        ),
    ],
    ids=["once", "for long"],
)
def test_what_is_told_is_what_was_billed(
    place: Callable[..., Any],
    record_property: Callable[[str, object], None],
    scale: Scale,
    moments: int,
) -> None:
    """Nobody is killed: but for lost answers, which count as the most that they can cost."""
    rules = [rule._replace(usd=f"{float(rule.usd) * scale.limits:.6f}") for rule in ALL_RULES]
    with place(scale, budget_campaign.configuration(rules)) as opened:
        spend(opened, scale, moments)
        stored = accounts(opened.client, "lambdallm")
        records = told(opened.client, "lambdallm")
    verdict = judge(opened.model.ledger, rules)
    record_property("figures", figures(opened, verdict, stored))

    assert len(opened.model.ledger) > ENOUGH
    assert not verdict.overspent()
    assert not opened.model.strangers
    for call_id, answered in verdict.answered.items():
        known = records[call_id]
        assert known.pico_usd == answered or (known.given_up and known.pico_usd < answered)
    for rule in rules:
        of_rule = [each for pk, each in stored.items() if pk.startswith(f"BUDGET#{rule.name}#")]
        assert sum(each.spent - each.unknown for each in of_rule) == sum(
            each.pico_usd for each in records.values() if rule.only in ("", each.model)
        ), rule.name
    for pk, account in stored.items():
        assert account.granted == account.spent, f"{pk}: what is not needed went back"
        assert not account.reserved, pk


@pytest.mark.slow
def test_a_kill_switch_holds_everywhere_within_a_minute_and_a_raised_limit_holds(
    place: Callable[..., Any], record_property: Callable[[str, object], None]
) -> None:
    """Somebody stops one of the users, raises the day's limit, and lets the user go on."""
    scale = Scale(24, 2, 115, kills=12, freezes=6, freeze_seconds=3)
    limit = Rule("people", "day", "0.030", "tag:person")
    raised = limit._replace(own={"ada": "9.000", "bob": "0.060"})
    with place(scale, budget_campaign.configuration([limit])) as opened:
        stopped, *_, opens = spend(
            opened,
            scale,
            moments=1,
            plan=[
                (4, ("stop", "--scope", "user", "--id", "eve")),
                *(
                    (10, ("raise", "people", "--id", who, "--to", to))
                    for who, to in raised.own.items()
                ),
                (95, ("go", "--scope", "user", "--id", "eve")),
            ],
        )
        stored = accounts(opened.client, "lambdallm")
    verdict = judge(opened.model.ledger, [raised])
    record_property("figures", figures(opened, verdict, stored))
    of_ada, of_eve = (
        [each.arrived for each in opened.model.ledger if each.user == user]
        for user in ("ada", "eve")
    )
    silent_from = stopped + MINUTE_SECONDS + scale.freeze_seconds

    assert len(opened.model.ledger) > ENOUGH
    assert not verdict.overspent()
    assert fullest(stored, verdict, raised) > 0.8
    assert min(of_eve) < stopped
    assert silent_from < opens, "it was looked for"
    assert not [arrived for arrived in of_eve if silent_from < arrived < opens]
    assert [arrived for arrived in of_ada if silent_from < arrived < opens], "others go on"


def fullest(stored: dict[str, Account], verdict: Verdict, rule: Rule) -> float:
    """Return how much of a budget was leased in its fullest account: then others were refused."""
    return max(
        stored[pk].leased / limit
        for pk, limit in verdict.limits.items()
        if pk.startswith(f"BUDGET#{rule.name}#") and pk in stored
    )


def figures(opened: Place, verdict: Any, stored: dict[str, Any]) -> str:
    """Write what a run came to."""
    ledger = opened.model.ledger
    return json.dumps({
        "generations": len(ledger), "cut": sum(each.cut for each in ledger),
        "refused by the model": opened.model.refused, **opened.spenders.figures,
        "calls on a border": len(verdict.either),
        "accounts": {
            pk: {
                "billed": round(verdict.billed.get(pk, 0) / limit, 4),
                "told": round(stored[pk].spent / limit, 4) if pk in stored else 0,
                "leased": round(stored[pk].leased / limit, 4) if pk in stored else 0,
            }
            for pk, limit in sorted(verdict.limits.items())
        },
    })  # fmt: skip
