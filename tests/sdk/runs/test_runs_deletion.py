"""`lambdallm runs delete`, and whoever has the run open meanwhile."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fakes.run_commands import SECRET, ran, refund, refused, report, run
from fakes.session_commands import close
from lambdallm import Chain, Step
from lambdallm.testing.model_server import ModelServer
from lambdallm_cli.commands import lambdallm as command


def calls(store: str) -> int:
    listed = CliRunner().invoke(command, ["calls", "list", "--json", "--store", store])
    found: int = json.loads(listed.stdout)["found"]
    return found


def test_what_is_deleted_is_gone_with_the_records_of_its_calls(store: str) -> None:
    report().run(run_id="report-1", input="bees")
    report().run(run_id="report-2", input="wasps")
    close()
    assert calls(store) == 4

    done = ran("delete", "report-1", "--yes")

    assert (done["deleted"], done["calls"]) == (1, 2)
    assert done["items"] >= 7  # head, input, output, two steps, two calls
    assert [each["run_id"] for each in ran("list")["runs"]] == ["report-2"]
    assert calls(store) == 2
    assert "There is report-2." in refused("delete", "report-1", "--yes")


def test_nothing_of_it_stays_in_the_store(file: str) -> None:
    refund().run(run_id="refund-1", input=SECRET)
    large = Step("large", func=lambda values: [values["input"]] * 9_000)
    Chain("large", [large]).run(run_id="large-1", input=SECRET)
    close()
    assert SECRET.encode() in Path("runs.db").read_bytes()

    assert ran("delete", "refund-1", "large-1", "--yes")["deleted"] == 2

    with closing(sqlite3.connect("runs.db")) as opened:
        left = opened.execute("SELECT pk, sk, attributes FROM items").fetchall()
    assert [row for row in left if SECRET in row[2] or row[0].startswith("RUN#")] == []


def test_nothing_is_deleted_before_somebody_says_yes(file: str) -> None:
    report().run(run_id="report-1", input="bees")
    close()

    said = run("delete", "report-1", input="n\n")
    assert (said.exit_code, "Delete 1 run for good?" in said.stderr) == (1, True)
    assert ran("show", "report-1")["status"] == "completed"


def test_whoever_has_it_open_is_refused_and_a_new_one_begins_from_nothing(
    store: str, model: ModelServer
) -> None:
    deletes = [True]

    def delete(_values: Any) -> str:
        if deletes:
            deletes.clear()
            ran("delete", "r", "--yes", "--store", store)
        return "on"

    steps = [
        Step("draft", "Write", max_tokens=100),
        Step("delete", func=delete),
        Step("polish", "Polish {delete.output}", max_tokens=100),
    ]
    refused_run = Chain("report", steps).run(run_id="r", input="bees")

    assert refused_run.status == "failed"
    assert "deleted" in str(refused_run.error)
    assert len(model.requests) == 1
    close()
    assert ran("list")["runs"] == []

    anew = Chain("report", steps).run(run_id="r", input="wasps")
    assert (anew.status, anew.attempt) == ("completed", 1)
    assert len(model.requests) == 3
    close()
    assert len(ran("show", "r")["calls"]) == 2


def test_an_older_attempt_writes_nothing_into_a_run_that_was_begun_anew(
    file: str, model: ModelServer
) -> None:
    depth: list[int] = []

    def again(_values: Any) -> str:
        depth.append(1)
        if len(depth) == 1:
            ran("delete", "r", "--yes", "--store", file)
            second = chain.run(run_id="r", input="wasps")
            assert second.status == "completed"
        return f"in {len(depth)}"

    steps = [Step("again", func=again), Step("polish", "Polish {again.output}", max_tokens=100)]
    chain = Chain("report", steps)

    first = chain.run(run_id="r", input="bees")

    assert first.status == "failed"
    assert len(model.requests) == 1
    close()
    told = ran("show", "r", "--outputs")
    assert json.loads(told["input"])["input"] == "wasps"
    assert json.loads(told["steps"][0]["output"]) == "in 2"


@pytest.mark.parametrize("kept", ["steps", "head"])
def test_a_deletion_that_was_cut_short_goes_on(file: str, kept: str) -> None:
    report().run(run_id="report-1", input="bees")
    close()
    with closing(sqlite3.connect("runs.db")) as opened, opened:
        where = "= 'HEAD'" if kept == "steps" else "<> 'HEAD'"
        opened.execute(f"DELETE FROM items WHERE pk = 'RUN#report-1' AND sk {where}")

    assert ran("delete", "report-1", "--yes")["deleted"] == 1
    assert "There is none at all." in refused("delete", "report-1", "--yes")
