"""The engine, composed: the one place where use cases and adapters meet.

Both hosts build it from here: the extension's process (`__main__`), and `lambdallm._embedded` in
a process that has no sidecar. Whatever is not needed at once is opened at its first use.
"""

from __future__ import annotations

import os
import sys
import time
from threading import Event, Lock

from lambdallm_extension import errors, startup
from lambdallm_extension.domain.moments import Moment
from lambdallm_extension.server.handlers import Handlers
from lambdallm_extension.services.chat import Chat
from lambdallm_extension.services.invocations import Invocations
from lambdallm_extension.services.metering import Recorder
from lambdallm_extension.services.store_health import StoreHealth
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.settings import Settings, SystemClock, SystemRandom
from lambdallm_extension.telemetry.emf import EmfTelemetry
from lambdallm_wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.ports import Clock, Provider, Random, Store
    from lambdallm_wire.chat import Usage

SEED_BYTES = 48
"""More than the 256 bits that OpenSSL's generator is built for."""


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
        self.telemetry = EmfTelemetry(
            write_line,
            namespace=settings.metrics_namespace,
            function_name=settings.function_name,
            host=host,
            metrics=settings.telemetry,
        )
        self._random = random
        self._sleep = sleep
        self._lock = Lock()
        self._renewing = Lock()
        self._cloned = settings.snap_start
        self._renewed = Event()
        self._served = Moment.of(clock)
        self._renew_host: Callable[[], None] = _nothing
        self._workers = Workers()
        self._begin()
        for problem in settings.problems:
            self.telemetry.log(problem)

    def _begin(self) -> None:
        """Start from nothing: all that belongs to one environment alone, and all it opens."""
        self._environment_id = ""
        self._health = StoreHealth(self.clock)
        self._credentials: CredentialSource | None = None
        self._store: Store | None = None
        self._recorder: Recorder | None = None
        self._chat: Chat | None = None
        self._providers: dict[str, Provider] = {}
        self.invocations = Invocations(
            self.store,
            self.recorder,
            self._workers,
            self.clock,
            self.telemetry,
            environment_id=self.environment_id,
        )
        self.invocations.never_frozen = self.settings.managed_instances
        self._handlers = Handlers(
            self.invocations,
            self.chat,
            self.telemetry,
            environment_id=self.environment_id,
            renew=self.renew,
        )

    # The localhost API

    def handle(self, method: str, path: str, body: bytes, *, connection: int) -> tuple[int, bytes]:
        """Answer one request with a status and a JSON body (a message or a problem)."""
        if self._cloned and path == routes.BEGIN.path and self._looks_restored():
            self._renewed.wait(RENEWAL_GRACE_SECONDS)
        return self._handlers.handle(method, path, body, connection=connection)

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
        from lambdallm_extension import price_book

        price_book.find("", self.clock.epoch_ms())
        self._open_parts()
        if self.settings.telemetry:
            self.telemetry.log(startup.started(self.settings, store=self._store is not None))

    def _open_parts(self) -> None:
        if self.settings.store_url:  # none is no problem before a session is declared
            self._open(self.store)
        self._open(lambda: self.find(self.settings.model))
        self.recorder()

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
                recorder = self._recorder
                closing = self._adapters("close")
                self._begin()
            dropped = 0 if recorder is None else recorder.abandon().records
            if dropped:
                self.telemetry.drop(dropped, epoch_ms=self.clock.epoch_ms())
            for close in closing:
                close()
            _renew_chance()
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
        with self._lock:
            adapters = self._adapters("reopen")
        try:
            for reopen in adapters:
                self._workers.start(reopen)
        except errors.OverloadedError:
            return  # whoever waits there meets the same connections

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
        """Wait until sessions and call records are written; False when some are not."""
        until = self.clock.monotonic() + seconds
        persisted = self.invocations.wait_persisted(seconds)
        persisted = self.recorder().wait(max(0.0, until - self.clock.monotonic())) and persisted
        if not persisted:
            self._health.failed()
        return persisted

    def hold_ms(self) -> int:
        """Return how long persisting may hold the environment, as the store has answered lately."""
        return self._health.hold_ms()

    def finish(self, seconds: float) -> None:
        """Try once more to write what is left; say what was not; let go of everything."""
        self._health.succeeded()  # a last try: nobody is kept waiting by it any more
        self.wait_persisted(seconds)
        dropped = self.recorder().abandon()
        if dropped.records:
            self.telemetry.drop(dropped.records, epoch_ms=self.clock.epoch_ms())
        if dropped.records or self.invocations.unsaved:
            self.telemetry.log(
                f"The environment ends with {dropped.records} call records and "
                f"{self.invocations.unsaved} units of work not stored. {dropped.reason}"
            )
        self.close()

    def close(self) -> None:
        """Let go of the store and of every connection."""
        with self._lock:
            adapters = self._adapters("close")
            self._providers, self._store = {}, None
        for close in adapters:
            close()

    def _adapters(self, method: Literal["reopen", "close"]) -> list[Callable[[], None]]:
        """Return a method of each adapter that is open; the caller has the lock."""
        stores = [] if self._store is None else [self._store]
        return [getattr(adapter, method) for adapter in (*self._providers.values(), *stores)]

    # The parts, each opened at its first use

    def store(self) -> Store:
        """Return the store that LAMBDALLM_STORE names.

        Raises:
            SettingError: It names none, or one that cannot be.
        """
        from lambdallm_extension.stores import open_store

        credentials = self.credentials()
        with self._lock:
            if self._store is None:
                self._store = open_store(self.settings, self.clock, credentials)
            return self._store

    def recorder(self) -> Recorder:
        """Return the writer of call records; without a store it keeps none."""
        try:
            store = self.store()
        except errors.SettingError:
            store = None
        with self._lock:
            if self._recorder is None:
                self._recorder = Recorder(store, self._workers, self.clock, self._health)
            return self._recorder

    def chat(self) -> Chat:
        """Return the use case that asks models."""
        recorder = self.recorder()
        with self._lock:
            if self._chat is None:
                self._chat = Chat(
                    self,
                    self,
                    recorder,
                    self.clock,
                    self._random,
                    self._sleep,
                    default_model=self.settings.model,
                    environment_id=self.environment_id,
                )
            return self._chat

    def credentials(self) -> CredentialSource:
        """Return where AWS credentials come from; nothing is fetched yet."""
        from lambdallm_extension.aws.credentials import CredentialSource

        with self._lock:
            if self._credentials is None:
                self._credentials = CredentialSource(self.settings, self.clock)
            return self._credentials

    def find(self, model: str) -> tuple[Provider, str]:
        """Return who answers for a model's name, and the provider's own id of it.

        Raises:
            SettingError: No provider of that name.
        """
        from lambdallm_extension.providers import open_provider, split_model

        name, model_id = split_model(model)
        credentials = self.credentials()
        with self._lock:
            if name not in self._providers:
                self._providers[name] = open_provider(name, self.settings, credentials, self.clock)
            return self._providers[name], model_id

    def cost_pico_usd(
        self, model_id: str, usage: Usage, *, epoch_ms: int, region: str
    ) -> int | None:
        """Return the exact cost of a call, or None when the book has no price for it."""
        from lambdallm_extension import price_book

        price = price_book.find(model_id, epoch_ms, region or self.settings.region)
        return None if price is None else price_book.cost_pico_usd(price, usage)


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


def _renew_chance() -> None:
    """Let OpenSSL, whose state the snapshot has cloned, draw from the kernel before it goes on."""
    openssl = sys.modules.get("_ssl")
    if openssl is not None:
        openssl.RAND_add(os.urandom(SEED_BYTES), SEED_BYTES)


def write_stdout_line(line: str) -> None:
    """Write one line to stdout in one piece, so that lines of threads never mix."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
