"""The routes under `/v1`: decode, check, call the use case, encode. Errors become problems."""

from __future__ import annotations

import os

from lambda_runtime_api import http1
from lambdallm_extension import VERSION, errors, startup
from lambdallm_extension.server import checks
from lambdallm_extension.server.replies import LINES, OK, Reply, plain
from lambdallm_extension.server.under_way import Counted, CountedBody, LeftUnit, UnitOfWork
from lambdallm_wire import codec, errors as wire_errors, names, routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambdallm_extension.ports import Telemetry
    from lambdallm_extension.server.replies import Body
    from lambdallm_extension.server.under_way import UnderWay
    from lambdallm_extension.server.use_cases import Models
    from lambdallm_extension.services.invocations import Invocations
    from lambdallm_extension.services.works import Work
    from lambdallm_wire.codec import Message
    from lambdallm_wire.problems import Problem


class Handlers:
    """Answers requests; the server and the embedded engine both call `handle`."""

    def __init__(
        self,
        invocations: Invocations,
        models: Models,
        telemetry: Telemetry,
        under_way: UnderWay,
        *,
        environment_id: Callable[[], str],
        renew: Callable[[], bool],
    ) -> None:
        self._invocations = invocations
        self._models = models
        self._telemetry = telemetry
        self._under_way = under_way
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
            _address(routes.PERFORMED): self._performed,
            _address(routes.EMBED): self._embed,
            _address(routes.TAG): self._tag,
            _address(routes.BUDGETS): self._budgets,
            _address(routes.HEALTH): self._health,
            _address(routes.RESTORED): self._restored,
            _address(routes.PRICE): self._price,
        }

    def handle(self, method: str, path: str, body: bytes, *, connection: int) -> tuple[int, bytes]:
        """Answer one request with a status and a JSON body. Never raises.

        Args:
            method: HTTP method.
            path: Request target.
            body: The message, empty where the route takes none.
            connection: Identifies the caller's connection; its end closes what it began.
        """
        handler = self._routes.get((method, path))
        if handler is None:
            handler = self._rarely_asked(method, path)
        if handler is None:
            detail = f"There is no {method} {path}. Is the SDK newer than the layer?"
            return _refusal(wire_errors.problem("not_found", detail))
        return self._guarded(method, path, body, lambda message: handler(message, connection))

    def _rarely_asked(self, method: str, path: str) -> Callable[[Message, int], Any] | None:
        """Return who answers a route whose code is loaded when it is asked; None for none."""
        invocations, models = self._invocations, self._models
        route = next((each for each in routes.ROUTES if _address(each) == (method, path)), None)
        if route in routes.ARCHIVE_ROUTES:
            from lambdallm_extension.server import archive_routes

            return lambda message, _: archive_routes.answer(route, message, invocations)
        if route in routes.ACCOUNTING_ROUTES:
            from lambdallm_extension.server import accounting_routes

            accounting = models.accounting()
            return lambda message, _: accounting_routes.answer(route, message, accounting)
        if route in routes.RUN_ROUTES:
            from lambdallm_extension.server import run_routes

            runs = models.runs()
            return lambda message, _: run_routes.answer(route, message, invocations, runs)
        if route in routes.CONNECTION_ROUTES:
            from lambdallm_extension.server import connection_routes

            connections = models.connections()
            return lambda message, _: connection_routes.answer(
                route, message, invocations, connections
            )
        return None

    def stream(self, body: bytes) -> Reply:
        """Answer `routes.STREAM`: in lines, or with a problem before the first. Never raises."""
        opened: list[Body] = []

        def open_stream(message: Message) -> Message:
            begun = self._open_stream(message)
            if isinstance(begun, dict):
                return begun
            opened.append(begun)
            return {}

        route = routes.STREAM
        status, reply = self._guarded(route.method, route.path, body, open_stream)
        return Reply(status, LINES, b"", opened[0]) if opened else plain(status, reply)

    def _guarded(
        self, method: str, path: str, body: bytes, act: Callable[[Message], Any]
    ) -> tuple[int, bytes]:
        """Decode a message, do what it asks for, and encode what came of it."""
        work_id = None
        try:
            message = codec.decode(body) if body else {}
            work_id = message.get("work_id")
            reply = codec.encode(act(message))
            if len(reply) <= http1.BODY_MAX_BYTES:
                return OK, reply
            detail = (
                f"What this session holds is {len(reply):,} bytes, and a reply takes "
                f"{http1.BODY_MAX_BYTES:,}: let its memory keep fewer messages."
            )
            return _refusal(wire_errors.problem("state", detail))
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

    def _price(self, message: Message, _connection: int) -> Any:
        from lambdallm_extension.server import price_route

        checks.require(message, model=str)
        model = self._models.named(message["model"])
        return price_route.answer(message, self._models.pricing(), model)

    def _begin(self, message: Message, connection: int) -> Message:
        checks.require(
            message, work_id=str, request_id=str, deadline_epoch_ms=int, wire_version=int
        )
        if "continues" in message:
            checks.require(message, continues=str)
        if message.get("tenant") is not None:
            checks.require(message, tenant=str)
        if "tags" in message:
            from lambdallm_extension.server import budget_routes

            checks.require(message, tags=dict)
            message["tags"] = budget_routes.tags_of(message["tags"])
        checks.check_wire(message["wire_version"])
        rule = message.get("session")
        if rule is not None:
            checks.check_rule(rule)
            if "asks" in rule["memory"]:
                rule["memory"]["asks"] = self._models.named(rule["memory"]["asks"])
        self._compare_versions(message)
        writer = self._invocations.begin(message, connection)  # type: ignore[arg-type]  # checked
        return {**self._version(), "writer": writer, **checks.understood(rule)}

    def _end(self, message: Message, connection: int) -> Any:
        checks.require(message, work_id=str)
        if not isinstance(message.get("handler_ms", 0.0), int | float):
            reason = "The field 'handler_ms' must be a number."
            raise errors.InvalidRequestError(reason)
        reply = self._invocations.end(message, connection)  # type: ignore[arg-type]
        if self._models.cost_headers:
            from lambdallm_wire.cost_headers import TO_CALLERS

            if self._models.cost_headers in TO_CALLERS:
                reply["tell_cost"] = True
        return reply

    def _window(self, message: Message, _connection: int) -> Any:
        checks.require(message, work_id=str)
        after = message.get("after")
        if after is not None:
            checks.check_receipt(after)
        query = message.get("query", "")
        if not isinstance(query, str):
            reason = "The field 'query' must be a text."
            raise errors.InvalidRequestError(reason)
        window = self._invocations.session(message["work_id"]).window(after, query)
        return window if after is None else {**window, "understood": ["after"]}

    def _append(self, message: Message, _connection: int) -> Message:
        checks.require(message, work_id=str)
        turns, metadata = message.get("turns", []), message.get("metadata")
        checks.check_turns(turns)
        keys, defaults = message.get("metadata_keys"), message.get("metadata_defaults")
        checks.check_metadata(metadata, keys, defaults)
        if turns:
            self._name_passed_calls(message["work_id"], turns[-1])
        self._invocations.session(message["work_id"]).append(
            turns,
            metadata=metadata,
            metadata_keys=keys,
            metadata_defaults=defaults or (),
            clear=message.get("clear", False) is True,
        )
        return {"accepted": len(turns)}

    def _name_passed_calls(self, work_id: str, turn: Message) -> None:
        """Let a turn name the calls of unmodified clients before it: their records are its own."""
        passed = self._invocations.find(work_id).totals.take_passed()
        if passed:
            turn["other_call_ids"] = [*passed, *(turn.get("other_call_ids") or ())]

    def _tag(self, message: Message, _connection: int) -> Any:
        from lambdallm_extension.server import budget_routes

        checks.require(message, work_id=str)
        return budget_routes.tag(message, self._invocations.find(message["work_id"]))

    def _budgets(self, message: Message, _connection: int) -> Any:
        from lambdallm_extension.server import budget_routes

        checks.require(message, work_id=str)
        work = self._invocations.find(message["work_id"])
        return budget_routes.budgets(message, work, self._models.spending())

    def _save(self, message: Message, _connection: int) -> Message:
        checks.require(message, work_id=str)
        work = self._invocations.find(message["work_id"])
        return {"version": self._invocations.session(message["work_id"]).save(work.store_seconds())}

    def _ask(self, message: Message, _connection: int) -> Any:
        checks.check_chat(message)
        work = self._invocations.find(message["work_id"])
        with self._calling(work):
            deadline_ms = _deadline_ms(work, message)
            if "run" in message:
                from lambdallm_extension.server import run_routes

                return run_routes.ask(message, work, self._models, deadline_ms)
            counted = self._left(work)
            return self._models.chat().ask(
                message,  # type: ignore[arg-type]  # checked
                work.totals,
                deadline_ms=deadline_ms,
                counted=counted,
            )

    def _performed(self, message: Message, _connection: int) -> Any:
        checks.check_performed(message)
        work = self._invocations.find(message["work_id"])
        with self._calling(work):
            deadline_ms = _deadline_ms(work, message)
            return self._models.performing.performed(message, deadline_ms=deadline_ms)  # type: ignore[arg-type]  # checked

    def _embed(self, message: Message, _connection: int) -> Any:
        checks.require(message, work_id=str, call_id=str, model=str, texts=list)
        if not message["texts"] or not all(isinstance(text, str) for text in message["texts"]):
            reason = "The field 'texts' must be a list of texts, with at least one in it."
            raise errors.InvalidRequestError(reason)
        checks.check_routing(message)
        work = self._invocations.find(message["work_id"])
        with self._calling(work):
            deadline_ms = _deadline_ms(work, message)
            return self._models.embedding().embed(message, work.totals, deadline_ms=deadline_ms)  # type: ignore[arg-type]

    def _open_stream(self, message: Message) -> Body | Message:
        checks.check_chat(message)
        work = self._invocations.find(message["work_id"])
        payer = UnitOfWork(work, self._telemetry)
        self._under_way.begin(payer)
        try:
            begun = self._begin_stream(message, work, _deadline_ms(work, message))
        except BaseException:
            self._under_way.end(payer)
            raise
        if isinstance(begun, dict):
            self._under_way.end(payer)
            return begun
        return CountedBody(begun, self._under_way, payer)

    def _begin_stream(self, message: Any, work: Work, deadline_ms: int) -> Body | Message:
        if "run" in message:
            from lambdallm_extension.server import run_routes

            begun: Body | Message = run_routes.stream(message, work, self._models, deadline_ms)
            return begun
        counted = self._left(work)
        chat = self._models.chat()
        return chat.stream(message, work.totals, deadline_ms=deadline_ms, counted=counted)

    def _calling(self, work: Work) -> Counted:
        return Counted(self._under_way, UnitOfWork(work, self._telemetry))

    def _left(self, work: Work) -> Counted:
        return Counted(self._under_way, LeftUnit(work, self._telemetry))

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


def _deadline_ms(work: Work, message: Message) -> int:
    """Return when a call must have ended: with its unit of work, or sooner."""
    deadline_ms: int = message.get("deadline_epoch_ms", work.deadline_ms)
    return min(work.deadline_ms, deadline_ms)
