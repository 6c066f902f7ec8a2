"""Who may say what, when: the states of one life of an execution environment, without I/O.

A life begins with the processes of an Init phase and ends with their reset. It knows nothing of
sockets, processes or clocks: callers tell it what was said, and ask it what may go out. `moves`
draws what leads where.

Source for moves and refusals: AWS's Runtime Interface Emulator, observed from outside
(`tests/e2e/test_agreement.py` asks both), and the Lambda developer guide, "Extensions API".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from lambda_runtime_api.emulator.moves import (
    EXTENSION_MOVES,
    RUNTIME_MOVES,
    Fault,
    RefusedError,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

EXTENSIONS_MAX = 10
"""External and internal ones together. Source: Lambda developer guide, "Extensions API"."""


class Extension:
    """One extension, external (a file in `/opt/extensions`) or internal (inside the runtime)."""

    def __init__(self, name: str, identifier: str, *, external: bool) -> None:
        self.name = name
        self.identifier = identifier
        self.external = external
        self.state = State.STARTED
        self.events: tuple[str, ...] = ()
        self.pending: Mapping[str, Any] | None = None
        self.exited = False

    def move(self, said: str) -> None:
        """Go where this leads.

        Raises:
            RefusedError: It leads nowhere from here.
        """
        aim, moves = EXTENSION_MOVES[said]
        if self.state not in moves:
            who = self.name if said == "register" else self.identifier
            raise RefusedError(
                403,
                "Extension.InvalidExtensionState",
                f"State transition from {self.state.value} to {aim} failed for extension {who}. "
                "Error: State transition is not allowed",
            )
        self.state = moves[self.state]


class Life:
    """One life: extensions and a runtime, from their start to their reset."""

    def __init__(self, external_names: Iterable[str], new_identifier: Callable[[], str]) -> None:
        """Expect one registration of every external extension.

        Args:
            external_names: Names of the files that are started.
            new_identifier: Makes the UUID that an extension is known by.
        """
        self._new_identifier = new_identifier
        self._extensions = {
            name: Extension(name, new_identifier(), external=True) for name in external_names
        }
        self._registration_open = True
        self._runtime = State.STARTED
        self._invocation: Any = None
        self._request_id = ""
        self.shutting_down = False
        self.ended = False
        self.fault: Fault | None = None
        if len(self._extensions) > EXTENSIONS_MAX:
            self.fail("Extension.LaunchError", f"Extension limit ({EXTENSIONS_MAX}) reached")

    # What the environment asks.

    @property
    def extensions(self) -> Sequence[Extension]:
        """All extensions, in the order in which they were started or registered."""
        return tuple(self._extensions.values())

    @property
    def registered(self) -> bool:
        """Whether every external extension has registered, so that the runtime may start."""
        return all(extension.state is not State.STARTED for extension in self.extensions)

    @property
    def initialised(self) -> bool:
        """Whether the runtime and every extension wait for their first event."""
        return self._runtime is State.READY and self._extensions_ready

    @property
    def runtime_waits(self) -> bool:
        """Whether the runtime waits for an event, or for its restore."""
        return self._runtime in (State.READY, State.RESTORE_READY)

    @property
    def before_snapshot(self) -> bool:
        """Whether the runtime waits for its restore, and every extension for its first event."""
        return self._runtime is State.RESTORE_READY and self._extensions_ready

    @property
    def _extensions_ready(self) -> bool:
        return all(extension.state is State.READY for extension in self.extensions)

    @property
    def responded(self) -> bool:
        """Whether the runtime has answered the present invocation."""
        return self._runtime in (State.RESPONSE_SENT, State.READY) and self._invocation is None

    @property
    def responding(self) -> bool:
        """Whether the runtime is in the middle of a streamed answer."""
        return self._runtime is State.RESPONDING

    @property
    def idle(self) -> bool:
        """Whether the invocation is over for everybody who takes part in it."""
        return (
            self._runtime is State.READY
            and self._invocation is None
            and all(
                extension.state is State.READY and extension.pending is None
                for extension in self.extensions
                if "INVOKE" in extension.events
            )
        )

    # What the environment says.

    def begin_invoke(self, request_id: str, event: Mapping[str, Any], invocation: object) -> None:
        """Give the invocation to the runtime, and its event to those who subscribed."""
        self._request_id = request_id
        self._invocation = invocation
        for extension in self.extensions:
            if "INVOKE" in extension.events:
                extension.pending = event

    def begin_shutdown(self, event: Mapping[str, Any]) -> list[str]:
        """Send SHUTDOWN to those who subscribed; return who may finish, all others are killed."""
        self.shutting_down = True
        leaving = [
            extension
            for extension in self.extensions
            if "SHUTDOWN" in extension.events and not extension.exited
        ]
        for extension in leaving:
            extension.pending = event
        return [extension.name for extension in leaving]

    def end(self) -> None:
        """Let nobody wait any longer."""
        self.shutting_down = self.ended = True

    def fail(self, error_type: str, message: str, payload: bytes = b"") -> None:
        """Note why this life cannot go on, unless an earlier reason stands or it ends anyway."""
        if self.fault is None and not self.shutting_down:
            self.fault = Fault(error_type, message, payload)

    def extension_exited(self, name: str, how: str) -> None:
        """An extension's process is gone: a fault outside Shutdown, exit code 0 included."""
        self._extensions[name].exited = True
        self.fail("Extension.Crash", how)

    # What the runtime says.

    def runtime_next(self) -> None:
        """The runtime is ready; nobody registers from here on."""
        self._move_runtime("next")
        self._registration_open = False

    def take_invocation(self) -> Any:
        """Return the invocation that the runtime waits for, or None as long as there is none."""
        if self._invocation is not None:
            self._move_runtime("event")
        return self._invocation

    def runtime_responds(self, request_id: str, said: str) -> None:
        """The runtime answers, by `response` or by `error`."""
        self._check_request_id(request_id)
        self._move_runtime(said)
        self._invocation = None

    def runtime_begins_response(self, request_id: str) -> Any:
        """The runtime begins to stream its answer; return the invocation that it answers."""
        self._check_request_id(request_id)
        self._move_runtime("streamed response")
        return self._invocation

    def runtime_ends_response(self) -> None:
        """The runtime has streamed its answer to the end, or as far as it will."""
        self._move_runtime("end of response")
        self._invocation = None

    def _check_request_id(self, request_id: str) -> None:
        if not request_id or request_id != self._request_id:
            raise RefusedError(400, "InvalidRequestID", "Invalid request ID")

    def runtime_restore_next(self) -> None:
        """The runtime may be made a snapshot of; nobody registers from here on."""
        self._move_runtime("restore/next")
        self._registration_open = False

    def restore(self) -> None:
        """Let the runtime go on from the snapshot."""
        self._move_runtime("restored")

    @property
    def restored(self) -> bool:
        """Whether the runtime may go on."""
        return self._runtime is not State.RESTORE_READY

    def runtime_restore_error(self, error_type: str, payload: bytes) -> None:
        """A hook of the restore failed."""
        self._move_runtime("restore/error")
        self.fail(error_type, "The runtime could not be restored.", payload)

    def runtime_init_error(self, error_type: str, payload: bytes) -> None:
        """The runtime could not be initialised."""
        self._move_runtime("init/error")
        self.fail(error_type, "The runtime could not be initialised.", payload)

    def _move_runtime(self, said: str) -> None:
        aim, moves = RUNTIME_MOVES[said]
        if self._runtime not in moves:
            raise RefusedError(
                403,
                "InvalidStateTransition",
                f"State transition from {self._runtime.value} to {aim} failed for runtime. "
                "Error: State transition is not allowed",
            )
        self._runtime = moves[self._runtime]

    # What extensions say.

    def register(self, name: str, request: object) -> Extension:
        """An extension registers. A name without a file makes an internal one.

        Args:
            name: The header `Lambda-Extension-Name`.
            request: The decoded body, None where it was not JSON.
        """
        if not name:
            raise RefusedError(403, "Extension.InvalidExtensionName", "Empty extension name")
        events = _events(request)
        extension = self._extensions.get(name)
        external = extension is not None and extension.external
        for event in events:
            _check_event(event, external=external)
        if extension is None or not external:
            extension = self._new_internal(name)
        extension.move("register")
        extension.events = events
        return extension

    def _new_internal(self, name: str) -> Extension:
        if not self._registration_open:
            message = "Extension registration closed already"
            raise RefusedError(403, "Extension.RegistrationClosed", message)
        if len(self._extensions) >= EXTENSIONS_MAX:
            message = f"Extension limit ({EXTENSIONS_MAX}) reached"
            raise RefusedError(403, "Extension.TooManyExtensions", message)
        if name in self._extensions:
            message = "Extension with this name already registered"
            raise RefusedError(403, "Extension.InvalidExtensionState", message)
        extension = Extension(name, self._new_identifier(), external=False)
        self._extensions[name] = extension
        return extension

    def extension_next(self, identifier: str) -> Extension:
        """An extension is ready for its next event."""
        extension = self.find(identifier, f"Unknown extension {identifier}")
        extension.move("next")
        return extension

    def take_event(self, extension: Extension) -> Mapping[str, Any] | None:
        """Return the event that a waiting extension gets, or None as long as there is none."""
        event = extension.pending
        if event is not None:
            extension.move("event")
            extension.pending = None
        return event

    def extension_error(self, identifier: str, said: str, error_type: str) -> None:
        """An extension reports that it failed, by `init/error` or `exit/error`."""
        unknown = "Unknown Lambda-Extension-Identifier"
        _check_identifier(identifier)
        if not error_type:
            message = "Lambda-Extension-Function-Error-Type not found"
            raise RefusedError(403, "Extension.MissingHeader", message)
        self.find(identifier, unknown).move(said)
        kind = "Extension.InitError" if said == "init/error" else "Extension.ExitError"
        self.fail(kind, error_type)

    def find(self, identifier: str, unknown: str) -> Extension:
        """Return the extension that says this; `unknown` is said where there is none."""
        _check_identifier(identifier)
        for extension in self.extensions:
            if extension.identifier == identifier.lower():
                return extension
        raise RefusedError(403, "Extension.UnknownExtensionIdentifier", unknown)


