"""The sidecar is killed, stands still or ends, at each moment of an environment's life."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from shutil import copytree
from typing import TYPE_CHECKING, Any

import pytest

from faults.chats import Chat, stored_turns
from faults.processes import sidecar_pid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.conftest import Service, Start


def at_its_start(environment: Any, happen: Callable[[int], object]) -> threading.Thread:
    """Let something happen to the sidecar as soon as there is one."""

    def watch() -> None:
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            with suppress(OSError):  # a process of the start has ended while it was looked at
                launcher = environment.pids.get("lambdallm")
                pid = sidecar_pid(launcher) if launcher else None
                if pid:
                    happen(pid)
                    return

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.parametrize("which", ["sidecar", "launcher and sidecar"])
def test_killed_in_init(start: Callable[..., Any], host: Start, which: str) -> None:
    """Without the launcher Lambda fails the Init phase, and repeats it in the invocation."""
    with start(timeout_seconds=5) as environment:
        chat = Chat(environment, f"{host.name}: {which} killed in init")

        def kill(pid: int) -> None:
            if which == "sidecar":
                os.kill(pid, signal.SIGKILL)
            else:
                os.killpg(environment.pids["lambdallm"], signal.SIGKILL)

        watching = at_its_start(environment, kill)
        first = chat.say()
        watching.join()
        said = 1 if first.error_type is None else 0
        assert said or (which != "sidecar" and "Extension" in str(first.error_type))

        assert chat.heard() == f"Heard {said + 1}."
        assert chat.heard() == f"Heard {said + 2}."


def test_standing_still_in_init(start_ours: Callable[..., Any]) -> None:
    """The Init phase runs into its limit, and is repeated in the invocation."""
    with start_ours(init_seconds=0.5, timeout_seconds=5) as environment:
        chat = Chat(environment, "stands still in init")
        watching = at_its_start(environment, lambda pid: os.kill(pid, signal.SIGSTOP))
        first = chat.say()
        watching.join()
        said = 1 if first.error_type is None else 0

        assert chat.heard() == f"Heard {said + 1}."
        assert chat.heard() == f"Heard {said + 2}."


@pytest.mark.parametrize("moment", ["between", "in an invocation"])
def test_standing_still_for_good(
    start_ours: Callable[..., Any], dynamodb: Service, moment: str
) -> None:
    """The caller gets its answer. Lambda then waits for `/next` until the timeout, and resets."""
    session = f"stands still {moment}"
    with start_ours(timeout_seconds=3) as environment:
        chat = Chat(environment, session)
        assert chat.heard() == "Heard 1."
        stop = threading.Timer(0.3, os.kill, (chat.sidecar(), signal.SIGSTOP))
        if moment == "between":
            os.kill(chat.sidecar(), signal.SIGSTOP)
            answer = environment.invoke({"session_id": session, "say": "Hello"})
        else:
            stop.start()
            answer = environment.invoke({"session_id": session, "say": "Hello", "before": "wait"})
        assert answer.error_type is None, (answer.payload, answer.logs)
        assert stored_turns(dynamodb, session) == ["user", "assistant"] * 2
        environment.wait_until_idle()

        assert chat.heard() == "Heard 3."
        assert chat.heard() == "Heard 4."


@pytest.mark.parametrize("moment", ["between", "in an invocation"])
def test_standing_still_for_a_moment(start: Callable[..., Any], host: Start, moment: str) -> None:
    with start() as environment:
        chat = Chat(environment, f"{host.name}: stands still a moment {moment}")
        assert chat.heard() == "Heard 1."
        sidecar = chat.sidecar()
        stop = threading.Timer(
            0.0 if moment == "between" else 0.2, os.kill, (sidecar, signal.SIGSTOP)
        )
        go_on = threading.Timer(0.6, os.kill, (sidecar, signal.SIGCONT))
        for timer in (stop, go_on):
            timer.start()
        if moment == "between":
            stop.join()
        answer = chat.say(**({"before": "wait"} if moment != "between" else {}))
        go_on.join()
        assert answer.error_type is None, (answer.payload, answer.logs)

        assert chat.heard() == "Heard 3."


def test_ending_with_status_0(
    host: Start, layer: Path, chat_variables: dict[str, str], tmp_path: Path
) -> None:
    """An extension that exits, with 0 too, fails every invocation: the launcher stays instead."""
    broken = copytree(layer, tmp_path / "opt")
    main = broken / "lambdallm" / "main.py"
    main.write_text("import sys\nsys.exit(0)\n")
    with host(
        {"app.py": "def chat(event, context): return 'fine'"}, "app.chat", opt=broken,
        variables=chat_variables,
    ) as environment:  # fmt: skip
        answers = [environment.invoke(None) for _ in range(3)]

    assert [(answer.error_type, answer.json()) for answer in answers] == [(None, "fine")] * 3


def test_after_a_reset_the_sidecar_serves_again(start: Callable[..., Any], host: Start) -> None:
    """The first invocation is part of the start, and the embedded engine serves it."""
    with start(timeout_seconds=1) as environment:
        chat = Chat(environment, f"{host.name}: after a reset")
        assert served_by(chat.say()) == "extension"
        assert chat.say(before="hang").error_type == "Sandbox.Timedout"
        assert served_by(chat.say()) != "extension"

        give_up = time.monotonic() + 10
        while served_by(chat.say()) != "extension":
            assert time.monotonic() < give_up


def served_by(invocation: Any) -> str:
    """Say who printed the invocation's metric line."""
    assert invocation.error_type is None, (invocation.payload, invocation.logs)
    lines = [line.source for line in invocation.logs if '"outcome"' in line.text]
    return lines[0] if lines else "nobody"
