"""The engine, composed: the one place where use cases and adapters meet.

Both hosts build it from here: the extension's process (`__main__`), and `lambdallm._embedded` in
a process that has no sidecar. Whatever is not needed at once is opened at its first use.
"""

from __future__ import annotations

import os
import time
from threading import Event, Lock

from lambdallm_extension import errors, startup
from lambdallm_extension.domain.moments import Moment
from lambdallm_extension.domain.overhead import Overhead
from lambdallm_extension.http_client.failures import NotSentError
from lambdallm_extension.parts import Parts
from lambdallm_extension.server.handlers import Handlers
from lambdallm_extension.server.replies import Whole, plain
from lambdallm_extension.server.under_way import UnderWay
from lambdallm_extension.services.invocation_costs import InvocationCosts
from lambdallm_extension.services.invocations import GONE_SECONDS, Invocations
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.settings import Settings, SystemClock, SystemRandom, renew_chance
from lambdallm_extension.telemetry.bills import Bills
from lambdallm_extension.telemetry.emf import EmfTelemetry, write_stdout_line
from lambdallm_wire import codec, errors as wire_errors, names, routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambda_runtime_api.http1 import Request
    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.ports import Clock, InvocationBill, Random, Store
    from lambdallm_extension.server.dropin.authentication import Authenticator
    from lambdallm_extension.server.dropin.endpoints import Endpoints
    from lambdallm_extension.server.replies import Body, Reply

RENEWAL_GRACE_SECONDS = 0.03
"""How long the first `begin` waits for INVOKE, which comes at the same time, to renew the engine.

Where no hook has told of the restore: the unit of work would be gone with all of before. It is
less than the 50 ms of silence that the SDK calls the end.
"""

SNAPSHOT_SECONDS = 1.0
"""Less than taking a snapshot and restoring it can last; a `begin` sooner than this is of Init."""


def _nothing() -> None:
    """Renew no host: an engine in the function's own process has none."""


