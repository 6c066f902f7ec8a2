"""What is asked ahead and what is said without waiting: nothing is lost, nothing left behind."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

import lambdallm
from fakes.units import with_session
from lambdallm import _sidecar, _transport
from lambdallm_wire import codec, errors as wire_errors, routes


def test_a_session_that_the_handler_does_not_want_leaves_nothing_behind(sidecar: Any) -> None:
    transport = _transport.current()
    assert isinstance(transport, _sidecar.SidecarTransport)
    for _ in range(20):
        with_session().end("ok", "", 1.0)

    assert not transport._asked
    assert len(transport._pool._open) <= 2
    assert not sidecar.engine.invocations._works


def test_a_session_is_asked_for_once_and_again_only_when_wanted_again(sidecar: Any) -> None:
    work = with_session()
    assert work.window() == work.window()
    work.end("ok", "", 1.0)

    assert sidecar.paths.count("/v1/session/window") == 2


def test_a_window_larger_than_any_buffer_waits_for_the_handler(sidecar: Any) -> None:
    said = "x" * 300_000
    for text in range(30):
        work = with_session(f"event-{text}")
        turns = [{"role": role, "content": said, "metadata": {}, "at_epoch_ms": 1}
                 for role in ("user", "assistant")]  # fmt: skip
        work.append(turns, metadata=None, clear=False)
        work.end("ok", "", 1.0)
    wanted, unwanted = with_session("wanted"), with_session("unwanted")
    unwanted.end("ok", "", 1.0)

    assert sum(len(turn["content"]) for turn in wanted.window()["turns"]) == 20 * 300_000
    wanted.end("ok", "", 1.0)


class Slow:
    """What is said is answered when it is let."""

    def __init__(self, sidecar: Any, status: int = 200) -> None:
        self.go = threading.Event()
        self.taken: list[bytes] = []
        self._status = status
        self._handle = sidecar.handle
        sidecar.handle = self

    def __call__(self, method: str, path: str, body: bytes, *, connection: int) -> Any:
        if path != "/v1/session/append":
            return self._handle(method, path, body, connection=connection)
        self.go.wait(10)
        self.taken.append(body)
        if self._status != 200:
            problem = wire_errors.problem("invalid_request", f"Refused, number {len(self.taken)}.")
            return self._status, codec.encode(problem)
        return self._handle(method, path, body, connection=connection)


def test_nobody_waits_for_what_is_said_before_the_next_question(sidecar: Any) -> None:
    slow = Slow(sidecar)
    work = with_session()
    for number in range(6):
        work.append([said(str(number))], metadata=None, clear=False)
    assert slow.taken == []
    slow.go.set()
    work.save()
    assert len(slow.taken) == 6
    work.end("ok", "", 1.0)

    after = with_session("next")
    assert [turn["content"] for turn in after.window()["turns"]] == list("012345")
    after.end("ok", "", 1.0)


def test_a_handler_that_says_thousands_of_things_fills_no_buffer(sidecar: Any) -> None:
    work = with_session()
    for number in range(900):
        work.append([said(str(number))], metadata=None, clear=False)
    work.end("ok", "", 1.0)

    assert sidecar.paths.count("/v1/session/append") == 900
    after = with_session("next")
    assert after.window()["version"] == 1
    after.end("ok", "", 1.0)


@pytest.mark.parametrize("then", ["window", "save", "chat", "end"])
def test_a_refusal_of_what_was_said_is_told_with_the_next_question(sidecar: Any, then: str) -> None:
    slow = Slow(sidecar, 400)
    slow.go.set()
    work, other = with_session(), with_session("other")
    for _ in range(2):
        work.append([said("x")], metadata=None, clear=False)
    questions: dict[str, Callable[[], Any]] = {
        "window": work.window,
        "save": work.save,
        "chat": lambda: work.ask(
            routes.CHAT, {"work_id": "e", "call_id": "c"}, work.deadline_epoch_ms
        ),
        "end": lambda: work.end("ok", "", 1.0),
    }

    with pytest.raises(lambdallm.InvalidRequestError, match="number 1"):
        questions[then]()
    other.save()
    for unit in (other, work):
        unit.end("ok", "", 1.0)
    assert sidecar.paths.count("/v1/chat") == 0
    assert not sidecar.engine.invocations._works


def said(text: str) -> dict[str, Any]:
    role = "assistant" if text[-1] in "13579" else "user"
    return {"role": role, "content": text, "metadata": {}, "at_epoch_ms": 1}
