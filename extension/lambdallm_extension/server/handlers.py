"""The routes under `/v1`: decode, check, call the use case, encode. Errors become problems."""

from __future__ import annotations

import os

from lambdallm_extension import VERSION, errors, startup
from lambdallm_wire import codec, errors as wire_errors, names, routes, turns as wire_turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambdallm_extension.ports import Telemetry
    from lambdallm_extension.services.chat import Chat
    from lambdallm_extension.services.invocations import Invocations
    from lambdallm_wire.codec import Message
    from lambdallm_wire.problems import Problem

SESSION_ID_MAX = 256
IDENTITY_MAX = 512
"""A DynamoDB sort key holds 1,024 bytes."""


class Handlers:
    """Answers requests; the server and the embedded engine both call `handle`."""

    def __init__(
        self,
        invocations: Invocations,
        chat: Callable[[], Chat],
        telemetry: Telemetry,
        *,
        environment_id: Callable[[], str],
        renew: Callable[[], bool],
    ) -> None:
        self._invocations = invocations
        self._chat = chat
        self._telemetry = telemetry
        self._environment_id = environment_id
        self._renew = renew
        self._versions_compared = False
        self._routes: dict[tuple[str, str], Callable[[Message, int], Any]] = {
            _address(routes.BEGIN): self._begin,
            _address(routes.END): self._end,
            _address(routes.WINDOW): self._window,
            _address(routes.APPEND): self._append,
            _address(routes.SAVE): self._save,
            _address(routes.CHAT): self._ask,
            _address(routes.HEALTH): self._health,
            _address(routes.RESTORED): self._restored,
        }

    def handle(self, method: str, path: str, body: bytes, *, connection: int) -> tuple[int, bytes]:
        """Answer one request with a status and a JSON body. Never raises.

        Args:
            method: HTTP method.
            path: Request target.
            body: The message, empty where the route takes none.
            connection: Identifies the caller's connection; its end closes what it began.
        """
        work_id = None
        try:
            handler = self._routes.get((method, path))
            if handler is None:
                detail = f"There is no {method} {path}. Is the SDK newer than the layer?"
                return _refusal(wire_errors.problem("not_found", detail))
            message = codec.decode(body) if body else {}
            work_id = message.get("work_id")
            return 200, codec.encode(handler(message, connection))
        except errors.ExtensionError as error:
            return _refusal(error.to_problem(work_id if isinstance(work_id, str) else None))
        except codec.CodecError as error:
            return _refusal(wire_errors.problem("invalid_request", str(error)))
        except Exception as error:  # noqa: BLE001 - one faulty request must not end the sidecar
            self._telemetry.log(f"{method} {path} failed: {type(error).__name__}: {error}")
            detail = f"The sidecar failed ({type(error).__name__}); see the function's log."
            return _refusal(wire_errors.problem("sidecar", detail, retryable=True))

    def _health(self, _message: Message, _connection: int) -> Message:
        return {"status": "ok", "pid": os.getpid(), **self._version()}

    def _restored(self, _message: Message, _connection: int) -> Message:
        self._renew()
        return self._version()

    def _begin(self, message: Message, connection: int) -> Message:
        _require(message, work_id=str, request_id=str, deadline_epoch_ms=int, wire_version=int)
        if "continues" in message:
            _require(message, continues=str)
        _check_wire(message["wire_version"])
        rule = message.get("session")
        if rule is not None:
            _check_rule(rule)
        self._compare_versions(message)
        writer = self._invocations.begin(message, connection)  # type: ignore[arg-type]  # checked
        return {**self._version(), "writer": writer}

    def _end(self, message: Message, connection: int) -> Any:
        _require(message, work_id=str)
        if not isinstance(message.get("handler_ms", 0.0), int | float):
            reason = "The field 'handler_ms' must be a number."
            raise errors.InvalidRequestError(reason)
        return self._invocations.end(message, connection)  # type: ignore[arg-type]

    def _window(self, message: Message, _connection: int) -> Any:
        _require(message, work_id=str)
        return self._invocations.session(message["work_id"]).window()

    def _append(self, message: Message, _connection: int) -> Message:
        _require(message, work_id=str)
        turns, metadata = message.get("turns", []), message.get("metadata")
        _check_turns(turns)
        if not isinstance(metadata, dict | None):
            reason = "The field 'metadata' must be an object."
            raise errors.InvalidRequestError(reason)
        self._invocations.session(message["work_id"]).append(
            turns, metadata=metadata, clear=message.get("clear", False) is True
        )
        return {"accepted": len(turns)}

    def _save(self, message: Message, _connection: int) -> Message:
        _require(message, work_id=str)
        work = self._invocations.find(message["work_id"])
        return {"version": self._invocations.session(message["work_id"]).save(work.store_seconds())}

    def _ask(self, message: Message, _connection: int) -> Any:
        _require(message, work_id=str, call_id=str, messages=list)
        _check_messages(message["messages"])
        work = self._invocations.find(message["work_id"])
        deadline_ms = min(work.deadline_ms, message.get("deadline_epoch_ms", work.deadline_ms))
        try:
            with work.calling():
                return self._chat().ask(message, work.totals, deadline_ms=deadline_ms)  # type: ignore[arg-type]
        finally:
            late = work.late_report()
            if late is not None:
                self._telemetry.emit(late)

    def _compare_versions(self, message: Message) -> None:
        """Say once that SDK and layer are of different versions."""
        if not self._versions_compared:
            self._versions_compared = True
            difference = startup.versions_differ(str(message.get("sdk_version") or ""))
            if difference:
                self._telemetry.log(difference)

    def _version(self) -> Message:
        return {
            "wire_version": names.WIRE_VERSION,
            "sidecar_version": VERSION,
            "environment_id": self._environment_id(),
        }


