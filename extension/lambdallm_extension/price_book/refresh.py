"""A newer price book than the one that was shipped, from the user's own bucket.

    LAMBDALLM_PRICES=s3://BUCKET/KEY        LAMBDALLM_PRICES_KEY=the key, or its secret's ARN

It is a book as `lambdallm price-book sign` writes it: see `lambdallm_wire.signed_books`.
It is fetched beside a model call and never waited for. A book with another signature, one that
cannot be read, and one that is older than the one in use change nothing, and are told once.
"""

from __future__ import annotations

from threading import Lock

from lambdallm_extension import errors
from lambdallm_extension.aws.s3 import Bucket, parse_location
from lambdallm_extension.price_book.book import Book, built_in
from lambdallm_wire import names
from lambdallm_wire.signed_books import verified

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.services.tasks import Task, Workers
    from lambdallm_extension.settings import Settings

FRESH_MS = 3_600_000
"""So long a book is used before the bucket is asked again: prices change by the month."""

AGAIN_MS = 300_000
"""After a failure."""

FETCH_MS = 10_000
SILENT_FAILURES_MAX = 1
"""Of the bucket, before it is told: a freeze in the middle of a fetch is one."""


class Refresh:
    """The book in use. Threads share it."""

    def __init__(
        self,
        settings: Settings,
        credentials: Callable[[], CredentialSource],
        resolve: Callable[[str, int], str],
        clock: Clock,
        workers: Workers,
        log: Callable[[str], None],
    ) -> None:
        """Fetch nothing yet.

        Args:
            settings: Where the newer book lies, if there is one, and its key's reference.
            credentials: Of the function's own role.
            resolve: Returns the key of a reference, by a deadline in epoch milliseconds.
            clock: Says when it is time to look again.
            workers: Where it is fetched.
            log: Takes a sentence about what is wrong.
        """
        self._settings = settings
        self._credentials = credentials
        self._resolve = resolve
        self._clock = clock
        self._workers = workers
        self._log = log
        self._lock = Lock()
        self._book: Book | None = None
        self._url = settings.environ.get(names.ENVIRONMENT_PRICES, "").strip()
        self._due_ms: int | None = None
        self._task: Task[None] | None = None
        self._failures = 0
        self._told: set[str] = set()

    def book(self) -> Book:
        """Return the newest book there is."""
        return self._book or built_in()

    def prepare(self) -> None:
        """Look for a newer one beside the caller, when it is time to. Never waits, never raises."""
        if not self._url:
            return
        now_ms = self._clock.epoch_ms()
        with self._lock:
            is_due = self._due_ms is None or now_ms >= self._due_ms
            is_set_back = self._due_ms is not None and self._due_ms - now_ms > FRESH_MS
            is_under_way = self._task is not None and not self._task.done
            if is_under_way or not (is_due or is_set_back):
                return
            try:
                self._task = self._workers.start(self._fetch)
            except errors.OverloadedError:
                return  # the next call looks

    def wait(self, seconds: float) -> None:
        """Wait until nothing is being fetched, for somebody who has the time.

        Raises:
            DeadlineError: It still is.
        """
        with self._lock:
            task = self._task
        if task is not None:
            task.wait(seconds)

    def _fetch(self) -> None:
        after_ms = AGAIN_MS
        try:
            self._take(Book(self._read()))
            after_ms, self._failures = FRESH_MS, 0
        except (errors.StoreUnavailableError, errors.ProviderError, errors.DeadlineError) as error:
            self._failures += 1
            if self._failures > SILENT_FAILURES_MAX:
                self._tell("unavailable", str(error))
        except (errors.ExtensionError, ValueError) as error:
            self._tell(str(error), str(error))
        finally:
            with self._lock:
                self._due_ms = self._clock.epoch_ms() + after_ms

    def _read(self) -> str:
        deadline_ms = self._clock.epoch_ms() + FETCH_MS
        reference = self._settings.environ.get(names.ENVIRONMENT_PRICES_KEY, "").strip()
        if not reference:
            message = f"{names.ENVIRONMENT_PRICES_KEY} is not set, and no signature can be checked."
            raise errors.SettingError(message)
        location = parse_location(self._url, names.ENVIRONMENT_PRICES)
        folder, _, key = location.prefix.rpartition("/")
        if not key:
            message = f"{names.ENVIRONMENT_PRICES}={self._url!r} names no object: s3://BUCKET/KEY."
            raise errors.SettingError(message)
        bucket = Bucket(
            location._replace(prefix=folder),
            self._settings,
            self._clock,
            self._credentials(),
            setting=names.ENVIRONMENT_PRICES,
        )
        try:
            signed = bucket.get(key, deadline_ms=deadline_ms)
        finally:
            bucket.close()
        if signed is None:
            message = f"There is no {self._url}."
            raise errors.SettingError(message)
        return verified(signed, self._resolve(reference, deadline_ms).encode()).decode()

    def _take(self, book: Book) -> None:
        """Use a book that is newer; one that is as old is the one in use.

        Raises:
            ValueError: It is older, or some line of it cannot be read.
        """
        before = self.book().version
        if book.version < before:
            message = f"its version is {book.version}, and {before} is in use"
            raise ValueError(message)
        if book.version > before:
            book.check()
            self._book = book

    def _tell(self, which: str, said: str) -> None:
        if which not in self._told:
            self._told.add(which)
            self._log(
                f"WARN The price book of {names.ENVIRONMENT_PRICES} is not used, version "
                f"{self.book().version} is: {said}"
            )
