"""What runs of chains need beside a store, for most functions have none: opened at the first."""

from __future__ import annotations

from threading import Lock

from lambdallm_extension.services.run_heartbeat import Heartbeat
from lambdallm_extension.services.runs import Runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.aws.resumers import AwsResumer
    from lambdallm_extension.ports import Clock, Store
    from lambdallm_extension.services.open_streams import OpenStreams
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_extension.settings import Settings


class RunParts:
    """Who renews leases, and who goes on with runs. Threads share it."""

    def __init__(
        self,
        settings: Settings,
        credentials: CredentialSource,
        clock: Clock,
        log: Callable[[str], None],
    ) -> None:
        """Open nothing yet; leases are renewed where nothing freezes this process."""
        self._settings = settings
        self._credentials = credentials
        self._clock = clock
        self._log = log
        self._lock = Lock()
        self._resumer: AwsResumer | None = None
        self._heartbeat = Heartbeat(log) if settings.managed_instances else None

    def open(
        self,
        store: Callable[[], Store],
        workers: Workers,
        environment_id: Callable[[], str],
        streams: OpenStreams,
    ) -> Runs:
        """Return what opens runs; see `parts.Parts`."""
        return Runs(
            store,
            workers,
            self._clock,
            environment_id,
            streams,
            log=self._log,
            resumer=self._open_resumer,
            heartbeat=self._heartbeat,
        )

    def _open_resumer(self) -> AwsResumer:
        from lambdallm_extension.aws.resumers import AwsResumer

        with self._lock:
            if self._resumer is None:
                self._resumer = AwsResumer(self._settings, self._credentials, self._clock)
            return self._resumer

    def reopen(self) -> None:
        """Open connections anew, after a freeze."""
        if self._resumer is not None:
            self._resumer.reopen()

    def close(self) -> None:
        """Renew nothing more, and let go of connections."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if self._resumer is not None:
            self._resumer.close()
