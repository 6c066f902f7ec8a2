"""What the use cases need of the world. Adapters implement these; tests run one suite per port."""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple, Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambdallm_extension.domain.call_bounds import Bound
    from lambdallm_wire.chat import Usage

    Value = None | bool | int | str | Sequence["Value"] | Mapping[str, "Value"]
    """What an item can hold. No floats: stores round them differently."""


class Clock(Protocol):
    """Time as a parameter."""

    def epoch_ms(self) -> int:
        """Wall clock, milliseconds since 1970. For expiries, deadlines and keys."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back. For durations inside one invocation only."""
        ...

    def boottime(self) -> float:
        """Seconds since the machine started, its suspensions included. For gaps (`moments`)."""
        ...


class Random(Protocol):
    """Chance as a parameter."""

    def uniform(self, low: float, high: float) -> float:
        """Return a number between the two."""
        ...


class Key(NamedTuple):
    """Address of an item: partition and sort key, both non-empty."""

    pk: str
    sk: str


class Item(NamedTuple):
    """An item as it stands in the store.

    `expires_at` (epoch seconds) is when the store may delete it; None: never. A store may
    return an expired item that it has not deleted yet: the reader's clock decides.
    """

    key: Key
    attributes: Mapping[str, Value]
    expires_at: int | None = None


class Condition(NamedTuple):
    """What must hold of the stored item; all parts together. The empty condition always holds.

    Attributes:
        absent: There is no item under the key (True), there is one (False), or either (None).
        equals: Attributes with exactly these values; an absent item has none of them.
        at_most: Numeric attributes not above these; a missing attribute counts as 0.
    """

    absent: bool | None = None
    equals: Mapping[str, Value] = {}
    at_most: Mapping[str, int] = {}


ALWAYS = Condition()
ABSENT = Condition(absent=True)
PRESENT = Condition(absent=False)


class Put(NamedTuple):
    """Write the whole item."""

    item: Item
    condition: Condition = ALWAYS


class Add(NamedTuple):
    """Add to numbers and set attributes of an item, creating it where it is absent.

    Attributes:
        add: Numeric attributes to change by this much; a missing one starts at 0.
        assign: Attributes to set; others stay as they are.
        expires_at: New expiry, None leaves it.
    """

    key: Key
    add: Mapping[str, int] = {}
    assign: Mapping[str, Value] = {}
    expires_at: int | None = None
    condition: Condition = ALWAYS


class Check(NamedTuple):
    """Write nothing, but refuse the transaction unless the condition holds."""

    key: Key
    condition: Condition


Action = Put | Add | Check


class Page(NamedTuple):
    """A part of a long answer; `cursor` asks for the next one, "" behind the last."""

    items: Sequence[Item]
    cursor: str


class Store(Protocol):
    """A key-value store with conditions. Every store passes tests/extension/stores.

    Reads are strongly consistent. A read that fails raises `StoreUnavailableError` or
    `StoreRefusedError`; it never looks like "nothing there". `deadline_ms` (epoch) bounds the
    whole operation, retries included.
    """

    def get(self, key: Key, *, deadline_ms: int) -> Item | None:
        """Return the item, or None when there is none."""
        ...

    def query(
        self,
        pk: str,
        prefix: str,
        *,
        first: str = "",
        reverse: bool = False,
        limit: int | None = None,
        deadline_ms: int,
    ) -> list[Item]:
        """Return the partition's items whose sort key begins with `prefix`, in its byte order.

        Args:
            pk: The partition.
            prefix: May be empty: the whole partition.
            first: The items from this sort key up to the prefix are returned too; where it lies
                within the prefix, those from it on and no others. With it, no key may go on with
                U+10FFFF behind the prefix.
            reverse: Last sort key first.
            limit: At most so many; None returns all, in as many round trips as it takes.
            deadline_ms: Wall clock, epoch milliseconds.
        """
        ...

    def outline(self, pk: str, *, deadline_ms: int) -> list[Item]:
        """Return all items of a partition, without their large texts, which nobody looks for.

        For who deletes, and has to find what is expired or damaged, too.
        """
        ...

    def put_if(self, put: Put, *, deadline_ms: int) -> None:
        """Write one item if its condition holds.

        Raises:
            ConditionFailedError: It does not; `current[0]` is what stands there.
            StoreUnavailableError: Nothing was written.
            WriteUncertainError: It may have been written.
        """
        ...

    def add_if(self, add: Add, *, deadline_ms: int) -> Item:
        """Change one item if its condition holds, and return it as it is then.

        Raises:
            ConditionFailedError, StoreUnavailableError, WriteUncertainError: As `put_if`.
        """
        ...

    def transact(self, actions: Sequence[Action], *, token: str, deadline_ms: int) -> None:
        """Do all of it or nothing: 1 to 100 actions on different keys.

        Args:
            actions: What to do.
            token: 1 to 36 characters; the same transaction sent again within ten minutes under
                the same token is done once.
            deadline_ms: Wall clock, epoch milliseconds.

        Raises:
            ConditionFailedError, StoreUnavailableError, WriteUncertainError: As `put_if`.
        """
        ...

    def delete(self, key: Key, *, deadline_ms: int, condition: Condition = ALWAYS) -> None:
        """Remove an item, with all that is kept of it elsewhere; where there is none, do nothing.

        Raises:
            ConditionFailedError: It does not hold of what stands there, or of nothing.
            StoreUnavailableError, WriteUncertainError: Not all of it may be gone; delete it again.
        """
        ...

    def scan(self, prefix: str, sk: str, *, cursor: str = "", deadline_ms: int) -> Page:
        """Return a page of the items under one sort key, in all partitions of a prefix.

        Every item of the store is looked at: for people who look after it, never for a handler.
        The order is the store's own. What is written meanwhile may come, or not; nothing else is
        left out, and nothing comes twice unless it was written meanwhile. A page may be empty.

        Args:
            prefix: How the partitions begin; not empty.
            sk: The whole sort key.
            cursor: Of the page before; "" asks for the first one.
            deadline_ms: Wall clock, epoch milliseconds.
        """
        ...

    def reopen(self) -> None:
        """Drop connections that may have died in a freeze, and open a fresh one if that helps."""
        ...

    def close(self) -> None:
        """Let go of files and sockets."""
        ...


