"""Who looks after runs sees them all, stops them, and finishes what waits, once."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.clocks import HandClock
from fakes.faulty_store import FaultyStore
from fakes.open_runs import PK, RUN_ID, Model, Owner, done
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Item, Key, Put
from lambdallm_extension.stores.memory import MemoryStore

WAIT = {"step": "ok", "kind": "approval", "message": "May it?", "secret": "s3cret"}


class Bench:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.inner = MemoryStore(self.clock)
        self.store = FaultyStore(self.inner)
        self.owner = Owner(self.store, self.clock, Model(), reading=self.inner)

    def wait(self, **more: Any) -> None:
        run, _ = self.owner.open(ttl_seconds=3_600)
        run.close("waiting", [], waits=[{**WAIT, **more}])  # type: ignore[list-item]

    def finish(self, output: str = '"yes"', **more: Any) -> str:
        message: Any = {"run_id": RUN_ID, "step": "ok", "output": output, "secret": "s3cret"}
        return str(self.owner.archive().finish({**message, **more})["outcome"])


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_waits_is_finished_once(bench: Bench) -> None:
    bench.wait()

    assert [bench.finish('"yes"'), bench.finish('"no"')] == ["finished", "already"]

    opened = bench.owner.open()[1]
    assert [(step["key"], step["output"]) for step in opened["steps"]] == [("ok", '"yes"')]


def test_an_answer_whose_acknowledgement_is_lost_counts_once(bench: Bench) -> None:
    bench.wait()
    bench.store.plan = ["", "", "lost"]

    assert bench.finish() == "finished"
    head = bench.inner.get(Key(PK, keys.HEAD), deadline_ms=0)
    assert head is not None
    assert head.attributes["steps"] == 1


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({"secret": "other"}, "unknown"),
        ({"secret": ""}, "unknown"),
        ({"step": "other"}, "unknown"),
        ({"run_id": "other"}, "unknown"),
        ({"owner": "somebody"}, "unknown"),
    ],
)
def test_who_does_not_know_the_token_finishes_nothing(
    bench: Bench, said: dict[str, str], outcome: str
) -> None:
    bench.wait()

    assert bench.finish(**said) == outcome
    assert bench.owner.read()["steps"] == []


def test_nothing_is_finished_too_late(bench: Bench) -> None:
    bench.wait(expires_epoch_ms=bench.clock.now_ms + 5_000)
    bench.clock.now_ms += 5_000

    assert bench.finish() == "expired"


def test_nothing_of_a_stopped_run_is_finished(bench: Bench) -> None:
    bench.wait()
    bench.owner.archive().stop(RUN_ID, "", "no")

    assert bench.finish() == "expired"


def test_a_token_of_an_earlier_run_of_the_id_finishes_nothing(bench: Bench) -> None:
    bench.wait()
    assert bench.finish() == "finished"
    bench.clock.now_ms += 3_700_000
    bench.owner.open(ttl_seconds=3_600)

    assert bench.finish() == "unknown"


def test_what_an_earlier_run_has_finished_is_finished_anew(bench: Bench) -> None:
    bench.wait()
    assert bench.finish('"old"') == "finished"
    bench.clock.now_ms += 3_700_000
    bench.wait()

    assert bench.finish('"new"') == "finished"
    assert [step["output"] for step in bench.owner.open()[1]["steps"]] == ['"new"']


def test_a_stop_is_the_last_word_but_on_what_is_completed(bench: Bench) -> None:
    run, _ = bench.owner.open()
    archive = bench.owner.archive()
    assert archive.stop("nobody", "", "")["found"] is False
    assert archive.stop(RUN_ID, "", "too dear") == {"found": True, "status": "stopped"}

    with pytest.raises(errors.RunLostError, match="was stopped: too dear"):
        run.close("completed", [done("a")])
    run.release()
    assert bench.owner.open()[1]["status"] == "stopped"


def test_one_unreadable_run_does_not_hide_the_others(bench: Bench) -> None:
    bench.owner.open()
    newer = Item(Key(keys.run_pk("newer", "me"), keys.HEAD), {"schema": 9})
    bench.inner.put_if(Put(newer), deadline_ms=0)

    listed = Owner(bench.inner, bench.clock, Model()).archive().page("")["runs"]

    runs = {run["run_id"]: run for run in listed}
    assert runs[RUN_ID]["status"] == "running"
    assert (runs["newer"]["owner"], runs["newer"]["status"]) == ("me", "failed")
    assert "Update the layer" in runs["newer"]["error"]
