"""Questions of runs: what was answered before is not asked again, what was cut may go on."""

from __future__ import annotations

from lambda_runtime_api.declarations import cast
from lambdallm_wire import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.services.chat import Chat
    from lambdallm_extension.services.metering import Totals
    from lambdallm_extension.services.run_calls import RunCall
    from lambdallm_extension.services.streaming import StreamedReply
    from lambdallm_wire.chat import ChatRequest, ChatResponse, Perform


def ask(
    chat: Chat, run: RunCall, request: ChatRequest, totals: Totals, *, deadline_ms: int
) -> ChatResponse | dict[str, Perform]:
    """Do as `Chat.ask`, within a run. No second model is asked beside a silent one.

    A call of a run has one intent, which says whom it asks: whoever finds it knows what was paid.

    Raises:
        RunLostError: The run is somebody else's now, or stopped. Nobody was asked.
        BudgetExceededError: The run may not cost so much.
        ExtensionError: As `Chat.ask`.
    """
    stored = run.stored_answer()
    if stored is not None:
        return _replayed(stored, totals)
    named = _named(run, request)
    if not request["run"].get("goes_on"):
        return chat.ask(named, totals, deadline_ms=deadline_ms, run=run)
    reply = chat.stream(named, totals, deadline_ms=deadline_ms, run=run)
    if isinstance(reply, dict):
        return reply
    try:
        return reply.read_all()
    finally:
        reply.close()


def stream(
    chat: Chat, run: RunCall, request: ChatRequest, totals: Totals, *, deadline_ms: int
) -> StreamedReply | StoredReply | dict[str, Perform]:
    """Do as `Chat.stream`, within a run.

    Raises:
        ExtensionError: As `ask`.
    """
    stored = run.stored_answer()
    if stored is not None:
        return StoredReply(_replayed(stored, totals))
    return chat.stream(_named(run, request), totals, deadline_ms=deadline_ms, run=run)


class StoredReply:
    """An answer of before, in the lines of a streamed one."""

    def __init__(self, response: ChatResponse) -> None:
        """Take it."""
        self._lines = codec.encode_lines([{"text": response["text"]}, {"response": response}])

    def read(self) -> bytes:
        """Return all of it, then nothing."""
        lines, self._lines = self._lines, b""
        return lines

    def close(self) -> None:
        """Let go of it."""


def _named(run: RunCall, request: ChatRequest) -> ChatRequest:
    """Return the question under the id that its place in the run gives it."""
    named = {**request, "call_id": run.call_id}
    if request["run"].get("goes_on"):
        before = run.continue_partial()
        if before:
            named["goes_on_from"] = before
    return cast("ChatRequest", named)


def _replayed(stored: ChatResponse, totals: Totals) -> ChatResponse:
    return {
        **stored,
        "total_cost_pico_usd": totals.cost_pico_usd,
        "total_unpriced_calls": totals.unpriced_calls,
        "replayed": True,
    }
