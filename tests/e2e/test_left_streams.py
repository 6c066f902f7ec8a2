"""Streamed answers whose reader goes away, or stands still: beside the built layer."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from e2e.chats import lines_with
from e2e.streamed import PIECES, event, parted, read_until, start
from fakes.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Start
    from lambda_runtime_api.emulator import Environment


def leave(environment: Environment, session: str, *, interrupt: bool) -> None:
    """Read an answer's first piece, go away, and wait until its call is in the books."""
    stream = environment.invoke_stream(event(session=session))
    read_until(stream, b"piece ")
    stream.close(interrupt=interrupt)
    until(lambda: sums_of(environment, "Calls") == [1])


def sums_of(environment: Any, *names: str) -> list[int]:
    """What was booked so far: a call that ends after its unit of work has a line of its own."""
    lines = [json.loads(line) for line in lines_with(environment, '"_aws"', '"workId"')]
    return [sum(line.get(name, 0) for line in lines) for name in names]


@pytest.mark.parametrize("name", ["cancelling", "keeping"])
def test_a_reader_that_goes_cancels_the_answer(emulator: Start, layer: Path, name: str) -> None:
    with start(emulator, layer, name) as environment:
        leave(environment, "s", interrupt=True)
        cancelled = (environment.directory / "cancelled").exists()
        ended = (environment.directory / "ended").exists()
        (told,) = lines_with(environment, "The client has gone before the answer's end.")
        tokens, failed = sums_of(environment, "OutputTokens", "FailedInvocations")

    assert (cancelled, ended) == (True, False)
    assert json.loads(told)["on_disconnect"] == "cancel"
    assert failed == 0, "nobody is to be woken for it"
    assert 0 < tokens < PIECES, "it was cut, and what came of it is booked"


def test_a_reader_that_goes_is_not_waited_for_by_a_handler_that_finishes(
    emulator: Start, layer: Path
) -> None:
    with start(emulator, layer, "finishing") as environment:
        leave(environment, "s", interrupt=True)
        (tokens,) = sums_of(environment, "OutputTokens")

        assert (environment.directory / "ended").exists()
    assert tokens >= PIECES


def test_lambda_does_not_interrupt_it(emulator: Start, layer: Path) -> None:
    with start(emulator, layer, "cancelling") as environment:
        leave(environment, "s", interrupt=False)

        assert (environment.directory / "ended").exists()
        assert not (environment.directory / "cancelled").exists()


@pytest.mark.parametrize(
    ("name", "kept"),
    [("cancelling", ""), ("keeping", "piece "), ("planning", "shown ")],
    ids=["not asked", "a model's text", "what was shown, and nothing else"],
)
def test_what_was_seen_is_kept_with_the_session_if_asked(
    emulator: Start, layer: Path, tmp_path: Path, name: str, kept: str
) -> None:
    store = {"LAMBDALLM_STORE": f"sqlite:///{tmp_path}/sessions.db"}
    with start(emulator, layer, name, variables=store) as environment:
        stream = environment.invoke_stream(event(session="s"))
        read_until(stream, (kept or "piece ").encode())
        stream.close(interrupt=True)
        environment.wait_until_idle()
    with start(emulator, layer, "whole", variables=store) as environment:
        said = json.loads(parted(environment.invoke(event(session="s")).payload)[1])["said"]

    if not kept:
        assert said == [], "an exchange without an answer is not in the conversation"
        return
    question, answer = said
    assert question == "Tell me."
    assert re.fullmatch(f"({kept})+", answer)
    assert len(answer) < len(kept) * PIECES


def test_a_reader_that_stands_still_is_left_before_the_functions_time_is_over(
    emulator: Start, layer: Path
) -> None:
    with start(emulator, layer, "flooding", timeout_seconds=4) as environment:
        stream = environment.invoke_stream(event("/flood"))
        next(stream)
        until((environment.directory / "cancelled").exists)
        stream.close()
        after = environment.invoke_stream(event())
        dry = b"".join(after)
        gone = lines_with(environment, "The client has gone before the answer's end.")

    assert dry.endswith(b"dry")
    assert not after.result.cold, "the runtime lives"
    assert len(gone) == 1
