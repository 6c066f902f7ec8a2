"""What only a real account can show: each check asks one question and answers pass or fail.

Some settle a promise (`promise`), others a fact that the design assumes (`fact`): a fact that turns
out otherwise is a failure too, because something in RELIABILITY.md or the emulator is then wrong. A
`note` is only written down. How long credentials live on Managed Instances is not asked: that needs
a capacity provider of the account's own.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from deployment import FunctionPlan

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployment import Deployment

RUNTIMES = ("python3.10", "python3.11", "python3.12", "python3.13", "python3.14", "nodejs22.x")

PLANS = [
    FunctionPlan("turn", "app.turn"),
    FunctionPlan("small", "app.turn", memory_mb=128, timeout_seconds=3),
    FunctionPlan("ask", "app.ask"),
    FunctionPlan("sigterm", "app.sigterm", timeout_seconds=3),
    FunctionPlan("stream", "streaming.stream"),
    FunctionPlan(
        "overrun",
        "app.ask",
        timeout_seconds=3,
        layers=("lambdallm", "probe"),
        variables=(("PROBE_OVERRUN", "1"),),
    ),
    FunctionPlan("probe", "app.ask", layers=("lambdallm", "probe")),
    *(
        FunctionPlan(f"on-{runtime.replace('.', '')}", "app.ask", runtime=runtime)
        for runtime in RUNTIMES
        if runtime.startswith("python")
    ),
    FunctionPlan("on-nodejs", "index.handler", runtime="nodejs22.x"),
]


TURNS_OF_TWO = 4
"""Two questions and two answers."""

CHUNKS_MIN = 3
"""Of five that are sent half a second apart; the network may join two."""


class Outcome(NamedTuple):
    """What a check found."""

    passed: bool
    sentence: str


class Check(NamedTuple):
    """One question."""

    kind: str
    question: str
    run: Callable[[Deployment], Outcome]


def remembers(run: Deployment) -> Outcome:
    """Ask twice in one session, the second time in a new environment."""
    first = run.invoke("turn", {"session_id": "s", "message": "one"})
    run.renew("turn")
    second = run.invoke("turn", {"session_id": "s", "message": "two"})
    turns = second.payload.get("turns") if isinstance(second.payload, dict) else None
    sentence = f"turns {turns}, Init {first.report.get('Init Duration')} ms, {second.error}"
    return Outcome(not first.error and turns == TURNS_OF_TWO, sentence)


def survives_the_kill(run: Deployment) -> Outcome:
    """Run into the timeout in the middle of a turn, then go on."""
    killed = run.invoke("small", {"session_id": "k", "message": "lost", "hang": True})
    after = [run.invoke("small", {"session_id": "k", "message": str(n)}) for n in range(3)]
    turns = [answer.payload.get("turns") for answer in after if isinstance(answer.payload, dict)]
    sentence = f"killed: {killed.error}; then {turns}, {[a.report.get('Duration') for a in after]}"
    return Outcome(bool(killed.error) and turns == [2, 4, 6], sentence)


def survives_the_freeze(run: Deployment, seconds: float = 400) -> Outcome:
    """Wait longer than idle connections live (350 s on NAT gateways), then go on."""
    before = run.invoke("turn", {"session_id": "f", "message": "before"})
    clocks = run.invoke("ask", {"questions": ["clocks", "started"]}).payload
    time.sleep(seconds)
    after = run.invoke("turn", {"session_id": "f", "message": "after"})
    later = run.invoke("ask", {"questions": ["clocks", "started"]}).payload
    same = clocks["started"] == later["started"]
    gaps = {
        name: round(later["clocks"][name] - clocks["clocks"][name], 1) for name in clocks["clocks"]
    }
    took_ms = after.report.get("Duration")
    sentence = f"{took_ms} ms after it; clocks went on by {gaps}, same environment: {same}"
    return Outcome(not before.error and not after.error, sentence)


def streams(run: Deployment) -> Outcome:
    """Read the chunks as they come."""
    answer = run.lambda_.invoke_with_response_stream(
        FunctionName=run.function("stream"), Payload=b"{}"
    )
    arrivals = [time.monotonic() for event in answer["EventStream"] if "PayloadChunk" in event]
    spread = arrivals[-1] - arrivals[0] if arrivals else 0
    passed = len(arrivals) >= CHUNKS_MIN and spread > 1
    return Outcome(passed, f"{len(arrivals)} chunks over {spread:.1f} s")


def tells_of_failures(run: Deployment) -> Outcome:
    """Read a stream that fails in the middle."""
    answer = run.lambda_.invoke_with_response_stream(
        FunctionName=run.function("stream"), Payload=b'{"fail": true}'
    )
    events = list(answer["EventStream"])
    chunks = sum("PayloadChunk" in event for event in events)
    (complete,) = [event["InvokeComplete"] for event in events if "InvokeComplete" in event]
    sentence = f"{chunks} chunks, then {complete.get('ErrorCode')}"
    return Outcome(chunks > 0 and complete.get("ErrorCode") == "LookupError", sentence)


def answers_before_an_overrun(run: Deployment) -> Outcome:
    """See what a caller gets when only an extension runs into the deadline."""
    answer = run.invoke("overrun", {"questions": ["started"]})
    sentence = f"error {answer.error or 'none'} after {answer.seconds:.1f} s"
    return Outcome(not answer.error, sentence)


def grants_sigterm(run: Deployment) -> Outcome:
    """Measure how long the runtime lives after SIGTERM."""
    run.invoke("sigterm", {"hang": True})
    noted = [float(line) for line in run.invoke("sigterm", {}).payload]
    lived_ms = round((noted[-1] - noted[0]) * 1_000) if noted else 0
    return Outcome(bool(noted), f"{lived_ms} ms")


def sends_telemetry_from(run: Deployment) -> Outcome:
    """See where the platform's telemetry comes from."""
    run.invoke("probe", {"questions": ["started"]})
    found = run.invoke("probe", {"questions": ["probe"]}).payload["probe"]
    return Outcome("telemetry_from" in found, json.dumps(found))


