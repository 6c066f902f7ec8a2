"""The rules of one life of an environment: every move and every refusal, without I/O."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from lambda_runtime_api.emulator.states import (
    EXTENSION_MOVES,
    EXTENSIONS_MAX,
    RUNTIME_MOVES,
    Life,
    RefusedError,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Callable

BOTH = {"events": ["INVOKE", "SHUTDOWN"]}
INVOKE = {"eventType": "INVOKE"}
SHUTDOWN = {"eventType": "SHUTDOWN"}
STRANGER = "00000000-0000-4000-8000-00000000ffff"


def new_life(*names: str) -> Life:
    numbers = itertools.count(1)
    return Life(names, lambda: f"00000000-0000-4000-8000-{next(numbers):012}")


def ready_life(*names: str, request: object = None) -> Life:
    life = new_life(*names)
    for name in names:
        life.extension_next(life.register(name, request or BOTH).identifier)
    life.runtime_next()
    assert life.initialised
    return life


def identifier(life: Life, name: str = "ext") -> str:
    return next(one.identifier for one in life.extensions if one.name == name)


def refusal(call: Callable[..., object], *args: Any) -> tuple[int, str, str]:
    with pytest.raises(RefusedError) as raised:
        call(*args)
    return raised.value.status, raised.value.error_type, raised.value.message


# Registering.


def test_the_runtime_starts_when_all_files_have_registered() -> None:
    life = new_life("a", "b")

    life.register("a", BOTH)
    assert not life.registered
    life.register("b", {})
    assert life.registered
    assert not life.initialised


def test_an_environment_without_extensions() -> None:
    life = new_life()
    assert life.registered
    life.runtime_next()
    assert life.initialised


@pytest.mark.parametrize(
    ("name", "request_body", "error_type", "message"),
    [
        ("", BOTH, "Extension.InvalidExtensionName", "Empty extension name"),
        ("ext", None, "InvalidRequestFormat", "The body is not a JSON object"),
        ("ext", [], "InvalidRequestFormat", "The body is not a JSON object"),
        ("ext", {"events": "INVOKE"}, "InvalidRequestFormat", "events is not a list of strings"),
        ("ext", {"events": [1]}, "InvalidRequestFormat", "events is not a list of strings"),
        (
            "ext",
            {"configurationKeys": ["A"]},
            "InvalidRequestFormat",
            "configurationKeys are deprecated; use environment variables instead",
        ),
        (
            "ext",
            {"events": ["INVOKE", "PAUSE"]},
            "Extension.InvalidEventType",
            "PAUSE: ErrorInvalidEventType",
        ),
        (
            "other",
            BOTH,
            "Extension.InvalidEventType",
            "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension",
        ),
    ],
)
def test_what_cannot_register(
    name: str, request_body: object, error_type: str, message: str
) -> None:
    life = new_life("ext")

    assert refusal(life.register, name, request_body) == (403, error_type, message)
    assert not life.registered
    assert [one.name for one in life.extensions] == ["ext"]


def test_nobody_registers_twice() -> None:
    life = new_life("ext")
    life.register("ext", BOTH)
    life.register("inside", {"events": ["INVOKE"]})

    assert refusal(life.register, "ext", BOTH) == (
        403,
        "Extension.InvalidExtensionState",
        "State transition from Registered to Registered failed for extension ext. "
        "Error: State transition is not allowed",
    )
    assert refusal(life.register, "inside", {}) == (
        403,
        "Extension.InvalidExtensionState",
        "Extension with this name already registered",
    )


def test_there_is_a_limit() -> None:
    life = new_life("ext")
    for number in range(EXTENSIONS_MAX - 1):
        life.register(f"inside-{number}", {})

    expected = (403, "Extension.TooManyExtensions", "Extension limit (10) reached")
    assert refusal(life.register, "inside", {}) == expected


def test_registration_closes_when_the_runtime_is_ready() -> None:
    life = ready_life("ext")

    expected = (403, "Extension.RegistrationClosed", "Extension registration closed already")
    assert refusal(life.register, "late", {"events": ["INVOKE"]}) == expected


# Identifiers.


@pytest.mark.parametrize(
    ("given", "error_type"),
    [
        ("", "Extension.MissingExtensionIdentifier"),
        ("me", "Extension.InvalidExtensionIdentifier"),
        (STRANGER, "Extension.UnknownExtensionIdentifier"),
    ],
)
def test_who_is_not_known(given: str, error_type: str) -> None:
    life = new_life("ext")
    life.register("ext", BOTH)

    assert refusal(life.extension_next, given)[:2] == (403, error_type)
    assert refusal(life.extension_error, given, "init/error", "E.R")[:2] == (403, error_type)
    assert refusal(life.extension_error, given, "exit/error", "E.R")[:2] == (403, error_type)


def test_an_identifier_is_read_in_either_case() -> None:
    life = Life(["ext"], lambda: "abcdefab-0000-4000-8000-000000000000")
    life.register("ext", BOTH)

    assert life.extension_next("ABCDEFAB-0000-4000-8000-000000000000").name == "ext"


# Moves: every state with everything that can be said in it.


@pytest.mark.parametrize("said", EXTENSION_MOVES)
@pytest.mark.parametrize(
    "state", [state for state in State if state is not State.RESPONSE_SENT], ids=str
)
def test_extensions_move_as_the_table_says(said: str, state: State) -> None:
    life = new_life("ext")
    extension = life.extensions[0]
    extension.state = state
    aim, moves = EXTENSION_MOVES[said]

    if state in moves:
        extension.move(said)
        assert extension.state is moves[state]
        return
    status, error_type, message = refusal(extension.move, said)
    assert (status, error_type) == (403, "Extension.InvalidExtensionState")
    assert message.startswith(f"State transition from {state.value} to {aim} failed for extension")
    assert extension.state is state


def test_the_moves_of_extensions_are_these() -> None:
    allowed = {
        said: {state.name for state in moves} for said, (_, moves) in EXTENSION_MOVES.items()
    }

    assert allowed == {
        "register": {"STARTED"},
        "next": {"REGISTERED", "RUNNING"},
        "event": {"READY"},
        "init/error": {"REGISTERED", "INIT_ERROR"},
        "exit/error": {"REGISTERED", "READY", "RUNNING", "EXIT_ERROR"},
    }


def test_the_moves_of_the_runtime_are_these() -> None:
    allowed = {said: {state.name for state in moves} for said, (_, moves) in RUNTIME_MOVES.items()}

    assert allowed == {
        "next": {"STARTED", "READY", "RUNNING", "RESPONSE_SENT"},
        "event": {"READY", "RUNNING"},
        "response": {"RUNNING"},
        "error": {"RUNNING"},
        "init/error": {"STARTED"},
    }


def test_next_is_asked_once_at_a_time() -> None:
    life = ready_life("ext")

    assert refusal(life.extension_next, identifier(life)) == (
        403,
        "Extension.InvalidExtensionState",
        f"State transition from Ready to Ready failed for extension {identifier(life)}. "
        "Error: State transition is not allowed",
    )


def test_init_error_is_for_init_alone() -> None:
    life = ready_life("ext")

    refused = refusal(life.extension_error, identifier(life), "init/error", "Extension.Reason")
    assert refused[1] == "Extension.InvalidExtensionState"
    assert life.fault is None


@pytest.mark.parametrize(
    ("said", "error_type"),
    [("init/error", "Extension.InitError"), ("exit/error", "Extension.ExitError")],
)
def test_errors_that_extensions_report(said: str, error_type: str) -> None:
    life = new_life("ext")
    life.register("ext", BOTH)

    refused = refusal(life.extension_error, identifier(life), said, "")
    assert refused == (
        403,
        "Extension.MissingHeader",
        "Lambda-Extension-Function-Error-Type not found",
    )
    life.extension_error(identifier(life), said, "Extension.Reason")
    life.extension_exited("ext", "exit status 1")
    life.extension_error(identifier(life), said, "Extension.Again")

    assert life.fault == (error_type, "Extension.Reason", b"")


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
