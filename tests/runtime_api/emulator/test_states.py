"""The rules of one life of an environment: every move and every refusal, without I/O."""

from __future__ import annotations

import pytest

from fakes.lives import BOTH, STRANGER, identifier, new_life, ready_life, refusal
from lambda_runtime_api.emulator.moves import EXTENSION_MOVES, RUNTIME_MOVES, State
from lambda_runtime_api.emulator.states import EXTENSIONS_MAX, Life

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
        "next": {"STARTED", "RESTORING", "READY", "RUNNING", "RESPONSE_SENT"},
        "event": {"READY", "RUNNING"},
        "response": {"RUNNING"},
        "streamed response": {"RUNNING"},
        "end of response": {"RESPONDING"},
        "error": {"RUNNING"},
        "init/error": {"STARTED"},
        "restore/next": {"STARTED"},
        "restored": {"RESTORE_READY"},
        "restore/error": {"RESTORING"},
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
