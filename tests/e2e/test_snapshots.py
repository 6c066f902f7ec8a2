"""SnapStart: two clones of one snapshot share no id, token or connection.

Both run the same Init: whatever they make of chance or the wall clock there is equal in both, and
would be equal afterwards if it were kept.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from e2e.chats import post
from e2e.recording_table import Heard, RecordingTable, recording

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.conftest import Service, Start
    from lambda_runtime_api.emulator import Environment
    from lambdallm.testing.model_server import ModelServer

ROUNDS = 3

APP = """
import os, uuid
from lambdallm import MemoryStrategy, Session, handler

MADE_IN_INIT = uuid.uuid4().hex

@handler(session=Session(store="dynamodb", ttl_hours=1, memory=MemoryStrategy.FULL_HISTORY))
def chat(event, context):
    session = context.session
    session.add_message("user", event["body"]["message"])
    answer = context.invoke(session.format_history())
    session.add_message("assistant", answer)
    said = [turn["content"] for turn in session.get_history() if turn["role"] == "user"]
    return {"made_in_init": MADE_IN_INIT, "said": said}
"""

PRIMING = """
import time

class Primed:
    aws_request_id = "primed-in-init"
    @staticmethod
    def get_remaining_time_in_millis():
        return 60_000

@handler()
def prime(event, context):
    return context.invoke("warm up")

while not os.path.exists(os.environ["LAMBDALLM_DIRECTORY"] + "/token"):
    time.sleep(0.005)  # the sidecar starts beside the function
