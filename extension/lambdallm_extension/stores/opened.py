"""The stores of one environment, each opened at its first use."""

from __future__ import annotations

from threading import Lock

from lambdallm_extension import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.domain.overhead import Overhead
    from lambdallm_extension.ports import Clock, Store
    from lambdallm_extension.settings import Settings

FURTHER_STORES_MAX = 16
"""Stores beside LAMBDALLM_STORE's: each `Session(store=URL)` has one, and code names few."""


class OpenedStores:
    """LAMBDALLM_STORE's, and those that sessions name themselves. Threads share it."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        credentials: Callable[[], CredentialSource],
        overhead: Overhead,
    ) -> None:
        """Open nothing yet."""
        self._settings = settings
        self._clock = clock
        self._credentials = credentials
        self._overhead = overhead
        self._lock = Lock()
        self._stores: dict[str, Store] = {}

    def store(self, url: str = "") -> Store:
        """Return the store that LAMBDALLM_STORE names, or another one.

        Raises:
            SettingError: It names none, or one that cannot be.
        """
        url = url or self._settings.store_url
        store = self._stores.get(url)
        return self._open(url) if store is None else store

    def _open(self, url: str) -> Store:
        from lambdallm_extension.stores import open_store

        settings, credentials = self._settings, self._credentials()
        with self._lock:
            if url not in self._stores:
                if url != settings.store_url and len(self._further()) >= FURTHER_STORES_MAX:
                    message = f"More than {FURTHER_STORES_MAX} stores in one environment."
                    raise errors.SettingError(message)
                self._stores[url] = open_store(
                    settings._replace(store_url=url), self._clock, credentials, self._overhead
                )
            return self._stores[url]

    def _further(self) -> list[str]:
        return [url for url in self._stores if url != self._settings.store_url]

    @property
    def has_own(self) -> bool:
        """Whether LAMBDALLM_STORE's is open."""
        return self._settings.store_url in self._stores

    def all(self) -> list[Store]:
        """Return those that are open."""
        with self._lock:
            return [*self._stores.values()]

    def forget(self) -> None:
        """Open them anew from now on; whoever has closed them says so."""
        with self._lock:
            self._stores = {}
