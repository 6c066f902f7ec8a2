"""The routes of the localhost API under `/v1`, each with its two messages.

Every request but a drop-in client's carries `lambdallm-token`. A reply that is no success is a
problem (`lambdallm_wire.errors`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from lambdallm_wire import chat, invocations, sessions


class Route(NamedTuple):
    """One route: the messages are the TypedDicts that travel."""

    method: str
    path: str
    request: type | None
    reply: type
    summary: str


BEGIN: Final = Route(
    "POST", "/v1/begin", invocations.BeginRequest, invocations.BeginReply, "Open a unit of work."
)
END: Final = Route(
    "POST", "/v1/end", invocations.EndRequest, invocations.EndReply, "Close a unit of work."
)
WINDOW: Final = Route(
    "POST", "/v1/session/window", sessions.WindowRequest, sessions.Window, "Read the session."
)
APPEND: Final = Route(
    "POST", "/v1/session/append", sessions.AppendRequest, sessions.Accepted, "Add turns."
)
SAVE: Final = Route(
    "POST", "/v1/session/save", sessions.SaveRequest, sessions.SaveReply, "Wait for the store."
)
CHAT: Final = Route("POST", "/v1/chat", chat.ChatRequest, chat.ChatResponse, "Ask a model.")
HEALTH: Final = Route("GET", "/v1/health", None, invocations.Health, "Say that it is alive.")

ROUTES: Final = (BEGIN, END, WINDOW, APPEND, SAVE, CHAT, HEALTH)
