"""The engine, composed: the one place where use cases and adapters meet.

Both hosts build it from here: the extension's process (`__main__`), and `lambdallm._embedded` in
a process that has no sidecar. Whatever is not needed at once is opened at its first use.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from lambdallm_extension import errors, startup
from lambdallm_extension.server.handlers import Handlers
from lambdallm_extension.services.chat import Chat
from lambdallm_extension.services.invocations import Invocations
from lambdallm_extension.services.metering import Recorder
from lambdallm_extension.services.store_health import StoreHealth
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.settings import Settings, SystemClock, SystemRandom
from lambdallm_extension.telemetry.emf import EmfTelemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.ports import Clock, Provider, Random, Store
    from lambdallm_wire.chat import Usage


class Engine:
    """What answers the localhost API, wherever it is hosted."""

    def __init__(
        self,
        settings: Settings,
        *,
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
            metrics=settings.telemetry,
        )
        self._random = random
        self._sleep = sleep
        self._lock = Lock()
        self._environment_id = ""
        self._health = StoreHealth(clock)
        self._credentials: CredentialSource | None = None
        self._store: Store | None = None
        self._recorder: Recorder | None = None
        self._chat: Chat | None = None
        self._providers: dict[str, Provider] = {}
        self._workers = Workers()
        self.invocations = Invocations(
            self.store,
            self.recorder,
            self._workers,
            clock,
            self.telemetry,
            environment_id=self.environment_id,
        )
        self._handlers = Handlers(
            self.invocations, self.chat, self.telemetry, environment_id=self.environment_id
        )
        for problem in settings.problems:
            self.telemetry.log(problem)

    # The localhost API

    def handle(self, method: str, path: str, body: bytes, *, connection: int) -> tuple[int, bytes]:
        """Answer one request with a status and a JSON body (a message or a problem)."""
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
        if self.settings.store_url:  # none is no problem before a session is declared
            self._open(self.store)
        self._open(lambda: self.find(self.settings.model))
        self.recorder()
        if self.settings.telemetry:
            self.telemetry.log(startup.started(self.settings, store=self._store is not None))

    def _open(self, opener: Callable[[], object]) -> None:
        try:
            opener()
        except errors.SettingError as error:
            self.telemetry.log(error.detail)

    def reopen(self) -> None:
        """Open connections, or replace those that may have died in a freeze, beside the caller."""
        with self._lock:
            adapters = [provider.reopen for provider in self._providers.values()]
            if self._store is not None:
                adapters.append(self._store.reopen)
        with suppress(errors.OverloadedError):  # whoever waits there meets the same connections
            for reopen in adapters:
                self._workers.start(reopen)

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
            adapters = [provider.close for provider in self._providers.values()]
            if self._store is not None:
                adapters.append(self._store.close)
            self._providers, self._store = {}, None
        for close in adapters:
            close()

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


def build(settings: Settings | None = None) -> Engine:
    """Build an engine for this process.

    Args:
        settings: From the environment if None.
    """
    settings = Settings.from_environ() if settings is None else settings
    return Engine(
        settings,
        clock=SystemClock(),
        random=SystemRandom(),
        sleep=time.sleep,
        write_line=write_stdout_line,
    )


def write_stdout_line(line: str) -> None:
    """Write one line to stdout in one piece, so that lines of threads never mix."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
