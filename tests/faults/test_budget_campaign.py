"""No window of a budget is overspent: many processes, a table that fails, and a model's ledger."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest

from e2e.conftest import make_table
from fakes.microburst import serve_microburst
from fakes.ministack import serve_ministack
from faults import budget_campaign
from faults.billing_model import MODEL, BillingModel
from faults.budget_campaign import RULES, TABLE_FAULTS, Spenders, accounts, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MOST_TOKENS = 1_000

HOUR_MS = 3_600_000


class Scale(NamedTuple):
    """How much of everything."""

    processes: int
    threads: int
    moment_seconds: float
    kills: int = 0
    freezes: int = 0
    freeze_seconds: float = 1.0
    limits: int = 1


class Place(NamedTuple):
    """Where a campaign takes place."""

    table: Any
    model: BillingModel
    spenders: Spenders
    client: Any


@pytest.fixture
def place(tmp_path: Path) -> Callable[[Scale, str], Any]:
    """Open a table of its own, a proxy that lets it fail, and a model that bills."""

    @contextmanager
    def opened(scale: Scale, text: str) -> Iterator[Place]:
        with ExitStack() as ends:
            url = ends.enter_context(serve_ministack(_folder(tmp_path, "ministack")))
            name = make_table(url)
            table = ends.enter_context(serve_microburst(_folder(tmp_path, "microburst"), url))
            model = ends.enter_context(BillingModel())
            (tmp_path / "lambdallm.yaml").write_text(text)
            variables = {
                "LAMBDALLM_STORE": f"dynamodb://{name}",
                "LAMBDALLM_MODEL": MODEL,
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
            yield Place(table, model, spenders, client)

    return opened


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


def spend(place: Place, scale: Scale, moments: int) -> None:
    """Let all spend through these moments, and end those that still live."""
    chosen = budget_campaign.MOMENTS[:moments]
    begin = time.time() + 0.25 * scale.processes
    told = {
        "jumps": budget_campaign.jumps(round(begin * 1_000), scale.moment_seconds, chosen),
        "most_tokens": MOST_TOKENS,
    }
    told["jumps"].insert(0, [round(time.time() * 1_000), told["jumps"][0][1] - HOUR_MS])
    place.table.rules(*TABLE_FAULTS)
    place.spenders.begin(scale.processes, told)
    until = time.monotonic() + max(0.0, begin - time.time()) + moments * scale.moment_seconds
    place.spenders.harm(
        until, told, kills=scale.kills, freezes=scale.freezes, freeze_seconds=scale.freeze_seconds
    )
    place.table.rules()  # what is told at the end shall arrive; before, it may not
    place.spenders.end()


@pytest.mark.parametrize(
    ("scale", "moments"),
    [
        (Scale(4, 3, 1.2, kills=2, freezes=1), 3),
        pytest.param(
            Scale(64, 1, 30, kills=60, freezes=15, freeze_seconds=3, limits=5), 4,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["once", "for long"],
)  # fmt: skip
def test_no_window_is_overspent_whoever_is_killed(
    place: Callable[..., Any],
    record_property: Callable[[str, object], None],
    scale: Scale,
    moments: int,
) -> None:
    rules = [rule._replace(usd=f"{float(rule.usd) * scale.limits:.6f}") for rule in RULES]
    with place(scale, budget_campaign.configuration(rules)) as opened:
        spend(opened, scale, moments)
        stored = accounts(opened.client, "lambdallm")
    verdict = judge(opened.model.ledger, rules)
    record_property("figures", figures(opened, verdict, stored))

    assert not verdict.overspent()
    fullest = max(billed / verdict.limits[pk] for pk, billed in verdict.billed.items())
    assert fullest > 0.2, "it was hardly tried"
    for pk, account in stored.items():
        assert account.leased <= verdict.limits.get(pk, account.leased), pk
        assert account.spent <= account.leased, pk
    for pk, billed in verdict.billed.items():
        assert billed <= stored[pk].leased, "the leases of the dead are more than what they spent"


@pytest.mark.parametrize(
    ("scale", "moments"),
    [
        (Scale(3, 3, 1.2), 2),
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
    rules = [rule._replace(usd=f"{float(rule.usd) * scale.limits:.6f}") for rule in RULES]
    with place(scale, budget_campaign.configuration(rules)) as opened:
        spend(opened, scale, moments)
        stored = accounts(opened.client, "lambdallm")
    verdict = judge(opened.model.ledger, rules)
    record_property("figures", figures(opened, verdict, stored))

    assert not verdict.overspent()
    for rule in rules:
        of_rule = [each for pk, each in stored.items() if pk.startswith(f"BUDGET#{rule.name}#")]
        told = sum(each.spent - each.unknown for each in of_rule)
        assert told == verdict.answered[rule.name], rule.name
    for pk, account in stored.items():
        assert account.granted == account.spent, f"{pk}: what is not needed went back"
        assert not account.reserved, pk


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
