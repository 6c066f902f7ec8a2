"""The drop-in endpoints: a request is admitted, accounted to somebody, and passed on."""

from __future__ import annotations

import os

from lambda_runtime_api.declarations import Protocol
from lambdallm_extension import errors
from lambdallm_extension.model_ports import RawRequest
from lambdallm_extension.server.dropin import cost_headers, refusals
from lambdallm_extension.server.dropin.authentication import Refusal, region_of
from lambdallm_extension.server.dropin.passed_headers import client_headers, upstream_headers
from lambdallm_extension.server.dropin.questions import (
    PREFIXES,
    find_service,
    generates_nothing,
    leaves_base,
    read_question,
)
from lambdallm_extension.server.replies import Reply, plain
from lambdallm_extension.server.under_way import CountedBody, UnitOfWork
from lambdallm_extension.services.passing import Passage
from lambdallm_wire import codec, errors as wire_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Request
    from lambdallm_extension.model_ports import Dialect, Provider
    from lambdallm_extension.ports import Telemetry
    from lambdallm_extension.server.dropin.authentication import Authenticator
    from lambdallm_extension.server.dropin.questions import Question, Service
    from lambdallm_extension.server.under_way import Payer, UnderWay
    from lambdallm_extension.services.invocations import Invocations
    from lambdallm_extension.services.passing import Passing

CALL_ID_BYTES = 16


class Apis(Protocol):
    """The APIs behind the endpoints."""

    def passing(self) -> Passing:
        """Return the use case that passes requests on."""
        ...

    def provider(self, name: str) -> Provider:
        """Return a provider by its name."""
        ...

    def dialect(self, name: str, model_id: str) -> Dialect:
        """Return who reads answers, by the name of their form and the model's id."""
        ...

    @property
    def cost_headers(self) -> str:
        """Whose answers say what they have cost: `cost.headers` of the configuration."""
        ...


class Endpoints:
    """Serves clients that never heard of us. Threads share it."""

    def __init__(
        self,
        authenticator: Authenticator,
        apis: Apis,
        invocations: Invocations,
        telemetry: Telemetry,
        under_way: UnderWay,
    ) -> None:
        """Stand on these.

        Args:
            authenticator: Admits requests.
            apis: Where they go on to, and who reads the answers.
            invocations: Whose a call is.
            telemetry: Told of faults of ours, and of calls that are nobody's.
            under_way: Calls of all clients.
        """
        self._authenticator = authenticator
        self._apis = apis
        self._invocations = invocations
        self._telemetry = telemetry
        self._under_way = under_way

    def serve(self, request: Request, body: bytes) -> Reply:
        """Answer a client's request. Never raises."""
        path, _, query = request.target.partition("?")
        service = find_service(path)
        if service is None:
            detail = f"There is no {request.method} {path[:200]} here."
            return plain(404, codec.encode(wire_errors.problem("not_found", detail)))
        admitted = self._authenticator.authenticate(service, request, body)
        if isinstance(admitted, Refusal):
            return refusals.write(
                service, admitted.status, admitted.kind, admitted.detail, retry=False
            )
        below = path[len(PREFIXES[service]) :] or "/"
        if leaves_base(below):
            error = errors.InvalidRequestError(
                "The path has dot segments: it would leave the API's."
            )
            return self._refuse(service, request, error, "")
        question = read_question(service, request.method, below, body)
        raw = RawRequest(
            request.method,
            below,
            query,
            upstream_headers(request, metered=question is not None),
            body if question is None else question.body,
            admitted.own_key,
            region_of(request.header("authorization")),
        )
        call_id = os.urandom(CALL_ID_BYTES).hex()
        try:
            return self._pass(service, request, body, raw, question, call_id)
        except errors.ExtensionError as error:
            return self._refuse(service, request, error, call_id)
        except Exception as error:  # noqa: BLE001 - one faulty request must not end the sidecar
            self._telemetry.log(f"{request.method} {path} failed: {type(error).__name__}: {error}")
            detail = f"The sidecar failed ({type(error).__name__}); see the function's log."
            # It may have been sent, so that no client may ask again by itself.
            return self._refuse(service, request, errors.ProviderError(detail), call_id)

    def _refuse(
        self, service: Service, request: Request, error: errors.ExtensionError, call_id: str
    ) -> Reply:
        reply = refusals.refuse(service, error, call_id)
        if not cost_headers.are_wanted(request, self._apis.cost_headers):
            return reply
        return reply._replace(headers=[*reply.headers, *cost_headers.of_failure(error)])

    def _pass(
        self,
        service: Service,
        request: Request,
        body: bytes,
        raw: RawRequest,
        question: Question | None,
        call_id: str,
    ) -> Reply:
        payer = self._payer(request.header("x-amzn-trace-id"))
        passage = self._passage(service, raw, question, body)
        self._under_way.begin(payer)
        try:
            passed = self._apis.passing().send(
                passage, call_id, payer.work_id, payer.totals, deadline_ms=payer.deadline_ms
            )
        except BaseException:
            self._under_way.end(payer)
            raise
        headers = client_headers(passed.headers, reframed=True)
        headers.append(("lambdallm-call-id", call_id))
        if cost_headers.are_wanted(request, self._apis.cost_headers):
            told = cost_headers.of_answer(passage, passed)
            headers = [*cost_headers.without_others(headers), *told]
        if passed.pieces is None:
            self._under_way.end(payer)
            return Reply(passed.status, headers, passed.body)
        pieces = CountedBody(passed.pieces, self._under_way, payer)
        return Reply(passed.status, headers, b"", pieces)

    def _passage(
        self, service: Service, raw: RawRequest, question: Question | None, body: bytes
    ) -> Passage:
        provider = self._apis.provider(service)
        if question is None:
            free = generates_nothing(raw.method, raw.path)
            return Passage(raw, provider, None, f"{service}/", "", free=free)
        return Passage(
            raw,
            provider,
            self._apis.dialect(question.dialect, question.model_id),
            f"{service}/{question.model_id}",
            question.model_id,
            question.streamed,
            question.operation,
            question.hide,
            None if question.body is body else body,
        )

    def _payer(self, trace: str) -> Payer:
        work = self._invocations.attribute(trace)
        if work is not None:
            return UnitOfWork(work, self._telemetry)
        return self._invocations.unattributed()
