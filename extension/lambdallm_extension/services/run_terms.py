"""What one attempt of a run relies on: its number, its lease, and the word that it is over."""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import errors
from lambdallm_extension.services.run_items import RunHead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.domain.moments import Moment
    from lambdallm_extension.ports import Item

SKEW_MS = 1_000
"""Of the clocks of two environments; AWS keeps them within milliseconds of each other."""


class Lease(NamedTuple):
    """How long one attempt has a run.

    Attributes:
        until_ms: Nobody else opens it until then.
        at: When that was said.
        held_until_ms: Nobody renews it beyond that: the unit of work is over then.
    """

    until_ms: int
    at: Moment
    held_until_ms: int

    def is_over(self, now: Moment) -> bool:
        """Say whether somebody else can have opened it, by whichever clock went furthest."""
        held_ms = self.until_ms - SKEW_MS - self.at.epoch_ms
        return now.seconds_since(self.at) * 1_000 >= held_ms


class Terms(NamedTuple):
    """What a run was opened with.

    Attributes:
        pk: Its partition.
        run_id: As its owner names it.
        attempt: Which one this is: nobody else's writes are taken under this number.
        life: Which of the runs of this id it is, see `run_items`: one that was deleted and is
            begun anew counts its attempts from 1 again.
        lease: Until when nobody else opens it.
        max_cost_pico_usd: All attempts together may cost so much; None: no limit of its own.
        ttl_seconds: So long after the last attempt it is kept.
    """

    pk: str
    run_id: str
    attempt: int
    life: str
    lease: Lease
    max_cost_pico_usd: int | None
    ttl_seconds: int


def over(terms: Terms) -> errors.RunLostError:
    """Make the error of an attempt that has ended, or outlived its lease."""
    return errors.RunLostError(
        f"The lease of run {terms.run_id!r} is over: attempt {terms.attempt} has ended or stood "
        "still for too long, and another one may go on with it. No model was asked."
    )


def lost(terms: Terms, head: Item | None) -> errors.RunLostError:
    """Make the error of an attempt whose head is not as it left it."""
    run_id, ours = terms.run_id, terms.attempt
    if head is None:
        return errors.RunLostError(f"Run {run_id!r} is not there any more: it was deleted.")
    found = RunHead.of(head)
    if found.life != terms.life:
        return errors.RunLostError(f"Run {run_id!r} is over, and another one has begun.")
    if found.status == "stopped":
        return errors.RunLostError(f"Run {run_id!r} was stopped: {found.error}")
    if found.attempt == ours:
        return errors.RunLostError(f"Attempt {ours} of run {run_id!r} has ended: {found.status}.")
    return errors.RunLostError(
        f"Run {run_id!r} is at attempt {found.attempt} ({found.status}); this was attempt {ours}, "
        "whose lease is over. Nothing was written, and no model asked."
    )
