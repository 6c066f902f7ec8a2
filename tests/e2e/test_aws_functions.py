"""The functions of the run in a real account, in the emulators first."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from e2e.conftest import Service, Start

REPOSITORY = Path(__file__).resolve().parents[2]
FUNCTIONS = REPOSITORY / "benchmarks" / "aws" / "functions"


@pytest.fixture
def variables(dynamodb: Service) -> dict[str, str]:
    return {
        "LAMBDALLM_STORE": f"dynamodb://{dynamodb.table}",
        "LAMBDALLM_MODEL": "scripted/echo",
        "TWIN_TABLE": dynamodb.table,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
    }


def test_turns_are_remembered_and_the_twin_does_the_same(
    host: Start, layer: Path, variables: dict[str, str]
) -> None:
    session = {"session_id": f"aws-{host.name}", "message": "Hello"}
    with host(FUNCTIONS, "app.turn", opt=layer, variables=variables) as ours:
        assert ours.invoke(session).json() == {"answer": "You said: Hello", "turns": 2}
        assert ours.invoke(session).json() == {"answer": "You said: Hello", "turns": 4}
    with host(FUNCTIONS, "app.twin", variables=variables) as theirs:
        assert [theirs.invoke(session).json() for _ in range(2)] == [{"turns": 2}, {"turns": 4}]


def test_the_environment_answers_every_question(host: Start, layer: Path) -> None:
    questions = ["clocks", "peer", "processes", "bash", "started", "probe", "memory_kb"]
    with host(FUNCTIONS, "app.ask", opt=layer) as environment:
        answers: Any = environment.invoke({"questions": questions}).json()

    assert answers["peer"] is True
    assert "version" in answers["bash"]
    assert answers["probe"] == {}
    assert any("lambdallm" in process["command"] for process in answers["processes"])


def test_the_life_after_sigterm_is_noted(host: Start, layer: Path) -> None:
    with host(FUNCTIONS, "app.sigterm", opt=layer, timeout_seconds=2) as environment:
        assert environment.invoke({}).error_type is None  # its start takes none of the next's time
        assert environment.invoke({"hang": True}).error_type == "Sandbox.Timedout"
        noted: Any = environment.invoke({}).json()

    assert noted
    assert float(noted[-1]) >= float(noted[0])


HURRIED = """
import time

sleep = time.sleep
time.sleep = lambda seconds: sleep(seconds / 50)

from streaming import stream
"""


def hurried() -> dict[str, str]:
    return {"streaming.py": (FUNCTIONS / "streaming.py").read_text(), "hurried.py": HURRIED}


def test_a_plain_function_posts_its_chunks_and_the_next_invocation_works(
    host: Start, layer: Path
) -> None:
    with host(hurried(), "hurried.stream", opt=layer, timeout_seconds=10) as environment:
        for _ in range(2):
            chunks = environment.invoke({}).payload.split(b"\n")
            assert [chunk[:1] for chunk in chunks] == [b"0", b"1", b"2", b"3", b"4", b""]


def test_a_stream_that_is_to_fail_tells_of_it(emulator: Start, layer: Path) -> None:
    with emulator(hurried(), "hurried.stream", opt=layer, timeout_seconds=10) as environment:
        stream = environment.invoke_stream({"fail": True})
        chunks = list(stream)

    assert len(chunks) == 3
    assert stream.error is not None
    assert stream.error.error_type == "LookupError"


def test_the_probe_is_an_extension_beside_ours(
    both: tuple[Start, Start], layer: Path, tmp_path: Path
) -> None:
    _, aws = both  # ours has no /var/lang, where the probe's Python is
    opt = tmp_path / "opt"
    shutil.copytree(layer, opt)
    shutil.copy2(REPOSITORY / "benchmarks/aws/probe/extensions/probe", opt / "extensions" / "probe")
    with aws(FUNCTIONS, "app.ask", opt=opt) as environment:
        first = environment.invoke({"questions": ["started"]})
        second = environment.invoke({"questions": ["started"]})

    assert (first.error_type, second.error_type) == (None, None)
