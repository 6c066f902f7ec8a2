"""What clients of WebSocket APIs need, for most functions have none: loaded at the first."""

from __future__ import annotations

from lambdallm_extension.aws.connections import ConnectionsApi
from lambdallm_extension.services.connections import Connections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.ports import Clock, Random
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_extension.settings import Settings
    from lambdallm_extension.stores.opened import OpenedStores


class ConnectionParts:
    """What they share with the other parts of an engine."""

    def __init__(
        self, stores: OpenedStores, workers: Workers, random: Random, sleep: Callable[[float], None]
    ) -> None:
        """Open nothing yet."""
        self._stores = stores
        self._workers = workers
        self._random = random
        self._sleep = sleep

    def open(self, settings: Settings, credentials: CredentialSource, clock: Clock) -> Connections:
        """Return what writes to them, and knows their groups."""
        stores = self._stores
        return Connections(
            ConnectionsApi(settings, credentials, clock),
            stores.store,
            has_store=lambda: stores.has_own,
            workers=self._workers,
            clock=clock,
            random=self._random,
            sleep=self._sleep,
        )
