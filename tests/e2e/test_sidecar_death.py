"""The sidecar is ended by the kernel, or stands still: no invocation fails for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Start
    from lambdallm.testing.model_server import ModelServer

FIND_SIDECAR = r"""
import os, pathlib, signal, threading

MINE = f"LAMBDALLM_PORT={os.environ['LAMBDALLM_PORT']}".encode()

def sidecar():
    return find("lambdallm/main.py")

def find(program):
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if arguments[-2:-1] and arguments[-2].endswith(program.encode()) and MINE in variables:
            return int(process.name)
"""

FUNCTION = (
    FIND_SIDECAR
    + r"""
def kill(pid):
    os.kill(pid, signal.SIGKILL)

def handler(event, context):
    pid = sidecar()
    if event == "kill now":
        kill(pid)
    if event == "kill soon":
        threading.Timer(0.05, kill, [pid]).start()
    return {"runtime": os.getpid(), "sidecar": pid}
"""
)


@pytest.mark.parametrize("moment", ["now", "soon"])
def test_the_function_outlives_its_sidecar(host: Start, layer: Path, moment: str) -> None:
    """`now`: in an invocation; `soon`: while it waits for the next one."""
    with host({"app.py": FUNCTION}, opt=layer, variables={"LAMBDALLM_STORE": "memory:"}) as env:
        killed = env.invoke(f"kill {moment}").json()
        assert killed["sidecar"]
        while env.invoke(None).json()["sidecar"]:
            pass  # the timer is still to come
        answers = [env.invoke(None) for _ in range(3)]

    for answer in answers:
        assert answer.json() == {"runtime": killed["runtime"], "sidecar": None}
        assert not answer.cold


CHAT = (
    FIND_SIDECAR
    + r"""

from lambdallm import MemoryStrategy, Session, handler as lambdallm_handler

GOES_ON_SECONDS = 0.3
TIMERS = []

def at(point, body):
    if body.get("point") != point:
        return
    for timer in TIMERS:  # of the invocation before: it would undo this one
        timer.join()
    pid = sidecar()
    number = signal.Signals[body["signal"]]
    os.kill(pid, number)
    while state(pid) not in "TZ":
        pass
    if number == signal.SIGSTOP:  # it goes on when the answer has left
        TIMERS[:] = [threading.Timer(GOES_ON_SECONDS, os.kill, [pid, signal.SIGCONT])]
        TIMERS[0].start()

def state(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # it is gone
        return "Z"

@lambdallm_handler(session=Session(memory=MemoryStrategy.FULL_HISTORY, ttl_hours=1))
def chat(event, context):
    body, session = event["body"], context.session

    at("begun", body)
    session.add_message("user", body["message"])
    at("asked", body)
    answer = context.invoke(session.format_history())
    at("answered", body)
    session.add_message("assistant", answer)
    history = [turn["content"] for turn in session.get_history()]
    at("ended", body)
    return {"answer": answer, "history": history}

def handler(event, context):
    at("before", event["body"])
    return chat(event, context)
"""
)

POINTS = ("before", "begun", "asked", "answered", "ended")


def said(message: str, session_id: str, **more: str) -> dict[str, object]:
    return {"body": {"message": message, "session_id": session_id, **more}}


def check_conversation(
    replies: list[dict[str, object]], messages: list[str], model_server: ModelServer
) -> None:
    """Every answer is there, every turn came back, and the model was asked once for each."""
    prompts = [request.messages[-1]["content"][0]["text"] for request in model_server.requests]
    assert prompts == messages
    answers = [reply["answer"] for reply in replies]
    whole = [text for pair in zip(messages, answers, strict=True) for text in pair]
    assert replies[-1]["history"] == whole
    assert answers == [f"You said {number + 1} things." for number in range(len(messages))]


def test_a_sidecar_that_stands_still_at_any_point_costs_no_turn_and_no_second_call(
    host: Start, layer: Path, chat_variables: dict[str, str], model_server: ModelServer
) -> None:
    """Each point twice, because the second time it has stood still before."""
    session_id = f"stopped-{host.name}"
    messages, replies = [], []
    with host({"app.py": CHAT}, opt=layer, variables=chat_variables) as env:
        for point in ("", *POINTS, *POINTS, ""):
            messages.append(f"{len(messages)} {point}")
            event = said(messages[-1], session_id, point=point, signal="SIGSTOP")
            invocation = env.invoke(event)
            assert invocation.error_type is None, [line.text for line in env.logs]
            replies.append(json.loads(invocation.json()["body"]))
            env.wait_until_idle()

    check_conversation(replies, messages, model_server)


@pytest.mark.parametrize("point", ["begun", "asked", "answered", "ended"])
def test_a_sidecar_that_is_killed_at_any_point_costs_no_turn_and_no_second_call(
    host: Start, layer: Path, chat_variables: dict[str, str], model_server: ModelServer, point: str
) -> None:
    session_id = f"killed-{point}-{host.name}"
    messages, replies = ["first", point, "last"], []
    with host({"app.py": CHAT}, opt=layer, variables=chat_variables) as env:
        for message in messages:
            event = said(message, session_id, point=message, signal="SIGKILL")
            invocation = env.invoke(event)
            assert invocation.error_type is None, [line.text for line in env.logs]
            replies.append(json.loads(invocation.json()["body"]))

    check_conversation(replies, messages, model_server)
