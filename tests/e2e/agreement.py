"""What a function and an extension see in an emulator, in words that two emulators can share.

Where ours and AWS's differ on purpose, the difference has a name here; nothing else may differ.

* **Reasons**: ours says `spindown`, `timeout` and `failure` as the service does; AWS's emulator
  has words of its own (`REASONS`).
* **Early answer**: ours answers the caller when the runtime has answered, as the service does;
  AWS's emulator waits for the extensions, and turns their crash into the caller's failure.
* **Timeout's payload**: ours sends the service's JSON, AWS's emulator a bare sentence.
* **Second attempt**: ours ends an Init phase after 10 s and repeats one that failed inside the
  invocation, as the service does; AWS's emulator counts it as a part of the first invocation, which
  fails with it, and repeats it in the next one.
* **Time for the runtime**: ours gives it the documented 300 ms after SIGTERM, 500 ms if there are
  internal extensions only; AWS's emulator 600 ms.
* **Account and trace**: ours tells the account's number when asked and always sends a trace.
* **Text of parsing errors**: it is the JSON parser's.
* **Streamed responses**: AWS's emulator collects them always. Without Managed Instances it takes
  one for a success whose trailers tell of an error, fails when one is cut, and lets an `error` in
  the middle of one wait; on Managed Instances no timeout ends one in the middle.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.conftest import Start
    from lambda_runtime_api.emulator import Invocation

T = TypeVar("T")

REASONS = {"SandboxTerminated": "spindown", "ReleaseFail": "failure", "Timeout": "timeout"}

FUNCTION = """
import os, signal, sys, time

print("imported", flush=True)

def on_sigterm(*_):
    print("SIGTERM", flush=True)
    os._exit(0)

def handler(event, context):
    print("called", flush=True)
    if "sigterm" in event:
        ignore = event["sigterm"] == "ignore"
        signal.signal(signal.SIGTERM, signal.SIG_IGN if ignore else on_sigterm)
    if "leave" in event:
        open(os.path.join(os.environ.get("TMPDIR", "/tmp"), event["leave"]), "w").close()
    time.sleep(event.get("sleep", 0))
    if "exit" in event:
        os._exit(event["exit"])
    if "kill" in event:
        os.kill(os.getpid(), signal.SIGKILL)
    if "recurse" in event:
        return handler({"recurse": True}, context)
    if "raise" in event:
        raise ValueError(event["raise"])
    if "large" in event:
        return "x" * event["large"]
    return {"event": event, "client": context.client_context and context.client_context.custom,
            "left": os.path.exists(os.path.join(os.environ.get("TMPDIR", "/tmp"), "left")),
            "remaining": 0 < context.get_remaining_time_in_millis() <= 20_000,
            "id": context.aws_request_id, "arn": context.invoked_function_arn.split(":")[-1]}
"""


class Seen(NamedTuple):
    """What came of a series of invocations, without what differs by nature or on purpose."""

    outcomes: list[tuple[Any, ...]]
    extension: list[tuple[str, Any]]
    function: list[str]


def watch(
    start: Start,
    events: list[Any],
    plan: dict[str, Any] | None,
    opt: Path | None,
    timeout_seconds: float = 20,
    **more: Any,
) -> Seen:
    """Invoke, shut down, and tell what was seen."""
    with start(
        {"app.py": FUNCTION},
        opt=opt,
        timeout_seconds=timeout_seconds,
        variables={"EXTENSION_PLAN": json.dumps(plan or {})},
        **more,
    ) as environment:
        results = [environment.invoke(event) for event in events]
        environment.wait_until_idle()
        pids = environment.pids
        environment.shutdown()
        logs = environment.logs
    assert not [pid for pid in pids.values() if alive(pid)]
    said = [json.loads(line.text) for line in logs if line.source == "extension" and line.text]
    return Seen(
        [outcome(result) for result in results],
        [(what, plain(value)) for what, value in said],
        [line.text.partition("\r")[0] for line in logs if line.source == "function"],
    )


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def outcome(result: Invocation) -> tuple[Any, ...]:
    assert len(result.request_id) == 36
    assert (result.init_ms is not None) <= result.cold
    try:
        payload = json.loads(result.payload)
    except ValueError:
        payload = {"errorMessage": result.payload.decode()}
    if isinstance(payload, dict):
        if result.error_type == "Sandbox.Timedout":
            payload = {"errorMessage": payload["errorMessage"].partition("Error: ")[2] or
                       payload["errorMessage"]}  # fmt: skip
        if payload.get("id") == result.request_id:
            payload["id"] = "ours"
        payload.pop("requestId", None)
        payload.pop("stackTrace", None)
        for name, value in payload.items():
            if isinstance(value, str):
                payload[name] = value.replace(result.request_id, "ID")
    return payload, result.error_type, result.cold


def plain(value: Any) -> Any:
    status, answer = value
    if isinstance(answer, dict):
        answer = {
            name: field
            for name, field in answer.items()
            if name not in ("accountId", "requestId", "deadlineMs", "invokedFunctionArn", "tracing")
        }
        reason = answer.get("shutdownReason")
        if reason:
            answer["shutdownReason"] = REASONS.get(reason, reason)
        if (
            answer.get("errorType") == "InvalidRequestFormat"
            and "keys" not in answer["errorMessage"]
        ):
            answer["errorMessage"] = "the parser's"
        if "failed for extension " in answer.get("errorMessage", ""):
            words = answer["errorMessage"].split(" failed for extension ")
            name = words[1].partition(".")[0]
            answer["errorMessage"] = f"{words[0]} / {'name' if name == 'watcher' else 'id'}"
    return status, answer


def side_by_side(both: tuple[Start, Start], do: Callable[[Start], T]) -> list[T]:
    """Do something in both emulators at once: ours, then AWS's."""
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(do, both))


def watch_both(both: tuple[Start, Start], *series: Any) -> list[Seen]:
    """Do the same in both emulators, side by side: ours, then AWS's."""
    return side_by_side(both, lambda start: watch(start, *series))


def compare(
    both: tuple[Start, Start],
    events: list[Any],
    plan: dict[str, Any] | None,
    opt: Path | None,
    timeout_seconds: float = 20,
) -> Seen:
    """Do the same in both emulators, which must see the same."""
    ours, theirs = watch_both(both, events, plan, opt, timeout_seconds)
    assert ours == theirs
    return ours
