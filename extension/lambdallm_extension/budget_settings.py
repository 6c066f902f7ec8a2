"""What may be spent, as `lambdallm.yaml` and the table say it: rules of budgets."""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SCOPES = ("organisation", "tenant", "user", "function", "model", "session", "run", "tag")
"""What a budget can be of; a tag's name follows it: `tag:team`."""

WINDOWS = ("day", "week", "month", "all")

REACTIONS = ("block", "downgrade", "warn")

LIMIT_MAX_USD = 10**12
LIMIT_MAX_PICO_USD = LIMIT_MAX_USD * 10**12
"""A million million dollars: numbers in stores have 38 digits."""


class Budget(NamedTuple):
    """A rule.

    Attributes:
        name: Unique among all; how people call it.
        scope: One of `SCOPES`.
        only: The one id that it is about; "": each id has a limit of its own.
        window: `day`, `week`, `month`, or `all` for ever (sessions).
        limit_pico_usd: Not more than this is spent in a window; None: it is only stopped, or not.
        time_zone: Of the windows' beginnings, an IANA name.
        on_exceeded: One of `REACTIONS`: `block`; `downgrade`, which asks a cheaper model from
            `DOWNGRADE_PERCENT` on, and blocks at the limit; `warn`, which blocks nothing.
        allowance_pico_usd: What one environment may spend in a window while the store cannot be
            asked; 0: nothing.
        stopped: Nothing may be spent, whatever is left.
        limits: Of ids that have another one, in pico-USD.
        why: It is stopped, where nobody has stopped it; a sentence.
    """

    name: str
    scope: str
    only: str = ""
    window: str = "day"
    limit_pico_usd: int | None = None
    time_zone: str = "UTC"
    on_exceeded: str = "block"
    allowance_pico_usd: int = 0
    stopped: bool = False
    limits: Mapping[str, int] = {}
    why: str = ""

    def limit_of(self, scope_id: str) -> int | None:
        """Return the limit of one of its cases."""
        return self.limits.get(scope_id, self.limit_pico_usd)

    def concerns(self, scopes: Mapping[str, str]) -> str | None:
        """Return the id of the case of it that a call belongs to, None where it does not."""
        found = "" if self.scope == "organisation" else scopes.get(self.scope)
        if found is None or (self.only and found != self.only):
            return None
        return found


class SpendingRules(NamedTuple):
    """What to do with what cannot be bounded, under a budget that blocks.

    Attributes:
        unpriced: Of a model without a known price: `block`, or `allow`, which books nothing.
        unbounded: Of inputs that are not in the request: `reserve` as much as the model reads,
            or `block`.
        unmetered: Of paths whose answers nobody reads for their usage: `block` or `allow`.
        downgrade_to: Asked instead, from `DOWNGRADE_PERCENT` of a budget on whose reaction that
            is; "": nothing.
    """

    unpriced: str = "block"
    unbounded: str = "reserve"
    unmetered: str = "block"
    downgrade_to: str = ""
