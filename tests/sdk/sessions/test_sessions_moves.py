"""`lambdallm sessions move`, as a process among others that use the store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fakes.session_commands import OWNER, close, listed, ran, run, say
from fakes.waiting import until
from lambdallm import LambdaLLMError, Session

TO = "lambda:bob"

ONE_BY_ONE = pytest.mark.parametrize("store", ["sqlite", "redis"], indirect=True)
"""Moto's server fails where a transaction comes while it answers another one."""


def texts(store: str, session_id: str, owner: str) -> list[str]:
    shown = run("show", session_id, "--owner", owner, "--store", store, "--json")
    if shown.exit_code == 1:
        return []
    return [turn["content"] for turn in json.loads(shown.stdout)["turns"]]


def start(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lambdallm_cli", "sessions", *arguments, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_session_may_be_given_to_an_owner(store: str) -> None:
    moved = run("move", "bob", "--to", TO, "--store", store)
    assert (moved.exit_code, moved.stdout) == (0, f"bob belongs to {TO!r} now.\n")
    assert ("bob", TO) in listed(store)
    assert ("bob", "") not in listed(store)
    assert ran("move", "bob", "--to", TO, "--store", store)["outcome"] == "moved", "twice"

    there = run("move", "ada", "--to", OWNER, "--store", store, "--json")
    assert (there.exit_code, json.loads(there.stdout)["outcome"]) == (1, "exists")
    assert "already" in there.stderr
    assert run("move", "ada", "--to", "", "--store", store).exit_code == 2
    missing = run("move", "bobb", "--to", "x", "--store", store, "--json")
    assert (missing.exit_code, json.loads(missing.stdout)["outcome"]) == (1, "absent")
    assert f"There is bob --owner {TO!r}" in missing.stderr
    assert len(listed(store)) == 3
    assert run("move", "bob", "--owner", TO, "--to", "", "--store", store).exit_code == 0
    assert texts(store, "bob", "") == ["Hello", "Hi Bob!"]


@ONE_BY_ONE
def test_whatever_is_acknowledged_while_it_is_moved_is_there_once(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDALLM_STORE", store)
    acknowledged: list[str] = []
    refused: list[LambdaLLMError] = []
    over = threading.Event()

    def write(number: int) -> None:
        count = 0
        while not over.is_set():
            count += 1
            said = [f"{number}-{count} asks", f"{number}-{count} hears"]
            try:
                say("bob", "", *said)
            except LambdaLLMError as error:
                refused.append(error)
            else:
                acknowledged.extend(said)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    until(lambda: len(acknowledged) > 6)
    moved = run("move", "bob", "--to", TO, "--store", store)
    before = len(acknowledged)
    until(lambda: len(acknowledged) > before + 6)
    over.set()
    for writer in writers:
        writer.join()
    close()

    assert moved.exit_code == 0, moved.output
    found = [*texts(store, "bob", TO), *texts(store, "bob", "")]
    assert len(set(found)) == len(found)
    assert set(acknowledged) <= set(found)
    assert [error for error in refused if not error.retryable] == []


@ONE_BY_ONE
def test_two_at_once_give_it_to_one_of_them(store: str) -> None:
    whole = texts(store, "bob", "")
    moves = {
        owner: start("move", "bob", "--to", owner, "--store", store) for owner in (TO, "lambda:eve")
    }
    codes = {owner: (move.communicate(), move.returncode)[1] for owner, move in moves.items()}

    assert sorted(codes.values()) == [0, 1]
    (mine,) = [owner for owner, code in codes.items() if code == 0]
    (other,) = [owner for owner, code in codes.items() if code == 1]
    assert (texts(store, "bob", mine), texts(store, "bob", other)) == (whole, [])
    assert texts(store, "bob", "") == []


def sealed(store: str) -> list[dict[str, Any]]:
    return [each for each in ran("list", "--store", store)["sessions"] if "fault" in each]


def test_a_move_that_was_killed_is_seen_and_ended_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = f"sqlite:///{tmp_path}/large.db"
    monkeypatch.setenv("LAMBDALLM_STORE", store)
    for number in range(8):
        say("big", "", f"{number}" + "x" * 1_500_000, "y" * 700_000)
    close()
    monkeypatch.delenv("LAMBDALLM_STORE")
    whole = texts(store, "big", "")

    killed = start("move", "big", "--to", TO, "--store", store)
    until(lambda: len(sealed(store)) == 2)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()

    found = run("list", "--store", store)
    assert f"It is being moved to {TO}" in found.stdout
    refused = run("show", "big", "--store", store)
    assert (refused.exit_code, "another owner" in refused.stderr) == (3, True)
    elsewhere = run("move", "big", "--to", "lambda:eve", "--store", store)
    assert (elsewhere.exit_code, repr(TO) in elsewhere.stderr) == (1, True)
    assert run("export", str(tmp_path / "a.jsonl"), "--store", store).exit_code == 3

    assert ran("move", "big", "--to", TO, "--store", store)["outcome"] == "moved"

    assert texts(store, "big", TO) == whole
    assert listed(store) == [("big", TO)]


def test_what_waits_for_one_that_does_not_come_waits_no_more(store: str) -> None:
    with Session(store=store).load("bob", owner=TO) as session:
        session.add_message("user", "mine")
        session.add_message("assistant", "yes")
    close()

    assert run("move", "bob", "--to", TO, "--store", store).exit_code == 1

    assert texts(store, "bob", TO) == ["mine", "yes"]
    assert texts(store, "bob", "") == ["Hello", "Hi Bob!"]
    assert sealed(store) == []
