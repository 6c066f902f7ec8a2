"""When a run is not opened: it is another chain's, somebody else's, or leads nowhere. No I/O."""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.domain import fingerprints
from lambdallm_extension.services.run_terms import SKEW_MS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.services.run_items import RunHead
    from lambdallm_wire.runs import OpenRun

ATTEMPTS_MAX = 100
"""So often a run is opened, unless its chain says otherwise."""

STALLS_MAX = 5
"""Attempts in a row that finish no step: the next one would not either."""

BUSY_MIN_SECONDS = 1.0


def refuse_other(message: OpenRun, head: RunHead) -> None:
    """Refuse to go on with what is another chain now.

    Raises:
        StoreRefusedError: It is; the message names the difference.
    """
    run_id = message["run_id"]
    if head.name != message["name"]:
        detail = (
            f"Run {run_id!r} is one of chain {head.name!r}, not of {message['name']!r}. "
            "Nothing was run: give this chain another run_id."
        )
        raise errors.StoreRefusedError(detail)
    if head.status == "completed":
        return  # its result is what it is: an event that comes again after a deployment gets it
    version = message.get("version", "")
    if version != head.version and head.version in message.get("migrations", {}):
        return
    different = fingerprints.difference(
        head.declared, declared(message), versions=(head.version, version)
    )
    if different:
        detail = (
            f"Run {run_id!r} cannot go on: {different}. Its results would be mixed from two "
            "chains. Finish it with the code that it began with, say with Chain(migrations=…) "
            "what became of each step, or begin anew under another run_id."
        )
        raise errors.StoreRefusedError(detail)


def refuse_busy(message: OpenRun, head: RunHead, now_ms: int) -> None:
    """Refuse to go on with what another attempt has.

    Raises:
        RunBusyError: It has; it says when to ask again.
    """
    if head.status != "running" or head.leased_until_ms + SKEW_MS <= now_ms:
        return
    if head.claim and head.claim == message.get("claim"):
        return  # the same attempt, under another engine: the first one is lost
    seconds = max(BUSY_MIN_SECONDS, (head.leased_until_ms + SKEW_MS - now_ms) / 1_000)
    detail = (
        f"Run {message['run_id']!r} is under way in another invocation, until it ends or for "
        f"{seconds:.0f} s at most. Nothing was begun; ask again then."
    )
    raise errors.RunBusyError(detail, retry_after_seconds=seconds)


def given_up(message: OpenRun, taken: RunHead) -> str:
    """Say why no further attempt is made, "" where one is.

    What code does as it goes declares no steps. An idempotent handler never finishes one, and an
    outage of five deliveries would make its key useless: whoever sends it again decides.
    """
    attempts_max = message.get("attempts_max", ATTEMPTS_MAX)
    if taken.attempt - taken.waited > attempts_max:
        return f"{attempts_max} attempts were made, and none finished it."
    if taken.stalls >= STALLS_MAX and message.get("declared"):
        return f"{STALLS_MAX} attempts in a row have finished no step: it makes no progress."
    return ""


def declared(message: OpenRun) -> tuple[tuple[str, str], ...]:
    """Return the keys and fingerprints of a chain's steps."""
    return tuple([(each["key"], each["fingerprint"]) for each in message.get("declared", ())])
