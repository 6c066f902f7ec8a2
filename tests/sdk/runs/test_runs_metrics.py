"""What metric lines tell of runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fakes.run_commands import refund, report, run
from fakes.session_commands import close
from lambdallm import Chain, Step, handler
from lambdallm.testing import MockLambdaContext
from lambdallm.testing.model_server import ModelServer

NAMES = ("RunsCompleted", "RunsFailed", "RunsStalled", "RunsRegenerated")


@pytest.fixture
def told(
    file: str, embedded: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> Callable[[], list[dict[str, Any]]]:
    """Return what the lines so far have said of runs, each line's own counts."""
    embedded(LAMBDALLM_TELEMETRY="on")

    def read() -> list[dict[str, Any]]:
        close()
        lines = [
            json.loads(each) for each in capsys.readouterr().out.splitlines() if "_aws" in each
        ]
        embedded(LAMBDALLM_TELEMETRY="on")
        return [{name: line[name] for name in NAMES if name in line} for line in lines]

    return read


def test_a_run_is_counted_as_it_ended(told: Callable[[], list[dict[str, Any]]]) -> None:
    report().run(run_id="report-1", input="bees")
    assert told() == [{"RunsCompleted": 1}]

    report().run(run_id="report-1", input="bees")  # told again, and nothing is done
    assert told() == [{}]

    Chain("broken", [Step("fail", func=lambda _: 1 / 0, retry_count=0)]).run(run_id="broken-1")
    assert told() == [{"RunsFailed": 1}]

    refund().run(run_id="refund-1", input="Ada")
    assert told() == [{}]


def test_a_run_that_leads_nowhere_is_counted_once_it_is_given_up(
    told: Callable[[], list[dict[str, Any]]],
) -> None:
    chain = Chain("broken", [Step("fail", func=lambda _: 1 / 0, retry_count=0)])

    for _ in range(6):
        chain.run(run_id="broken-1")
    counted = told()

    assert counted[:5] == [{"RunsFailed": 1}] * 5
    assert counted[5] == {"RunsStalled": 1}
    close()
    shown = run("show", "broken-1").stdout
    assert "failed, attempt 6." in shown
    assert "it makes no progress" in shown


def test_a_second_generation_is_counted_by_the_attempt_that_made_it(
    told: Callable[[], list[dict[str, Any]]], model: ModelServer
) -> None:
    fails = [True]

    @handler
    def write(event: Any, context: Any) -> str:
        def ask(_values: Any) -> str:
            answer = context.chat(event["first" if fails else "second"], max_tokens=100).text
            if fails:
                raise ValueError(answer)
            return str(answer)

        run_id = event["second"]
        result = Chain("c", [Step("s", func=ask, retry_count=0)]).run(
            context=context, run_id=run_id
        )
        return result.status

    same, other = {"first": "a", "second": "a"}, {"first": "a", "second": "b"}
    ended = [write(each, MockLambdaContext())["body"] for each in (same, other)]
    assert ended == ["failed"] * 2
    assert told() == [{"RunsFailed": 1}] * 2
    fails.clear()

    ended = [write(each, MockLambdaContext())["body"] for each in (same, other)]
    assert ended == ["completed"] * 2
    assert told() == [{"RunsCompleted": 1}, {"RunsCompleted": 1, "RunsRegenerated": 1}]
    assert len(model.requests) == 3
