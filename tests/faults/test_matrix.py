"""What happens to a function, one fault after the other, with the built layer in it.

Each fault meets an invocation of a chat that has already kept one exchange. The table says what its
caller sees; afterwards a new invocation must work, and see whatever was acknowledged before.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from faults.chats import Chat, stored_turns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.conftest import Service, Start


class Row(NamedTuple):
    """One fault."""

    event: dict[str, str]
    error: str | None
    """What the caller sees: None for an answer, "handler" for the handler's own error."""
    keeps: int
    """How many exchanges the next invocation finds."""


ROWS = {
    "handler raises before the answer": Row({"before": "raise"}, "ValueError", 1),
    "handler raises after the answer": Row({"after": "raise"}, "ValueError", 2),
    "runtime exits before the answer": Row({"before": "exit"}, "Runtime.ExitError", 1),
    "runtime exits after the answer": Row({"after": "exit"}, "Runtime.ExitError", 2),
    "runtime is killed before the answer": Row({"before": "killed"}, "Runtime.ExitError", 1),
    "runtime is killed after the answer": Row({"after": "killed"}, "Runtime.ExitError", 2),
    "timeout before the answer": Row({"before": "hang"}, "Sandbox.Timedout", 1),
    "timeout after the answer": Row({"after": "hang"}, "Sandbox.Timedout", 2),
    "timeout, and SIGTERM is ignored": Row({"before": "stubborn"}, "Sandbox.Timedout", 1),
    "init fails after a crash": Row({"before": "fail the next init"}, "Runtime.ExitError", 1),
    "function closes its output": Row({"after": "silent"}, None, 2),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_caller_is_told_and_the_next_invocation_works(
    start: Callable[..., Any], host: Start, name: str
) -> None:
    row = ROWS[name]
    with start() as environment:
        chat = Chat(environment, f"{host.name}: {name}")
        assert chat.heard() == "Heard 1."
        failed = chat.say("Lost?", **row.event)
        assert failed.error_type == row.error
        if row.event.get("before") == "fail the next init":
            assert chat.say().error_type is not None

        assert chat.heard() == f"Heard {row.keeps + 1}."
        assert chat.heard() == f"Heard {row.keeps + 2}."


@pytest.mark.parametrize("moment", ["between", "in an invocation"])
def test_a_killed_launcher_is_a_crash_of_the_extension_and_the_next_invocation_works(
    start: Callable[..., Any], host: Start, moment: str
) -> None:
    """Lambda's rule: an extension that ends fails the invocation; what is left is to recover."""
    with start() as environment:
        chat = Chat(environment, f"{host.name}: launcher killed {moment}")
        assert chat.heard() == "Heard 1."
        launcher = environment.pids["lambdallm"]
        if moment == "between":
            os.killpg(launcher, signal.SIGKILL)
            failed = chat.say()
        else:
            threading.Timer(0.3, os.killpg, (launcher, signal.SIGKILL)).start()
            failed = chat.say(before="wait")
        assert failed.error_type == "Extension.Crash"

        assert chat.heard() in ("Heard 2.", "Heard 3.")


def test_every_start_of_the_sidecar_may_be_killed(start: Callable[..., Any], host: Start) -> None:
    """Each life loses its sidecar; the launcher holds, and the embedded engine serves."""
    with start() as environment:
        chat = Chat(environment, f"{host.name}: sidecar killed again and again")
        for life in range(3):
            assert chat.heard() == f"Heard {2 * life + 1}."
            os.kill(chat.sidecar(), signal.SIGKILL)
            assert chat.heard() == f"Heard {2 * life + 2}."
            environment.shutdown()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe garbage", b"2772 00", b"x" * 100_000])
def test_files_of_an_earlier_life_do_no_harm(
    start_ours: Callable[..., Any], tmp_path: Path, content: bytes
) -> None:
    directory = tmp_path / "tmp"
    (directory / "lambdallm").mkdir(parents=True, mode=0o700)
    for name in ("token", "running", "starting", "token.1"):
        (directory / "lambdallm" / name).write_bytes(content)
    with start_ours(directory=directory) as environment:
        chat = Chat(environment, f"stale {content[:9]!r}")

        assert [chat.heard() for _ in range(3)] == ["Heard 1.", "Heard 2.", "Heard 3."]


def test_two_environments_write_one_session_at_once(
    start: Callable[..., Any], host: Start, dynamodb: Service
) -> None:
    with start() as one, start() as other:
        chats = [Chat(environment, f"{host.name}: shared") for environment in (one, other)]
        failures: list[str] = []

        def talk(chat: Chat) -> None:
            failures.extend(
                invocation.payload.decode()
                for invocation in (chat.say() for _ in range(10))
                if invocation.error_type
            )

        threads = [threading.Thread(target=talk, args=(chat,)) for chat in chats]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    assert stored_turns(dynamodb, f"{host.name}: shared") == ["user", "assistant"] * 20