class InvocationReport(NamedTuple):
    """What one unit of work did, for telemetry. No prompt, no answer, no session id.

    Attributes:
        outcome: `ok`, `error`, or `killed` when the process vanished before `end`; `late` of
            calls that were answered after their unit's own report, `forked` of what a forked
            child did.
        cost_pico_usd: Of the calls that could be priced; `unpriced_calls` counts the others.
        session_read_ms, session_save_ms: None when no session was declared or written.
        records_dropped: Call records that the store did not take.
        blocked: Calls that no budget had room for.
        downgraded: Calls that asked a cheaper model than was wanted.
        budget_percent: Leased of the fullest budget that a call belonged to; None without one.
        runs_completed, runs_failed: Runs of chains that ended so in it.
        runs_stalled: Runs that were given up, because attempts at them led nowhere.
        runs_regenerated: Generations that an earlier attempt at the run had made already.
    """

    work_id: str
    request_id: str
    environment_id: str
    outcome: str
    error_code: str
    cold_start: bool
    models: tuple[str, ...]
    calls: int
    errors: int
    throttles: int
    usage: Usage
    cost_pico_usd: int
    unpriced_calls: int
    model_latency_ms: int
    handler_ms: float | None
    session_read_ms: float | None
    session_save_ms: float | None
    records_dropped: int
    epoch_ms: int
    blocked: int = 0
    downgraded: int = 0
    budget_percent: int | None = None
    runs_completed: int = 0
    runs_failed: int = 0
    runs_stalled: int = 0
    runs_regenerated: int = 0


class InvocationBill(NamedTuple):
    """What an invocation came to, in pico-USD, as Lambda bills it and lines have told it.

    Attributes:
        status: Lambda's own word: `success`, `error`, `failure` or `timeout`.
        billed_ms: Init is in it.
        memory_used_mb, init_ms: None where Lambda did not say.
        estimated: By how long the function has run, in the place of a bill.
        basis, price_region: Of `domain.compute_prices.Compute`.
        cost_pico_usd, overhead_pico_usd, unpriced_calls: The lines' sums.
    """

    request_id: str
    status: str
    billed_ms: int
    memory_mb: int
    memory_used_mb: int | None
    init_ms: float | None
    estimated: bool
    compute_pico_usd: int
    basis: str
    price_region: str
    cost_pico_usd: int
    overhead_pico_usd: int
    unpriced_calls: int
    environment_id: str = ""
    epoch_ms: int = 0


class Telemetry(Protocol):
    """Where reports go. It never raises and never waits for a network."""

    def emit(self, report: InvocationReport) -> None:
        """Take one report."""
        ...

    def drop(self, records: int, *, epoch_ms: int) -> None:
        """Take how many call records were given up when no unit of work is left to say it."""
        ...

    def log(self, message: str) -> None:
        """Take one sentence for whoever operates the function."""
        ...


class Used(NamedTuple):
    """What a call has used.

    Attributes:
        usage: In disjoint counts.
        service_tier: What is billed, in the provider's own words; "" where it does not say.
        raw_usage: The provider's own counts, which tell audio and images apart; None without.
    """

    usage: Usage
    service_tier: str = ""
    raw_usage: Mapping[str, object] | None = None


class Prices(Protocol):
    """What a call costs."""

    def most_pico_usd(self, model: str, bound: Bound, *, epoch_ms: int, region: str) -> int | None:
        """Return the most that a call within a bound can cost; None where nobody knows a price."""
        ...

    def prepare(self, model: str) -> None:
        """Look beside the call for what its price will be asked by. Never waits, never raises."""
        ...

    def cost_pico_usd(
        self, model: str, answering: str, used: Used, *, epoch_ms: int, region: str
    ) -> int | None:
        """Return the exact cost, or None when nobody knows the price: never 0.

        Args:
            model: Who was asked, `provider/model`.
            answering: The provider's own id of who has answered, "" where it does not say.
            used: How much of what.
            epoch_ms: When it was asked.
            region: Where it was asked, "" for the environment's own.
        """
        ...
