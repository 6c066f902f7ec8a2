"""The rules of one life of an environment: its invocations and its end, without I/O."""

from __future__ import annotations

import pytest

from fakes.lives import BOTH, INVOKE, SHUTDOWN, identifier, new_life, ready_life, refusal

# Invocations.


def test_an_invocation_is_over_when_everybody_asks_for_the_next() -> None:
    life = ready_life("ext")
    extension = life.extensions[0]
    life.begin_invoke("r1", INVOKE, "the invocation")
    assert not life.idle

    assert life.take_invocation() == "the invocation"
    assert life.take_event(extension) == INVOKE
    assert life.take_event(extension) is None
    life.runtime_responds("r1", "response")
    assert life.responded
    assert not life.idle
    life.runtime_next()
    assert not life.idle
    life.extension_next(extension.identifier)
    assert life.idle


def test_a_streamed_answer_is_over_with_its_end() -> None:
    life = ready_life()
    life.begin_invoke("r1", INVOKE, "the invocation")
    life.take_invocation()

    assert life.runtime_begins_response("r1") == "the invocation"
    assert (life.responding, life.responded, life.idle) == (True, False, False)
    assert "from InvocationResponse to Ready" in refusal(life.runtime_next)[2]
    life.runtime_ends_response()
    assert (life.responding, life.responded) == (False, True)
    life.runtime_next()
    assert (life.responding, life.responded, life.idle) == (False, True, True)


@pytest.mark.parametrize("said", ["response", "error"])
def test_an_answer_is_begun_once(said: str) -> None:
    life = ready_life()
    life.begin_invoke("r1", INVOKE, "the invocation")
    life.take_invocation()
    life.runtime_begins_response("r1")

    assert refusal(life.runtime_begins_response, "r1")[1] == "InvalidStateTransition"
    assert refusal(life.runtime_responds, "r1", said)[1] == "InvalidStateTransition"
    assert refusal(life.runtime_begins_response, "r2")[1] == "InvalidRequestID"


def test_only_what_has_begun_ends() -> None:
    life = ready_life()
    life.begin_invoke("r1", INVOKE, "the invocation")
    life.take_invocation()

    assert refusal(life.runtime_ends_response)[1] == "InvalidStateTransition"


def test_an_extension_may_ask_while_the_handler_works() -> None:
    life = ready_life("ext")
    life.begin_invoke("r1", INVOKE, "the invocation")
    life.take_event(life.extensions[0])
    life.extension_next(identifier(life))

    assert not life.responded
    assert not life.idle


def test_who_has_not_taken_the_event_yet_is_not_done() -> None:
    life = ready_life("ext")
    life.begin_invoke("r1", INVOKE, "the invocation")
    life.take_invocation()
    life.runtime_responds("r1", "response")
    life.runtime_next()

    assert not life.idle


@pytest.mark.parametrize("events", [[], ["SHUTDOWN"]])
def test_who_has_not_subscribed_is_not_waited_for(events: list[str]) -> None:
    life = ready_life("ext", request={"events": events})
    life.begin_invoke("r1", INVOKE, "the invocation")
    assert life.take_event(life.extensions[0]) is None

    life.take_invocation()
    life.runtime_responds("r1", "error")
    life.runtime_next()
    assert life.idle


def test_the_runtime_may_ask_again_for_what_it_has() -> None:
    life = ready_life()
    life.begin_invoke("r1", INVOKE, "the invocation")
    life.take_invocation()
    life.runtime_next()

    assert life.take_invocation() == "the invocation"


@pytest.mark.parametrize("request_id", ["", "r0", "r2"])
@pytest.mark.parametrize("said", ["response", "error"])
def test_an_answer_to_another_invocation(request_id: str, said: str) -> None:
    life = ready_life()
    life.begin_invoke("r1", INVOKE, "the invocation")
    life.take_invocation()

    expected = (400, "InvalidRequestID", "Invalid request ID")
    assert refusal(life.runtime_responds, request_id, said) == expected
    assert not life.responded


@pytest.mark.parametrize(
    ("said", "aim"), [("response", "InvocationResponse"), ("error", "InvocationErrorResponse")]
)
def test_an_answer_is_given_once(said: str, aim: str) -> None:
    life = ready_life()
    life.begin_invoke("r1", INVOKE, "the invocation")
    life.take_invocation()
    life.runtime_responds("r1", "response")

    assert refusal(life.runtime_responds, "r1", said) == (
        403,
        "InvalidStateTransition",
        f"State transition from RuntimeResponseSentState to {aim} failed for runtime. "
        "Error: State transition is not allowed",
    )


def test_the_runtime_fails_in_init() -> None:
    life = new_life()
    life.runtime_init_error("Runtime.ImportModuleError", b"{}")
    life.fail("Runtime.ExitError", "exit status 1")

    assert life.fault is not None
    assert (life.fault.error_type, life.fault.payload) == ("Runtime.ImportModuleError", b"{}")
    assert refusal(life.runtime_init_error, "Runtime.Unknown", b"")[1] == "InvalidStateTransition"
    assert refusal(life.runtime_next)[1] == "InvalidStateTransition"


# Ends.


def test_an_extension_that_ends_outside_shutdown_is_a_fault() -> None:
    life = ready_life("ext")
    life.extension_exited("ext", "exit code 0")

    assert life.fault == ("Extension.Crash", "exit code 0", b"")


def test_the_first_fault_is_the_one() -> None:
    life = ready_life("ext")
    life.fail("Runtime.ExitError", "exit status 1")
    life.extension_exited("ext", "exit status 2")

    assert life.fault is not None
    assert life.fault.error_type == "Runtime.ExitError"


def test_shutdown_is_for_those_who_asked_for_it() -> None:
    life = ready_life("told", "gone", "silent", request=BOTH)
    silent = life.extensions[2]
    silent.events = ("INVOKE",)
    life.extension_exited("gone", "exit status 1")

    assert life.begin_shutdown(SHUTDOWN) == ["told"]
    assert life.take_event(life.extensions[0]) == SHUTDOWN
    assert life.take_event(silent) is None


def test_who_is_busy_gets_shutdown_when_it_asks() -> None:
    life = ready_life("ext")
    extension = life.extensions[0]
    life.begin_invoke("r1", INVOKE, "the invocation")
    life.take_event(extension)
    life.begin_shutdown(SHUTDOWN)

    life.extension_next(extension.identifier)
    assert life.take_event(extension) == SHUTDOWN


def test_no_fault_comes_of_a_shutdown() -> None:
    life = ready_life("ext")
    life.begin_shutdown(SHUTDOWN)
    life.extension_exited("ext", "signal: killed")
    life.fail("Runtime.ExitError", "signal: terminated")
    life.end()

    assert life.fault is None
    assert life.ended
