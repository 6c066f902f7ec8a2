"""The routes of the localhost API under `/v1`, each with its two messages.

Every request but a drop-in client's carries `lambdallm-token`. A reply that is no success is a
problem (`lambdallm_wire.errors`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class Route:
    """One route. Compared by identity.

    A plain class that knows its messages by their names (`module.TypedDict` in this package):
    loading them costs every function's cold start 4 ms, and only the documentation needs them.
    """

    __slots__ = ("method", "path", "reply", "request", "summary")

    def __init__(
        self, method: str, path: str, request: str | None, reply: str, summary: str
    ) -> None:
        """Fill a row."""
        self.method = method
        self.path = path
        self.request = request
        self.reply = reply
        self.summary = summary


BEGIN: Final = Route(
    "POST",
    "/v1/begin",
    "invocations.BeginRequest",
    "invocations.BeginReply",
    "Open a unit of work.",
)
END: Final = Route(
    "POST", "/v1/end", "invocations.EndRequest", "invocations.EndReply", "Close a unit of work."
)
WINDOW: Final = Route(
    "POST", "/v1/session/window", "sessions.WindowRequest", "sessions.Window", "Read the session."
)
APPEND: Final = Route(
    "POST", "/v1/session/append", "sessions.AppendRequest", "sessions.Accepted", "Add turns."
)
SAVE: Final = Route(
    "POST", "/v1/session/save", "sessions.SaveRequest", "sessions.SaveReply", "Wait for the store."
)
CHAT: Final = Route("POST", "/v1/chat", "chat.ChatRequest", "chat.ChatResponse", "Ask a model.")
STREAM: Final = Route(
    "POST", "/v1/stream", "chat.ChatRequest", "chat.ChatDelta", "Ask a model, line by line."
)
PERFORMED: Final = Route(
    "POST",
    "/v1/performed",
    "chat.Performed",
    "chat.ChatResponse",
    "Say what the caller's own provider has answered.",
)
EMBED: Final = Route(
    "POST", "/v1/embed", "chat.EmbedRequest", "chat.EmbedResponse", "Turn texts into vectors."
)
TAG: Final = Route(
    "POST", "/v1/tags", "budgets.TagRequest", "budgets.Tagged", "Say what calls are counted under."
)
BUDGETS: Final = Route(
    "POST", "/v1/budgets", "budgets.BudgetsRequest", "budgets.BudgetsReply", "Say what is left."
)
HEALTH: Final = Route("GET", "/v1/health", None, "invocations.Health", "Say that it is alive.")
RESTORED: Final = Route(
    "POST", "/v1/restored", None, "invocations.BeginReply", "Renew what a snapshot has cloned."
)

PRICE: Final = Route(
    "POST", "/v1/price", "prices.PriceRequest", "prices.PriceReply", "Say what a call would cost."
)

LIST_SESSIONS: Final = Route(
    "POST",
    "/v1/sessions/list",
    "archives.ListSessions",
    "archives.ListedSessions",
    "List sessions.",
)
READ_SESSION: Final = Route(
    "POST",
    "/v1/sessions/read",
    "archives.ReadPage",
    "archives.ReadSession",
    "Read a page of a session.",
)
WRITE_SESSION: Final = Route(
    "POST",
    "/v1/sessions/write",
    "archives.WriteSession",
    "archives.WrittenSession",
    "Put a session in.",
)
DELETE_SESSION: Final = Route(
    "POST",
    "/v1/sessions/delete",
    "archives.DeleteSession",
    "archives.DeletedSession",
    "Delete a session for good.",
)
MOVE_SESSION: Final = Route(
    "POST",
    "/v1/sessions/move",
    "archives.MoveSession",
    "archives.MovedSession",
    "Give a session to another owner.",
)

LIST_BUDGETS: Final = Route(
    "POST",
    "/v1/accounting/budgets",
    "accounting.ListBudgets",
    "accounting.ListedBudgets",
    "Say how budgets stand.",
)
CHANGE_BUDGET: Final = Route(
    "POST",
    "/v1/accounting/change",
    "accounting.ChangeBudget",
    "accounting.ChangedBudget",
    "Change a budget; never answered within a function.",
)
READ_SPENDING: Final = Route(
    "POST",
    "/v1/accounting/spending",
    "accounting.ReadSpending",
    "accounting.Spending",
    "Say what was spent.",
)

OPEN_RUN: Final = Route(
    "POST", "/v1/runs/open", "runs.OpenRun", "runs.OpenedRun", "Begin a run, or go on with it."
)
STORE_STEPS: Final = Route(
    "POST", "/v1/runs/steps", "runs.StoreSteps", "runs.RunCosts", "Store what a run has done."
)
CLOSE_RUN: Final = Route(
    "POST", "/v1/runs/close", "runs.CloseRun", "runs.RunCosts", "End an attempt of a run."
)
READ_RUN: Final = Route(
    "POST", "/v1/runs/read", "runs.ReadRun", "runs.StoredRun", "Say how a run stands."
)
LIST_RUNS: Final = Route("POST", "/v1/runs/list", "runs.ListRuns", "runs.ListedRuns", "List runs.")
STOP_RUN: Final = Route(
    "POST", "/v1/runs/stop", "runs.StopRun", "runs.StoppedRun", "Stop a run for good."
)
DELETE_RUN: Final = Route(
    "POST", "/v1/runs/delete", "runs.DeleteRun", "runs.DeletedRun", "Delete a run for good."
)
FINISH_STEP: Final = Route(
    "POST", "/v1/runs/finish", "runs.FinishStep", "runs.FinishedWait", "Finish a step that waits."
)

PUSH: Final = Route(
    "POST",
    "/v1/connections/push",
    "connections.PushRequest",
    "connections.Pushed",
    "Send a text to a WebSocket's client.",
)
JOIN_GROUP: Final = Route(
    "POST",
    "/v1/connections/join",
    "connections.JoinGroup",
    "connections.Groups",
    "Count a connection among a group.",
)
LEAVE_GROUPS: Final = Route(
    "POST",
    "/v1/connections/leave",
    "connections.LeaveGroups",
    "connections.Groups",
    "Take a connection out of its groups.",
)
PUSH_TO_GROUP: Final = Route(
    "POST",
    "/v1/connections/push_to_group",
    "connections.PushToGroup",
    "connections.PushedToGroup",
    "Send a text to every client of a group.",
)

ARCHIVE_ROUTES: Final = (
    LIST_SESSIONS, READ_SESSION, WRITE_SESSION, DELETE_SESSION, MOVE_SESSION,
)  # fmt: skip
"""For whoever looks after sessions; no handler needs them."""

ACCOUNTING_ROUTES: Final = (LIST_BUDGETS, CHANGE_BUDGET, READ_SPENDING)
"""For whoever pays; no handler needs them."""

RUN_ROUTES: Final = (
    OPEN_RUN, STORE_STEPS, CLOSE_RUN, READ_RUN, LIST_RUNS, STOP_RUN, DELETE_RUN,
    FINISH_STEP,
)  # fmt: skip
"""For chains, and for whoever looks after their runs."""

PUSH_ROUTES: Final = (PUSH, PUSH_TO_GROUP)
"""What clients of WebSockets see. It is never sent again where it may have arrived."""

CONNECTION_ROUTES: Final = (*PUSH_ROUTES, JOIN_GROUP, LEAVE_GROUPS)
"""For handlers of WebSocket APIs."""

ROUTES: Final = (
    BEGIN, END, WINDOW, APPEND, SAVE, CHAT, STREAM, PERFORMED, EMBED, TAG, BUDGETS, HEALTH,
    RESTORED, PRICE,
    *ARCHIVE_ROUTES, *ACCOUNTING_ROUTES, *RUN_ROUTES, *CONNECTION_ROUTES,
)  # fmt: skip