def shows_processes(run: Deployment) -> Outcome:
    """Look for the sidecar in /proc, and at its working directory."""
    found = run.invoke("ask", {"questions": ["processes"]}).payload["processes"]
    ours = [process for process in found if "lambdallm" in process["command"]]
    return Outcome(bool(ours), json.dumps(ours))


def names_peers(run: Deployment) -> Outcome:
    """Try an abstract Unix socket and SO_PEERCRED."""
    answer = run.invoke("ask", {"questions": ["peer"]})
    return Outcome(
        isinstance(answer.payload, dict) and answer.payload.get("peer") is True, answer.error
    )


def keeps_mtimes(run: Deployment) -> Outcome:
    """Look at a layer file's modification time: bytecode must not depend on it."""
    mtime = run.invoke("ask", {"questions": ["mtime"]}).payload["mtime"]
    return Outcome(passed=True, sentence=str(mtime))


def has_bash(runtime: str) -> Callable[[Deployment], Outcome]:
    """Ask a runtime for its bash, which the launcher needs."""

    def check(run: Deployment) -> Outcome:
        answer = run.invoke(f"on-{runtime.replace('.', '')}", {"questions": ["bash"]})
        bash = answer.payload.get("bash", "") if isinstance(answer.payload, dict) else ""
        return Outcome("version" in bash, bash or answer.error)

    return check


def runs_node(run: Deployment) -> Outcome:
    """Attach the layer to a function without Python: it must run."""
    answer = run.invoke("on-nodejs", {})
    return Outcome(answer.payload == "ran", f"{answer.payload} {answer.error}")


CHECKS = [
    Check("promise", "a session is remembered in a new environment", remembers),
    Check("promise", "128 MB, 3 s: timeout, re-init, recovery", survives_the_kill),
    Check("promise", "a freeze of 400 s harms no invocation", survives_the_freeze),
    Check("promise", "a plain Python function streams", streams),
    Check("promise", "an error in the middle of a stream is told", tells_of_failures),
    Check(
        "fact",
        "an extension's overrun is no error for a synchronous caller",
        answers_before_an_overrun,
    ),
    Check("fact", "the runtime lives a while after SIGTERM", grants_sigterm),
    Check("fact", "telemetry's source address", sends_telemetry_from),
    Check("fact", "the sidecar is seen in /proc, with its working directory", shows_processes),
    Check("fact", "abstract sockets and SO_PEERCRED work", names_peers),
    Check("note", "layer files' modification time", keeps_mtimes),
    *(
        Check("fact", f"{runtime} has bash", has_bash(runtime))
        for runtime in RUNTIMES
        if runtime.startswith("python")
    ),
    Check("promise", "a Node function runs with the layer attached", runs_node),
]


def describe(plan: FunctionPlan) -> str:
    """Say what a function will be."""
    layers = " + ".join(plan.layers) or "no layer"
    return f"{plan.name}: {plan.runtime}, {plan.memory_mb} MB, {plan.timeout_seconds} s, {layers}"


def as_json(check: Check, outcome: Outcome) -> dict[str, Any]:
    """Make a line of the results."""
    return {"kind": check.kind, "question": check.question, **outcome._asdict()}
