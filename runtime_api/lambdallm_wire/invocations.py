"""Begin and end of one unit of work.

A unit of work is one invocation, or one record where an invocation carries many. Its id
stands in every message: nothing is keyed by "the current invocation".
"""

from __future__ import annotations

from typing import Literal, TypedDict

from lambdallm_wire.sessions import SessionRule  # noqa: TC001 - read by get_type_hints

Outcome = Literal["ok", "error", "moved"]


class BeginRequest(TypedDict, total=False):
    """Opens a unit of work on the process's control connection.

    Args:
        wire_version, sdk_version: The handshake.
        work_id: Request id, plus the record's id where one invocation carries many.
        request_id: Lambda's request id.
        deadline_epoch_ms: When Lambda ends the invocation.
        cold_start: Whether this process has handled nothing before.
        session: The session to load, if one is declared.
        continues: The `writer` that another engine gave this unit before it was lost: what it
            wrote of the exchange is said again here, and replaced.
        forked: A child that was forked within a unit of work asks for itself; it may end its
            process without a word.
        window_follows: The session is asked for at once, on another connection: it is read for
            that request, and not before.
        trace_id: The invocation's `X-Amzn-Trace-Id`: calls of other clients that carry the same
            trace are this unit's.
        tenant: Whose the invocation is, for budgets: of a function with tenant isolation.
        tags: What its calls are counted under from the start: said before, to another engine.
    """

    wire_version: int
    sdk_version: str
    work_id: str
    request_id: str
    deadline_epoch_ms: int
    cold_start: bool
    session: SessionRule | None
    continues: str
    forked: bool
    window_follows: bool
    trace_id: str
    tenant: str
    tags: dict[str, str]


class _Understood(TypedDict, total=False):
    """Only where the session's rule has fields that not every engine of this version knows."""

    understood: list[str]


class BeginReply(_Understood):
    """The sidecar's half of the handshake.

    `writer` names who writes the unit's exchange, "" without a session. `understood` lists those
    fields of the session's rule that are acted on, of those that must not be dropped.
    """

    wire_version: int
    sidecar_version: str
    environment_id: str
    writer: str


class EndRequest(TypedDict, total=False):
    """Closes a unit of work.

    Args:
        work_id: As in `begin`.
        outcome: Whether the handler raised; `moved` says that another engine goes on with it.
        error_code: The problem's code, or the exception's class, when it raised.
        handler_ms: How long the handler ran.
    """

    work_id: str
    outcome: Outcome
    error_code: str
    handler_ms: float


class _Told(TypedDict, total=False):
    """Only where `cost.headers` says so: an HTTP answer has to say what it has cost."""

    tell_cost: bool


class EndReply(_Told):
    """Totals of the unit of work, once everything that was waited for is stored."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost_pico_usd: int
    unpriced_calls: int
    session_version: int


class Health(TypedDict):
    """Answer of the health route. `pid` tells a stopped process from a slow one."""

    status: Literal["ok"]
    pid: int
    wire_version: int
    sidecar_version: str
    environment_id: str