class Engine:
    """What answers the localhost API, wherever it is hosted."""

    def __init__(
        self,
        settings: Settings,
        *,
        host: str = "embedded",
        clock: Clock,
        random: Random,
        sleep: Callable[[float], None],
        write_line: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.overhead = Overhead()
        self._costs = InvocationCosts()
        self.telemetry = EmfTelemetry(
            write_line,
            namespace=settings.metrics_namespace,
            function_name=settings.function_name,
            host=host,
            metrics=settings.telemetry,
            overhead=self.overhead,
            costs=self._costs,
        )
        self.bills = Bills(self._costs, settings, self._has_begun, self._take_bill)
        self._random = random
        self._sleep = sleep
        self._lock = Lock()
        self._renewing = Lock()
        self._cloned = settings.snap_start
        self._renewed = Event()
        self._served = Moment.of(clock)
        self._renew_host: Callable[[], None] = _nothing
        self._client_key = ""
        self._tokens: Callable[[], Sequence[bytes]] = tuple
        self._authenticator: Authenticator | None = None
        self._workers = Workers()
        self._begin()
        for problem in settings.problems:
            self.telemetry.log(problem)

    def _begin(self) -> None:
        """Start from nothing: all that belongs to one environment alone, and all it opens."""
        self._environment_id = ""
        self._costs.clear()
        self._parts = parts = Parts(
            self.settings,
            self._workers,
            self.clock,
            self._random,
            self._sleep,
            self.environment_id,
            log=self.telemetry.log,
            overhead=self.overhead,
        )
        self.invocations = Invocations(
            parts.store,
            parts.recorder,
            self._workers,
            self.clock,
            self.telemetry,
            environment_id=self.environment_id,
            remembering=lambda: parts.remembering(self.telemetry),
        )
        self.invocations.never_frozen = self.settings.managed_instances
        self.invocations.return_leases = parts.flush_budgets
        self._under_way = UnderWay()
        self._handlers = Handlers(
            self.invocations,
            parts,
            self.telemetry,
            self._under_way,
            environment_id=self.environment_id,
            renew=self.renew,
        )
        self._endpoints: Endpoints | None = None

    # The localhost API

    def handle(self, method: str, path: str, body: bytes, *, connection: int) -> tuple[int, bytes]:
        """Answer one request with a status and a JSON body (a message or a problem)."""
        if self._cloned and path == routes.BEGIN.path and self._looks_restored():
            self._renewed.wait(RENEWAL_GRACE_SECONDS)
        return self._handlers.handle(method, path, body, connection=connection)

    def stream(self, path: str, body: bytes, *, connection: int) -> tuple[int, Body]:
        """Answer one request in pieces, for a caller in this process: status and body."""
        del connection
        if path != routes.STREAM.path:
            message = f"{path} is not answered in pieces."
            raise ValueError(message)
        reply = self._handlers.stream(body)
        return reply.status, reply.pieces or Whole(reply.body)

    def serve_request(self, request: Request, body: bytes, *, connection: int) -> Reply:
        """Answer one request of a connection, ours or a drop-in client's. Never raises."""
        path = request.target
        if not path.startswith(names.SDK_PREFIX):
            return self._serve_client(request, body)
        if path == routes.STREAM.path and request.method == routes.STREAM.method:
            return self._handlers.stream(body)
        return plain(*self.handle(request.method, path, body, connection=connection))

    def disconnected(self, connection: int) -> None:
        """Close what a connection began: its process is gone."""
        self.invocations.disconnected(connection)

    # The life of the environment

    def environment_id(self) -> str:
        """Return this environment's id. It is made at the first use, after any snapshot."""
        with self._lock:
            if not self._environment_id:
                self._environment_id = os.urandom(8).hex()
            return self._environment_id

    def open(self) -> None:
        """Load and open what the first call needs, and say what runs: no network, no thread."""
        self._parts.pricing().find("", self.clock.epoch_ms())
        self._open_parts()
        if self.settings.telemetry:
            self.telemetry.log(startup.started(self.settings, store=self._parts.has_store))

    def _open_parts(self) -> None:
        if self.settings.store_url:  # none is no problem before a session is declared
            self._open(self._parts.store)
        self._open(lambda: self._parts.open_model(self.settings.model))
        self._parts.recorder()

    def admit_clients(self, client_key: str, tokens: Callable[[], Sequence[bytes]]) -> None:
        """Serve drop-in clients too.

        Args:
            client_key: What clients without a key of their own bring.
            tokens: Those that are good on our own routes now.
        """
        self._client_key, self._tokens = client_key, tokens

    def serve(self, renew_host: Callable[[], None] = _nothing) -> None:
        """Begin to serve: open connections, unless a snapshot would clone them.

        Args:
            renew_host: Makes anew what the engine's host has made for this environment alone; a
                part of `renew`.
        """
        self._renew_host = renew_host
        self._served = Moment.of(self.clock)
        if not self._cloned:
            self.reopen()
        elif self._client_key:
            self._workers.start(self._remember_credentials)

    def _remember_credentials(self) -> None:
        """Know those of Init, which clients that are made in Init sign with after a restore."""
        try:
            self._admission().remember()
        except (errors.SettingError, NotSentError):
            return  # nobody has any, so no client does

    def renew(self) -> bool:
        """Make anew whatever two clones of one snapshot must not share, once after its restore.

        Lambda tells an extension of no restore. The SDK's hook does, and the first INVOKE, which
        no snapshot is taken after; whoever comes first renews, and the other one waits for it.
        Units of work, records and connections from before are gone.

        Returns:
            Whether this call has renewed something.
        """
        with self._renewing:
            if not self._cloned:
                return False
            with self._lock:
                before = self._parts
                self._begin()
            dropped = before.abandon()
            if dropped:
                self.telemetry.drop(dropped, epoch_ms=self.clock.epoch_ms())
            renew_chance()
            self._renew_host()
            self._cloned = False
            self._renewed.set()
        self._open_parts()
        self.reopen()
        return True

    def _looks_restored(self) -> bool:
        return Moment.of(self.clock).seconds_since(self._served) > SNAPSHOT_SECONDS

    def _open(self, opener: Callable[[], object]) -> None:
        try:
            opener()
        except errors.SettingError as error:
            self.telemetry.log(error.detail)

    def reopen(self) -> None:
        """Open connections, or replace those that may have died in a freeze, beside the caller."""
        try:
            for reopen in self._parts.opened("reopen"):
                self._workers.start(reopen)
        except errors.OverloadedError:
            return  # whoever waits there meets the same connections

    def invoked(self, request_id: str, deadline_ms: int) -> None:
        """Know which invocation runs now, and until when."""
        self.bills.expect(request_id)
        self.invocations.invoked(request_id, deadline_ms)

    def hold(self, request_id: str) -> None:
        """Know which invocation the environment is being held for, "" for none."""
        self.invocations.hold(request_id)

    def wait_begun(self, request_id: str, seconds: float) -> bool:
        """Wait for an invocation's `begin`; False when it did not come in time."""
        return self.invocations.wait_begun(request_id, seconds)

    def wait_ended(self, request_id: str, seconds: float) -> bool:
        """Wait for its `end`, or for the death of its process; False when neither came."""
        return self.invocations.wait_ended(request_id, seconds)

    def wait_persisted(self, seconds: float) -> bool:
        """Wait until sessions and call records are written; False when some are not.

        In what is left of the time then, summaries and vectors are waited for: what is not made
        yet goes on with the next invocation.
        """
        until = self.clock.monotonic() + seconds
        persisted = self._wait_written(seconds)
        left = until - self.clock.monotonic()
        if persisted and left > 0 and self._parts.wait_remembered(left):
            left = until - self.clock.monotonic()
            self._parts.recorder().wait(max(0.0, left))
        return persisted

    def _wait_written(self, seconds: float) -> bool:
        until = self.clock.monotonic() + seconds
        settled = self._parts.streams.wait_for_none(seconds)
        left = max(0.0, until - self.clock.monotonic())
        persisted = self.invocations.wait_persisted(left)
        left = max(0.0, until - self.clock.monotonic())
        persisted = self._parts.recorder().wait(left) and persisted
        left = max(0.0, until - self.clock.monotonic())
        persisted = self._parts.flush_budgets(left) and persisted
        if not persisted:
            self._parts.store_health.failed()
        return persisted and settled

    def hold_ms(self) -> int:
        """Return how long persisting may hold the environment, as the store has answered lately."""
        return self._parts.store_health.hold_ms()

    def finish(self, seconds: float) -> None:
        """Try once more to write what is left; say what was not; let go of everything."""
        self._parts.store_health.succeeded()  # a last try: nobody is kept waiting any more
        until = self.clock.monotonic() + seconds
        self.invocations.wait_ended("", min(seconds, GONE_SECONDS))
        self._parts.streams.settle_all(seconds)
        seconds = max(0.0, until - self.clock.monotonic())
        self._under_way.report()
        self.bills.finish(seconds)
        self.wait_persisted(seconds)
        self._parts.flush_budgets(seconds, last=True)
        dropped = self._parts.recorder().abandon()
        if dropped.records:
            self.telemetry.drop(dropped.records, epoch_ms=self.clock.epoch_ms())
        if dropped.records or self.invocations.unsaved:
            self.telemetry.log(
                f"The environment ends with {dropped.records} call records and "
                f"{self.invocations.unsaved} units of work not stored. {dropped.reason}"
            )
        self.close()

    def _has_begun(self, request_id: str) -> bool:
        return self.invocations.wait_begun(request_id, 0)

    def _take_bill(self, bill: InvocationBill) -> None:
        self._parts.book_compute(bill.compute_pico_usd)
        whose, now_ms = self.environment_id(), self.clock.epoch_ms()
        self.telemetry.emit_bill(bill._replace(environment_id=whose, epoch_ms=now_ms))

    def close(self) -> None:
        """Let go of the store and of every connection."""
        self._parts.close()

    def _serve_client(self, request: Request, body: bytes) -> Reply:
        """Answer a drop-in client; what that needs is loaded when the first one comes."""
        if not self._client_key:
            detail = "Drop-in clients are not served here: no key was made for them."
            return plain(404, codec.encode(wire_errors.problem("not_found", detail)))
        endpoints = self._endpoints
        if endpoints is None:
            from lambdallm_extension.server.dropin.endpoints import Endpoints

            endpoints = self._endpoints = Endpoints(
                self._admission(),
                self._parts,
                self.invocations,
                self.telemetry,
                self._under_way,
            )
        return endpoints.serve(request, body)

    def _admission(self) -> Authenticator:
        from lambdallm_extension.server.dropin.authentication import Authenticator

        if self._authenticator is None:
            self._authenticator = Authenticator(
                self._client_key,
                self._tokens,
                self.settings.environ,
                self.credentials,
                self.clock,
            )
        return self._authenticator

    def store(self) -> Store:
        """Return the store that LAMBDALLM_STORE names.

        Raises:
            SettingError: It names none, or one that cannot be.
        """
        return self._parts.store()

    def credentials(self) -> CredentialSource:
        """Return where AWS credentials come from; nothing is fetched yet."""
        return self._parts.credentials()


def build(settings: Settings | None = None, *, host: str = "embedded") -> Engine:
    """Build an engine for this process.

    Args:
        settings: From the environment if None.
        host: Whose process this is: `sidecar`, or `embedded` in the function's own.
    """
    settings = Settings.from_environ() if settings is None else settings
    return Engine(
        settings,
        host=host,
        clock=SystemClock(),
        random=SystemRandom(),
        sleep=time.sleep,
        write_line=write_stdout_line,
    )