def _check_identifier(identifier: str) -> None:
    if not identifier:
        message = "Missing Lambda-Extension-Identifier header"
        raise RefusedError(403, "Extension.MissingExtensionIdentifier", message)
    try:
        UUID(identifier)
    except ValueError:
        message = "Invalid Lambda-Extension-Identifier"
        raise RefusedError(403, "Extension.InvalidExtensionIdentifier", message) from None


def _check_event(event: str, *, external: bool) -> None:
    if event == "SHUTDOWN" and not external:
        message = f"{event}: ShutdownEventNotSupportedForInternalExtension"
        raise RefusedError(403, "Extension.InvalidEventType", message)
    if event not in ("INVOKE", "SHUTDOWN"):
        message = f"{event}: ErrorInvalidEventType"
        raise RefusedError(403, "Extension.InvalidEventType", message)


def _events(request: object) -> tuple[str, ...]:
    if not isinstance(request, dict):
        raise RefusedError(403, "InvalidRequestFormat", "The body is not a JSON object")
    if request.get("configurationKeys"):
        message = "configurationKeys are deprecated; use environment variables instead"
        raise RefusedError(403, "InvalidRequestFormat", message)
    events = request.get("events") or []
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        raise RefusedError(403, "InvalidRequestFormat", "events is not a list of strings")
    return tuple(events)