def _address(route: routes.Route) -> tuple[str, str]:
    return route.method, route.path


def _refusal(problem: Problem) -> tuple[int, bytes]:
    return problem["status"], codec.encode(problem)


def _require(message: Message, **kinds: type) -> None:
    for field, kind in kinds.items():
        value = message.get(field)
        if not isinstance(value, kind) or value == "":
            reason = f"The field {field!r} must be a {kind.__name__} that is not empty."
            raise errors.InvalidRequestError(reason)


def _check_turns(turns: object) -> None:
    """Refuse what would be in the way of every later event of the session."""
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        reason = "The field 'turns' must be a list of turns."
        raise errors.InvalidRequestError(reason)
    for turn in turns:
        _require(turn, role=str, at_epoch_ms=int)
        if "content" not in turn:
            reason = "A turn needs a content."
            raise errors.InvalidRequestError(reason)
        if not isinstance(turn.get("metadata"), dict | None):
            reason = "The metadata of a turn must be an object."
            raise errors.InvalidRequestError(reason)
        fault = wire_turns.fault_of(turn)
        if fault is not None:
            raise errors.InvalidRequestError(fault)


def _check_messages(messages: list[Any]) -> None:
    """Refuse what is no conversation; what a model takes of it is its provider's to say."""
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            reason = f"Message {index} must be an object with a role and a content."
            raise errors.InvalidRequestError(reason)
        fault = wire_turns.content_fault_of(message.get("content"))
        if fault is not None:
            reason = f"Message {index}: {fault}"
            raise errors.InvalidRequestError(reason)


def _check_wire(version: int) -> None:
    """Refuse an SDK that is more than one version away: neighbours understand each other."""
    if abs(version - names.WIRE_VERSION) > 1:
        older = "SDK" if version < names.WIRE_VERSION else "layer"
        message = (
            f"The SDK speaks version {version} of the localhost API, the layer "
            f"{names.WIRE_VERSION}: update the {older}."
        )
        raise errors.SettingError(message)


def _check_rule(rule: Message) -> None:
    _require(rule, session_id=str, identity=str, ttl_seconds=int, memory=dict, durability=str)
    session_id = rule["session_id"]
    printable = session_id.isascii() and session_id.isprintable()
    if not printable or "#" in session_id or len(session_id) > SESSION_ID_MAX:
        reason = f"A session id has 1 to {SESSION_ID_MAX} printable ASCII characters without '#'."
        raise errors.InvalidRequestError(reason)
    if len(rule["identity"].encode("utf-8", "replace")) > IDENTITY_MAX:
        reason = f"The identity of an event has at most {IDENTITY_MAX} bytes."
        raise errors.InvalidRequestError(reason)
    if rule["ttl_seconds"] <= 0:
        reason = "A session's ttl is more than 0 seconds."
        raise errors.InvalidRequestError(reason)
    if rule["durability"] not in ("before_response", "after_response"):
        reason = f"Durability {rule['durability']!r} is not known to this layer."
        raise errors.InvalidRequestError(reason)
    memory = rule["memory"]
    if memory.get("strategy") not in ("full_history", "sliding_window"):
        reason = f"Memory strategy {memory.get('strategy')!r} is not known to this layer."
        raise errors.InvalidRequestError(reason)
    if memory["strategy"] == "sliding_window":
        _require(memory, max_messages=int)
