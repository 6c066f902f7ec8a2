"""The parts of one environment's engine, each opened at its first use.

Everything here belongs to one environment alone: after the restore of a snapshot it is made anew.
"""

from __future__ import annotations

from threading import Lock

from lambdallm_extension import errors
from lambdallm_extension.services.calls import Books
from lambdallm_extension.services.chat import Chat
from lambdallm_extension.services.day_sheets import DaySheets
from lambdallm_extension.services.metering import Recorder
from lambdallm_extension.services.model_health import Health
from lambdallm_extension.services.open_streams import OpenStreams
from lambdallm_extension.services.performing import OWN, Performing
from lambdallm_extension.services.store_health import StoreHealth
from lambdallm_extension.stores.opened import OpenedStores
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.aws.secrets import Secrets
    from lambdallm_extension.domain.overhead import Overhead
    from lambdallm_extension.model_ports import Dialect, Provider
    from lambdallm_extension.ports import Clock, Random, Store, Telemetry
    from lambdallm_extension.price_book.pricing import Pricing
    from lambdallm_extension.run_parts import RunParts
    from lambdallm_extension.services.accounting import Accounting
    from lambdallm_extension.services.budgets import Budgets
    from lambdallm_extension.services.connections import Connections
    from lambdallm_extension.services.embedding import Embedding
    from lambdallm_extension.services.passing import Passing
    from lambdallm_extension.services.remembering import Remembering
    from lambdallm_extension.services.runs import Runs
    from lambdallm_extension.services.spending import Spending
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_extension.settings import Settings


