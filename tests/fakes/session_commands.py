"""`lambdallm sessions` run in this process, and what it is run over."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from lambdallm import Session, _transport
from lambdallm_cli.commands import lambdallm as command

OWNER = "jwt:https://issuer|ada"


def run(*arguments: str, **more: Any) -> Result:
    return CliRunner().invoke(command, ["sessions", *arguments], **more)


def ran(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def listed(store: str, *arguments: str) -> list[tuple[str, str]]:
    found = ran("list", "--store", store, *arguments)["sessions"]
    return [(session["session_id"], session["owner"]) for session in found]


def say(session_id: str, owner: str, *texts: str, **how: Any) -> None:
    with Session(**how).load(session_id, owner=owner) as session:
        for number, text in enumerate(texts):
            session.add_message(("user", "assistant")[number % 2], text, number=number / 10)
        session.metadata["plan"] = {"of": [session_id, None, 0.5]}


def close() -> None:
    """Let the engine write what is still on its way, as a process does at its end."""
    used = _transport.replace(None)
    if used is not None:
        used.close()


def good(session_id: str, **more: Any) -> dict[str, Any]:
    """A line of an import, with one exchange."""
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    return {
        "lambdallm_session": 1, "session_id": session_id, "expires_at": 4_000_000_000,
        "messages": said, **more,
    }  # fmt: skip
