"""`lambdallm runs list` and `show` over runs that chains have left."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from fakes.api_server import ApiServer, Reply
from fakes.run_commands import SECRET, order, ran, refund, refused, report, run
from fakes.session_commands import close as end
from fakes.waiting import until
from lambdallm.testing.model_server import ModelServer

PRICE = 1_000 * 35_000 + 100 * 140_000
"""Of one answer, in pico-USD."""


def test_runs_are_listed_with_how_they_stand(store: str) -> None:
    report().run(run_id="report-1", input="bees")
    refund().run(run_id="refund-1", input="Ada")
    end()

    found = ran("list", "--store", store)["runs"]
    assert {(each["run_id"], each["name"], each["status"]) for each in found} == {
        ("report-1", "report", "completed"), ("refund-1", "refund", "waiting"),
    }  # fmt: skip
    assert [each["run_id"] for each in ran("list", "--status", "waiting")["runs"]] == ["refund-1"]
    assert [each["run_id"] for each in ran("list", "--chain", "report")["runs"]] == ["report-1"]
    assert ran("list", "--owner", "lambda:eve") == {"found": 0, "runs": []}
    assert len(ran("list", "--limit", "1")["runs"]) == 1

    shown = run("list", "--store", store)
    assert shown.exit_code == 0
    assert "refund-1" in shown.stdout
    assert shown.stdout.splitlines()[-1] == "2 runs."
    assert ("whole table is read" in shown.stderr) == store.startswith("dynamodb")


def test_one_is_shown_with_what_each_step_has_cost(store: str) -> None:
    report().run(run_id="report-1", input=SECRET)
    end()

    found = ran("show", "report-1")
    assert [(each["key"], each["attempt"]) for each in found["steps"]] == [
        ("draft", 1), ("polish", 1),
    ]  # fmt: skip
    assert [each["cost_pico_usd"] for each in found["steps"]] == [PRICE, PRICE]
    assert [each["state"] for each in found["calls"]] == ["answered", "answered"]
    assert found["cost_pico_usd"] == 2 * PRICE
    assert (found["unknown_calls"], found["regenerated"]) == (0, 0)

    shown = run("show", "report-1").stdout
    assert "report 1.2.0: completed, attempt 1." in shown
    assert shown.splitlines()[-1] == "$0.000098 in 1 attempt."


def test_what_users_have_said_is_told_when_it_is_asked_for(file: str) -> None:
    report().run(run_id="report-1", input=SECRET)
    refund().run(run_id="refund-1", input=SECRET)
    end()

    for run_id in ("report-1", "refund-1"):
        for told in (run("show", run_id).stdout, json.dumps(ran("show", run_id))):
            assert SECRET not in told
            assert "It depends." not in told
        assert SECRET in run("show", run_id, "--outputs").stdout
    assert 'polish: "It depends."' in run("show", "report-1", "--outputs").stdout
    told = ran("show", "report-1", "--outputs")
    assert json.loads(told["input"])["input"] == SECRET
    assert json.loads(told["output"]) == "It depends."
    assert "manager (approval)" in run("show", "refund-1").stdout
    assert f"Refund {SECRET}?" in run("show", "refund-1", "--outputs").stdout


def test_what_a_user_said_commands_no_terminal(file: str) -> None:
    order().run(run_id="order-1", input="x\x1b]0;title\x07\u202e")
    end()

    shown = run("show", "order-1", "--outputs").stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown


_KILLED = """
from fakes.run_commands import report
report().run(run_id="report-1", input="bees")
"""


def test_a_call_that_may_have_been_billed_is_listed(
    file: str, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ApiServer(Reply(pieces=(b"{",), end="silent")) as silent:
        environ = {
            **os.environ,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": silent.url,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        process = subprocess.Popen([sys.executable, "-c", _KILLED], env=environ)
        until(lambda: silent.asked)
        process.kill()  # function and engine: nobody is left to tell how it ended
        process.wait()

    found = ran("show", "report-1")
    assert [(each["step"], each["state"]) for each in found["calls"]] == [("draft", "intent")]
    assert found["unknown_calls"] == 1
    assert found["cost_pico_usd"] == found["calls"][0]["reserved_pico_usd"] > 0
    shown = run("show", "report-1").stdout
    assert "1 call may have been billed, and nothing more is known" in shown
    assert "1 call of unknown cost counted with the most that it can be." in shown
    assert "is under way" in refused("resume", "report-1", "--store", file, "--function", "f")


def test_an_id_that_is_not_there_says_what_is_near(store: str) -> None:
    report().run(run_id="report-1", input="bees")
    end()

    assert "There is report-1." in refused("show", "reprot-1")
    assert "There is report-1." in refused("show", "report-1", "--owner", "lambda:eve")
    assert "The store has 1 others." in refused("stop", "zzz")


def test_a_damaged_run_hides_no_other_one(file: str) -> None:
    report().run(run_id="report-1", input="bees")
    report().run(run_id="report-2", input="wasps")
    end()
    with closing(sqlite3.connect("runs.db")) as opened, opened:
        opened.execute(
            "UPDATE items SET attributes = json_set(attributes, '$.attempt', 'x') "
            "WHERE pk = 'RUN#report-1' AND sk = 'HEAD'"
        )

    shown = run("list").stdout
    assert "report-2" in shown
    assert "report-1: The item HEAD of run 'report-1' is damaged." in shown
    assert run("show", "report-1").exit_code == 3
    assert ran("delete", "report-1", "--yes")["deleted"] == 1


def test_what_is_no_id_is_a_wrong_use(file: str) -> None:
    assert run("show", "a#b").exit_code == 2
    assert run("list", "--status", "gone").exit_code == 2