class Parts:
    """Adapters and use cases. Threads share it."""

    def __init__(  # noqa: PLR0913 - what every environment is made of
        self,
        settings: Settings,
        workers: Workers,
        clock: Clock,
        random: Random,
        sleep: Callable[[float], None],
        environment_id: Callable[[], str],
        *,
        log: Callable[[str], None],
        overhead: Overhead,
    ) -> None:
        """Open nothing yet."""
        self._settings = settings
        self._workers = workers
        self._clock = clock
        self._random = random
        self._sleep = sleep
        self._environment_id = environment_id
        self._log = log
        self._pricing: Pricing | None = None
        self._lock = Lock()
        self._credentials: CredentialSource | None = None
        self._secrets: Secrets | None = None
        self._run_parts: RunParts | None = None
        self._connections: Connections | None = None
        self._stores = OpenedStores(settings, clock, self.credentials, overhead)
        self._recorder: Recorder | None = None
        self._chat: Chat | None = None
        self._embedding: Embedding | None = None
        self._passing: Passing | None = None
        self._budgets: Budgets | None = None
        self._spending: Spending | None = None
        self._remembering: Remembering | None = None
        self._providers: dict[str, Provider] = {}
        self._sheets = DaySheets(
            self._store_or_none, clock, environment_id, settings.function_name, overhead
        )
        self.store_health = StoreHealth(clock)
        self.streams = OpenStreams()
        self.performing = Performing(self, clock, settings.configuration)
        self._health = Health(
            clock, random, sleep, retry_share=settings.configuration.resilience.retry_share
        )

    # Adapters

    def store(self, url: str = "") -> Store:
        """Return the store that LAMBDALLM_STORE names, or another one.

        Raises:
            SettingError: It names none, or one that cannot be.
        """
        return self._stores.store(url)

    @property
    def has_store(self) -> bool:
        """Whether a store is open."""
        return self._stores.has_own

    def credentials(self) -> CredentialSource:
        """Return where AWS credentials come from; nothing is fetched yet."""
        from lambdallm_extension.aws.credentials import CredentialSource

        with self._lock:
            if self._credentials is None:
                self._credentials = CredentialSource(self._settings, self._clock)
            return self._credentials

    def resolve(self, reference: str, deadline_ms: int) -> str:
        """Return the API key that a reference stands for; see `aws.secrets.Secrets`."""
        return self._keys().resolve(reference, deadline_ms)

    def forget(self, reference: str) -> bool:
        """Know that a key was refused; see `aws.secrets.Secrets`."""
        return self._keys().forget(reference)

    def _keys(self) -> Secrets:
        """Return where API keys come from, which most functions never ask."""
        from lambdallm_extension.aws.secrets import Secrets

        credentials = self.credentials()
        with self._lock:
            if self._secrets is None:
                self._secrets = Secrets(self._settings, credentials, self._clock)
            return self._secrets

    def find(self, model: str) -> tuple[Provider, str]:
        """Return who answers for a model's name, and the provider's own id of it.

        Raises:
            SettingError: No provider of that name.
        """
        from lambdallm_extension.providers import split_model

        name, model_id = split_model(model)
        return self.provider(name), model_id

    def open_model(self, name: str) -> None:
        """Open the provider of a model or an alias, unless it is one of the function's own.

        Raises:
            SettingError: Nobody answers for that name.
        """
        model = self.named(name)
        configured = self._settings.configuration.providers.get(model.partition("/")[0])
        if configured is None or configured.kind != OWN:
            self.find(model)

    def named(self, name: str) -> str:
        """Return the model that stands behind a name, which may be an alias."""
        alias = self._settings.configuration.models.get(name)
        return name if alias is None else alias.model

    def provider(self, name: str) -> Provider:
        """Return a provider by its name.

        Raises:
            SettingError: There is none of that name.
        """
        from lambdallm_extension.providers import open_provider

        credentials = self.credentials()
        with self._lock:
            if name not in self._providers:
                self._providers[name] = open_provider(
                    name, self._settings, credentials, self, self._clock
                )
            return self._providers[name]

    def dialect(self, name: str, model_id: str) -> Dialect:
        """Return who reads the answers of an API; see `providers.find_dialect`."""
        from lambdallm_extension.providers import find_dialect

        return find_dialect(name, model_id)

    def opened(self, method: Literal["reopen", "close"]) -> list[Callable[[], None]]:
        """Return a method of each adapter that is open."""
        stores = self._stores.all()
        with self._lock:
            some = (self._run_parts, self._connections)
            adapters = (*some, *self._providers.values(), *stores)
            return [getattr(adapter, method) for adapter in adapters if adapter is not None]

    def close(self) -> None:
        """Let go of the store and of every connection."""
        closing = self.opened("close")
        self._stores.forget()
        with self._lock:
            self._providers = {}
        for close in closing:
            close()

    def abandon(self) -> int:
        """Let go of everything; return how many call records are lost with it."""
        with self._lock:
            recorder = self._recorder
        dropped = 0 if recorder is None else recorder.abandon().records
        self.close()
        return dropped

    @property
    def cost_headers(self) -> str:
        """Whose answers say what they have cost; see `configuration.Configuration`."""
        return self._settings.configuration.cost_headers

    # Use cases

    def recorder(self) -> Recorder:
        """Return the writer of call records; without a store it keeps none."""
        store = self._store_or_none()
        with self._lock:
            if self._recorder is None:
                self._recorder = Recorder(store, self._workers, self._clock, self.store_health)
            return self._recorder

    def chat(self) -> Chat:
        """Return the use case that asks models."""
        books = self._books()
        with self._lock:
            if self._chat is None:
                self._chat = Chat(
                    self.performing,
                    books,
                    self._health,
                    self.streams,
                    default_model=self._settings.model,
                    configuration=self._settings.configuration,
                )
            return self._chat

    def embedding(self) -> Embedding:
        """Return the use case that turns texts into vectors."""
        from lambdallm_extension.services.embedding import Embedding

        books = self._books()
        with self._lock:
            if self._embedding is None:
                configuration = self._settings.configuration
                self._embedding = Embedding(self.performing, books, self._health, configuration)
            return self._embedding

    def remembering(self, telemetry: Telemetry) -> Remembering:
        """Return what makes summaries and vectors of sessions, beside their handlers."""
        from lambdallm_extension.services.remembering import Remembering

        with self._lock:
            if self._remembering is None:
                environ = self._settings.environ
                self._remembering = Remembering(
                    self,
                    self._clock,
                    telemetry,
                    environment_id=self._environment_id,
                    summary_model=environ.get(names.ENVIRONMENT_SUMMARY_MODEL, ""),
                    embedding_model=environ.get(names.ENVIRONMENT_EMBEDDING_MODEL)
                    or names.DEFAULT_EMBEDDING_MODEL,
                )
            return self._remembering

    def wait_remembered(self, seconds: float) -> bool:
        """Wait until no summary and no vector is being made; whether one was, and none is now."""
        remembering = self._remembering
        return remembering is not None and remembering.wait(seconds)

    def runs(self) -> Runs:
        """Return what opens the runs of chains."""
        from lambdallm_extension.run_parts import RunParts

        credentials = self.credentials()
        with self._lock:
            if self._run_parts is None:
                self._run_parts = RunParts(self._settings, credentials, self._clock, self._log)
        return self._run_parts.open(self.store, self._workers, self._environment_id, self.streams)

    def connections(self) -> Connections:
        """Return what writes to clients of WebSocket APIs."""
        from lambdallm_extension.connection_parts import ConnectionParts

        gateway = (self._settings, self.credentials(), self._clock)
        with self._lock:
            if self._connections is None:
                make = ConnectionParts(self._stores, self._workers, self._random, self._sleep)
                self._connections = make.open(*gateway)
            return self._connections

    def passing(self) -> Passing:
        """Return the use case that passes clients' own requests on."""
        from lambdallm_extension.services.passing import Passing

        books = self._books()
        with self._lock:
            if self._passing is None:
                drain_seconds = self._settings.configuration.resilience.drain_seconds
                self._passing = Passing(books, self.streams, drain_seconds=drain_seconds)
            return self._passing

    def pricing(self) -> Pricing:
        """Return who knows what calls cost."""
        from lambdallm_extension.price_book.pricing import Pricing

        with self._lock:
            if self._pricing is None:
                self._pricing = Pricing(
                    self._settings,
                    self.credentials,
                    self.resolve,
                    self._clock,
                    self._workers,
                    self._log,
                )
            return self._pricing

    def flush_budgets(self, seconds: float, *, last: bool = False) -> bool:
        """Return what is leased and not needed, and tell what was spent; False where that failed.

        Args:
            seconds: At most so long.
            last: The environment ends.
        """
        deadline_ms = self._clock.epoch_ms() + round(seconds * 1_000)
        told = True
        self.performing.give_up(all_=last)
        if self._budgets is not None:
            try:
                self._budgets.flush(deadline_ms=deadline_ms, last=last)
            except errors.ExtensionError:
                told = False  # tried again at the next end; nothing is spent twice meanwhile
        try:
            self._sheets.flush(deadline_ms, last=last)
        except errors.ExtensionError:
            told = False  # sums only grow: the next one says all of it
        return told

    def book_compute(self, pico_usd: int) -> None:
        """Count what Lambda has billed, for the reports of days."""
        self._sheets.book_compute(pico_usd)

    def spending(self) -> Spending:
        """Return what says whether a call may be made."""
        from lambdallm_extension.services.budget_rules import BudgetRules
        from lambdallm_extension.services.budgets import Budgets
        from lambdallm_extension.services.spending import Spending

        pricing = self.pricing()
        with self._lock:
            if self._spending is None:
                configuration = self._settings.configuration
                rules = BudgetRules(
                    configuration.budgets, self._store_or_none, self._clock, self._log
                )
                budgets = self._budgets = Budgets(
                    rules.current, self.store, self._clock, self._environment_id, self._log
                )
                self._spending = Spending(
                    budgets,
                    pricing,
                    self._clock,
                    configuration.spending,
                    self._settings.function_name,
                    rules.check,
                )
            return self._spending

    def accounting(self) -> Accounting:
        """Return what whoever pays may ask."""
        from lambdallm_extension.services.accounting import Accounting

        settings = self._settings
        return Accounting(
            settings.configuration.budgets,
            self.store,
            self._clock,
            in_function=settings.in_lambda,
        )

    def _store_or_none(self) -> Store | None:
        try:
            return self.store()
        except errors.SettingError:
            return None

    def _books(self) -> Books:
        return Books(
            self.recorder(),
            self.pricing(),
            self._clock,
            self._environment_id,
            self.spending(),
            self._sheets,
        )
