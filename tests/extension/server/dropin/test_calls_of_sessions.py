"""Calls of unmodified clients, deleted with the session that they were made for."""

from __future__ import annotations

import json
import time
from typing import Any

from fakes.served_engine import said


def ask(served: Any, path: str, **message: Any) -> Any:
    status, reply = served.engine.handle("POST", path, json.dumps(message).encode(), connection=1)
    assert status == 200, reply
    return json.loads(reply)


def test_their_records_go_with_the_session(gateway: Any, aimock: str) -> None:
    served = gateway(aimock)
    rule = {
        "session_id": "ada", "identity": "event", "ttl_seconds": 3_600,
        "memory": {"strategy": "full_history"}, "durability": "before_response",
    }  # fmt: skip
    client = served.openai()
    client.chat.completions.create(model="gpt-5-mini", messages=said("hello"))
    ask(served, "/v1/begin", work_id="w", request_id="r", wire_version=4, session=rule,
        deadline_epoch_ms=int(time.time() * 1_000) + 30_000)  # fmt: skip
    client.chat.completions.create(model="gpt-5-mini", messages=said("hello"))
    turns = [
        {"role": role, "content": "x", "metadata": {}, "at_epoch_ms": 1}
        for role in ("user", "assistant")
    ]
    ask(served, "/v1/session/append", work_id="w", turns=turns[:1])
    client.chat.completions.create(model="gpt-5-mini", messages=said("hello"))
    ask(served, "/v1/session/append", work_id="w", turns=turns[1:])
    ask(served, "/v1/end", work_id="w", outcome="ok")
    assert len(served.records(3)) == 3

    deleted = ask(served, "/v1/sessions/delete", session_id="ada", owner="")

    assert deleted["calls"] == 2
    assert len(served.records()) == 1, "the one before it was nobody's"
