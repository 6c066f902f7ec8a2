"""Who goes on with a run: asked when an attempt has ended without finishing it.

self, sqs   asked at the end of each such attempt, by the sidecar, which outlives the function
schedule    asked when an attempt begins, for the end of its lease: it goes on with the run too
where the sidecar was killed with the function
"""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.domain import fingerprints
from lambdallm_extension.run_ports import Resumption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.run_ports import Resumer
    from lambdallm_extension.services.run_terms import Terms
    from lambdallm_wire.runs import ResumeRun, RunStatus

AFTER_LEASE_MS = 2_000
"""Between the end of a lease and the invocation that finds the run free."""


class Resuming:
    """The resumption of one run, for one attempt."""

    def __init__(
        self,
        said: ResumeRun,
        terms: Terms,
        attempts_max: int,
        resumer: Resumer,
        deadline_ms: Callable[[], int],
        log: Callable[[str], None],
    ) -> None:
        """Stand on these.

        Args:
            said: What the chain says of it.
            terms: Of the attempt.
            attempts_max: The last one that is asked for.
            resumer: Who is asked.
            deadline_ms: Until when (epoch milliseconds).
            log: Takes a sentence when it failed.
        """
        self._resumption = Resumption(
            said["via"],
            said["target"],
            said.get("queue_url", ""),
            said.get("role_arn", ""),
            said["event"],
            f"lambdallm-{fingerprints.of_text(terms.pk)}",
        )
        self._delay_seconds = max(0, said.get("delay_seconds", 0))
        self._terms = terms
        self._attempts_max = attempts_max
        self._resumer = resumer
        self._deadline_ms = deadline_ms
        self._log = log

    def begin(self) -> None:
        """Let somebody look after the run when its lease is over."""
        if self._resumption.via == "schedule" and self._is_allowed():
            at_ms = self._terms.lease.held_until_ms + AFTER_LEASE_MS
            self._tried(
                lambda: self._resumer.watch(
                    self._resumption, at_epoch_ms=at_ms, deadline_ms=self._deadline_ms()
                )
            )

    def end(self, status: RunStatus) -> bool:
        """Let the run be gone on with where the attempt was interrupted; say whether it will."""
        if status == "interrupted" and self._is_allowed():
            return self._tried(
                lambda: self._resumer.resume(
                    self._resumption,
                    delay_seconds=self._delay_seconds,
                    deadline_ms=self._deadline_ms(),
                )
            )
        if self._resumption.via == "schedule":
            self._tried(
                lambda: self._resumer.unwatch(self._resumption, deadline_ms=self._deadline_ms())
            )
        return False

    def _is_allowed(self) -> bool:
        return self._terms.attempt < self._attempts_max

    def _tried(self, ask: Callable[[], None]) -> bool:
        try:
            ask()
        except errors.ExtensionError as error:
            self._log(f"Run {self._terms.run_id}: {error.detail}")
            return False
        return True
