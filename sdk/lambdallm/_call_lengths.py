"""How long the model calls of one unit of work were: what a session's windows are measured by."""

from __future__ import annotations

from lambdallm_wire.tokens import input_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _Answer = tuple[str, list[Any], dict[str, int]]
    """Its text, its blocks, and how long it was."""

IDS_MAX = 64
"""Calls whose ids wait for the message that they lead to."""

CALLS_MAX = 8
"""Answers that are remembered until a message is made of one."""


class CallLengths:
    """The answers of the last calls, with their providers' counts. Threads may share it."""

    def __init__(self) -> None:
        self._asked: dict[str, int] = {}
        self._answers: list[_Answer] = []
        self._ids: list[str] = []

    def ask(self, request: dict[str, Any]) -> None:
        """Know of a call, and how many messages it is asked with: none for vectors."""
        self._ids = [*self._ids[1 - IDS_MAX :], request["call_id"]]
        if "messages" not in request:
            return
        messages = [each for each in request.get("messages", ()) if each.get("role") != "system"]
        self._asked[request["call_id"]] = len(messages)
        while len(self._asked) > CALLS_MAX:
            self._asked.pop(next(iter(self._asked), ""), None)

    def answered(self, reply: dict[str, Any]) -> None:
        """Know what has come back (`lambdallm_wire.chat.ChatResponse`)."""
        messages = self._asked.pop(reply["call_id"], 0)
        if not messages:  # of vectors
            return
        usage = reply["usage"]
        facts: dict[str, int] = {
            "tokens": int(usage["output_tokens"]),
            "prompt_tokens": int(input_tokens(usage)),
            "prompt_messages": messages,
        }
        self._answers = [*self._answers[1 - CALLS_MAX :], (reply["text"], reply["content"], facts)]

    def of(self, content: Any) -> dict[str, int]:
        """Return what is known of an answer that becomes a message, nothing of any other text."""
        for text, blocks, facts in reversed(self._answers):
            if content in (text, blocks):
                return facts
        return {}

    def take_ids(self) -> dict[str, Any]:
        """Return which calls led to an answer (`lambdallm_wire.sessions.Turn`): all since the last.

        So that their records can be deleted with what they led to.
        """
        taken, self._ids = self._ids, []
        named: dict[str, Any] = {"call_id": taken[-1]} if taken else {}
        if len(taken) > 1:
            named["other_call_ids"] = taken[:-1]
        return named