prime({}, Primed)
"""
"""A handler called in Init, as is recommended for SnapStart: all is open at the snapshot."""


@pytest.fixture
def table(dynamodb: Service) -> Iterator[RecordingTable]:
    with recording(dynamodb.url) as server:
        yield server


@pytest.fixture
def clones(
    emulator: Start,
    layer: Path,
    table: RecordingTable,
    chat_variables: dict[str, str],
    request: pytest.FixtureRequest,
    one_snapshot: None,
) -> Iterator[tuple[Environment, Environment]]:
    """Two environments that stand at one and the same snapshot."""
    variables = {**chat_variables, "AWS_ENDPOINT_URL_DYNAMODB": table.url}
    variables |= getattr(request, "param", {}).get("variables", {})
    files = {"app.py": APP + getattr(request, "param", {}).get("more", "")}
    with ExitStack() as stack:
        pair = [
            stack.enter_context(
                emulator(
                    files,
                    "app.chat",
                    opt=layer,
                    variables=variables,
                    timeout_seconds=20,
                    snap_start=True,
                )
            )
            for _ in range(2)
        ]
        for clone in pair:
            clone.initialise()
        yield pair[0], pair[1]


primed = pytest.mark.parametrize(
    "clones", [pytest.param({}, id="plain"), pytest.param({"more": PRIMING}, id="primed")],
    indirect=True,
)  # fmt: skip


def token_of(clone: Environment) -> str:
    return (clone.directory / "lambdallm/token").read_text().split()[1]


def talk(clone: Environment, name: str) -> list[Any]:
    answers = []
    for number in range(ROUNDS):
        answer: Any = clone.invoke(post(name, f"{name}-{number}")).json()
        assert answer.get("statusCode") == 200, (answer, clone.logs)
        answers.append(json.loads(answer["body"]))
    clone.wait_until_idle()
    return answers


def talk_at_once(clones: tuple[Environment, Environment]) -> dict[str, list[Any]]:
    names = [uuid4().hex, uuid4().hex]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(names, pool.map(talk, clones, names), strict=True))


def environment_ids(clone: Environment, *, in_init: bool = False) -> set[str]:
    """Read them off the metric lines of what came before the snapshot, or after the restore."""
    reports = [json.loads(line.text) for line in clone.logs if line.text.startswith("{")]
    return {
        report["environmentId"]
        for report in reports
        if "requestId" in report and (report["requestId"] == "primed-in-init") is in_init
    }


def strings_under(value: Any, name: str) -> list[str]:
    """Find all strings under a name, anywhere in a request."""
    if isinstance(value, list):
        return [found for item in value for found in strings_under(item, name)]
    if not isinstance(value, dict):
        return []
    own = value.get(name)
    text = next(iter(own.values())) if isinstance(own, dict) and len(own) == 1 else own
    found = [text] if isinstance(text, str) else []
    return found + [each for item in value.values() for each in strings_under(item, name)]


def heard_from(clone: Environment, heard: list[Heard]) -> list[Heard]:
    assert clone.snapshot is not None
    return [request for request in heard if request.key_id == clone.snapshot.key_id]


@primed
def test_clones_share_nothing(
    clones: tuple[Environment, Environment], table: RecordingTable, model_server: ModelServer
) -> None:
    before, connections = len(table.heard), table.connections
    tokens = [token_of(clone) for clone in clones]
    assert tokens[0] == tokens[1]  # Init was the same: what is kept of it would be seen

    answers = talk_at_once(clones)

    assert len({answer["made_in_init"] for said in answers.values() for answer in said}) == 1
    for name, said in answers.items():
        assert said[-1]["said"] == [f"{name}-{number}" for number in range(ROUNDS)]
    assert len({*tokens, *map(token_of, clones)}) == 3
    ids = [environment_ids(clone) for clone in clones]
    assert [len(each) for each in ids] == [1, 1]
    assert ids[0] != ids[1]
    after = table.heard[before:]
    assert all(request.connection > connections for request in after)
    mine, theirs = (heard_from(clone, after) for clone in clones)
    assert len(mine) + len(theirs) == len(after)  # nobody used credentials of Init
    assert not {each.connection for each in mine} & {each.connection for each in theirs}
    for name in ("ClientRequestToken", "put_id", "writer", "environment", "pk"):
        ours = {found for each in mine for found in strings_under(each.body, name)}
        others = {found for each in theirs for found in strings_under(each.body, name)}
        shared = {each for each in ours & others if not each.startswith("SPEND#")}
        assert not shared, name  # a day's partition is everybody's, with an item for each
        assert ours or name in ("put_id", "writer"), name


@primed
def test_the_model_sees_credentials_of_after_the_restore(
    clones: tuple[Environment, Environment], model_server: ModelServer
) -> None:
    before = len(model_server.requests)

    talk_at_once(clones)

    used = {
        request.headers["authorization"].partition("Credential=")[2].partition("/")[0]
        for request in model_server.requests[before:]
    }
    assert used == {clone.snapshot.key_id for clone in clones if clone.snapshot}
    assert len(used) == 2


def test_nothing_remote_is_asked_in_init(
    clones: tuple[Environment, Environment], table: RecordingTable, model_server: ModelServer
) -> None:
    assert table.connections == 0
    assert model_server.requests == []


@pytest.mark.parametrize(
    "clones",
    [{"variables": {"LAMBDALLM_SIDECAR": "off"}, "more": PRIMING}],
    ids=["embedded"],
    indirect=True,
)
def test_engines_in_the_function_are_renewed_too(
    clones: tuple[Environment, Environment], table: RecordingTable
) -> None:
    before, connections = len(table.heard), table.connections
    first, second = (environment_ids(clone, in_init=True) for clone in clones)
    assert first == second != set()

    talk_at_once(clones)

    ids = [environment_ids(clone) for clone in clones]
    assert [len(each) for each in ids] == [1, 1]
    assert ids[0] != ids[1]
    after = table.heard[before:]
    assert all(request.connection > connections for request in after)
    assert {each.key_id for each in after} == {
        clone.snapshot.key_id for clone in clones if clone.snapshot
    }


@pytest.mark.parametrize(
    "clones",
    [{"more": "\nimport snapshot_restore_py\nsnapshot_restore_py._after_restore_registry.clear()"}],
    ids=["no hook"],
    indirect=True,
)
def test_without_the_hook_invoke_renews(
    clones: tuple[Environment, Environment], table: RecordingTable
) -> None:
    in_init = token_of(clones[0])

    talk_at_once(clones)

    assert len({in_init, *map(token_of, clones)}) == 3
    ids = [environment_ids(clone) for clone in clones]
    assert ids[0] != ids[1]
