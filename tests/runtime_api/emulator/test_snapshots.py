"""Clones of a snapshot in the emulator: one Init, two worlds afterwards; AWS's runtime client."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from fakes.lives import new_life, refusal
from lambda_runtime_api.emulator import Environment
from lambda_runtime_api.emulator.snapshots import (
    INIT_EPOCH_SECONDS,
    SnapshotUnavailableError,
    same_world,
)

if TYPE_CHECKING:
    from pathlib import Path

APP = """
import os, time, urllib.request, uuid
import snapshot_restore_py

calls = []
snapshot_restore_py.register_before_snapshot(calls.append, "before")
snapshot_restore_py.register_after_restore(calls.append, "after")

def look():
    request = urllib.request.Request(
        os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
        headers={"authorization": os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]},
    )
    return {"id": uuid.uuid4().hex, "time": time.time(),
            "credentials": urllib.request.urlopen(request).read().decode()}

IN_INIT = look()

def handler(event, context):
    return {"init": IN_INIT, "now": look(), "calls": calls,
            "static": os.environ.get("AWS_ACCESS_KEY_ID"),
            "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]}
"""


@pytest.fixture(autouse=True)
def _needs_a_compiler() -> None:
    try:
        same_world()
    except SnapshotUnavailableError as error:
        pytest.skip(str(error))


def clone(tmp_path: Path, text: str = APP) -> Environment:
    (tmp_path / "app.py").write_text(text)
    return Environment(tmp_path, "app.handler", timeout_seconds=20, snap_start=True)


def test_init_is_the_same_and_what_follows_is_not(tmp_path: Path) -> None:
    with clone(tmp_path) as first, clone(tmp_path) as second:
        for each in (first, second):
            each.initialise()
            assert each.snapshot is not None
            assert not each.snapshot.restored
        seen = [each.invoke({}).json() for each in (first, second)]

    one, two = seen
    assert isinstance(one, dict)
    assert isinstance(two, dict)
    assert one["init"] == two["init"] | {"credentials": one["init"]["credentials"]}
    assert one["init"]["time"] == INIT_EPOCH_SECONDS
    assert one["now"]["id"] != two["now"]["id"]
    assert one["now"]["time"] > INIT_EPOCH_SECONDS + 86_400
    key_ids = [
        json.loads(answer[when]["credentials"])["AccessKeyId"]
        for answer in (one, two) for when in ("init", "now")
    ]  # fmt: skip
    assert key_ids[0] == key_ids[2]
    assert len(set(key_ids)) == 3
    assert one["calls"] == ["before", "after"]
    assert one["static"] is None
    assert one["type"] == "snap-start"


def test_the_first_invocation_initialises_where_nobody_has(tmp_path: Path) -> None:
    with clone(tmp_path) as environment:
        first, second = environment.invoke({}), environment.invoke({})

    assert first.cold
    assert not second.cold
    assert [answer.error_type for answer in (first, second)] == [None, None]


def test_a_hook_that_fails_is_a_fault_of_the_restore(tmp_path: Path) -> None:
    broken = APP + "\nsnapshot_restore_py.register_after_restore(lambda: 1 / 0)\n"
    with clone(tmp_path, broken) as environment:
        environment.initialise()
        answer = environment.invoke({})

    assert answer.error_type == "ZeroDivisionError"


def test_credentials_need_the_token(tmp_path: Path) -> None:
    with clone(tmp_path) as environment:
        environment.initialise()
        assert environment.snapshot is not None
        url = environment.snapshot.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url)
        refused.value.close()

    assert refused.value.code == 401


def test_the_runtime_waits_between_init_and_restore() -> None:
    life = new_life()
    life.runtime_restore_next()

    assert life.before_snapshot
    assert not life.initialised
    assert refusal(life.runtime_next)[1] == "InvalidStateTransition"

    life.restore()
    life.runtime_next()

    assert life.initialised


def test_a_restore_comes_after_a_snapshot() -> None:
    life = new_life()

    assert refusal(life.restore)[0] == 403
    assert refusal(life.runtime_restore_error, "Runtime.Unknown", b"")[0] == 403
