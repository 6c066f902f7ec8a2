"""The machine itself gives out: no file descriptors, threads or memory, and a log that is full."""

from __future__ import annotations

import resource
import time
from shutil import copytree
from typing import TYPE_CHECKING, Any

import pytest

from faults.chats import FUNCTION, Chat
from faults.processes import NoThreads, why_no_limit_of_threads
from lambda_runtime_api.emulator.confinement import why_no_cpu_share

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.conftest import Start


def test_a_sidecar_without_file_descriptors_is_done_without(
    start_ours: Callable[..., Any],
) -> None:
    with start_ours() as environment:
        chat = Chat(environment, "no descriptors")
        assert chat.heard() == "Heard 1."
        soft, hard = resource.prlimit(chat.sidecar(), resource.RLIMIT_NOFILE)
        resource.prlimit(chat.sidecar(), resource.RLIMIT_NOFILE, (3, hard))
        assert [chat.heard() for _ in range(3)] == ["Heard 2.", "Heard 3.", "Heard 4."]
        resource.prlimit(chat.sidecar(), resource.RLIMIT_NOFILE, (soft, hard))

        assert chat.heard() == "Heard 5."


@pytest.mark.parametrize("since", ["the first invocation", "its start"])
def test_a_sidecar_that_may_start_no_thread_is_done_without(
    start_ours: Callable[..., Any], since: str
) -> None:
    if why_no_limit_of_threads():
        pytest.skip(why_no_limit_of_threads())
    with start_ours(timeout_seconds=5) as environment:
        chat = Chat(environment, f"no threads since {since}")
        environment.initialise()
        said = 0
        if since == "the first invocation":
            assert chat.heard() == "Heard 1."
            said = 1
        with NoThreads(chat.sidecar()):
            assert [chat.heard() for _ in range(3)] == [f"Heard {said + n}." for n in (1, 2, 3)]

        assert chat.heard() == f"Heard {said + 4}."


def test_memory_that_runs_out_ends_one_process_and_the_next_invocation_works(
    start_ours: Callable[..., Any],
) -> None:
    if why_no_cpu_share():
        pytest.skip(why_no_cpu_share())
    with start_ours(memory_mb=128, memory_limit=True, timeout_seconds=5) as environment:
        chat = Chat(environment, "out of memory")
        assert chat.heard() == "Heard 1."
        assert chat.say(before="eat").error_type in ("Runtime.ExitError", "Extension.Crash")

        begun = time.monotonic()
        while (heard := chat.say()).error_type and time.monotonic() - begun < 10:
            pass
        assert heard.error_type is None


@pytest.mark.parametrize("output", ["/dev/full", "&-"], ids=["full", "closed"])
def test_a_log_that_takes_nothing_fails_no_invocation(
    host: Start, layer: Path, chat_variables: dict[str, str], tmp_path: Path, output: str
) -> None:
    broken = copytree(layer, tmp_path / "opt")
    launcher = broken / "extensions" / "lambdallm"
    said = launcher.read_text()
    assert "\nLC_ALL=C" in said
    launcher.write_text(said.replace("\nLC_ALL=C", f"\nexec >{output} 2>{output}\nLC_ALL=C", 1))
    variables = {**chat_variables, "LAMBDALLM_MODEL": "scripted/echo"}
    with host({"app.py": FUNCTION}, "app.chat", opt=broken, variables=variables) as environment:
        chat = Chat(environment, f"{host.name}: log {output}")

        assert [chat.say().error_type for _ in range(4)] == [None] * 4
        assert chat.sidecar()
