"""A long run of the chat example with faults, which must fail no invocation and leak nothing.

    ./build.sh soak 10000

Two environments, one after the other, over a real table and a model server, each behind a relay
that breaks. In the first (90 % of the invocations) the faults leave the processes alive, so that
memory, file descriptors and threads can be followed from beginning to end; in the second they end
them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / folder) for folder in ("tests", "sdk", "extension", "runtime_api")]

from faults.processes import Usage, sidecar_pid, slope_per_thousand, usage  # noqa: E402
from lambda_runtime_api.emulator import Environment  # noqa: E402
from lambda_runtime_api.emulator.network import Relay  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FUNCTION = """
import os, time
from lambdallm import Session, handler

@handler(session=Session(store="dynamodb", ttl_hours=1, max_messages=10))
def chat(event, context):
    session = context.session
    session.add_message("user", event["message"])
    if event.get("raise"):
        raise ValueError("as planned")
    if event.get("exit"):
        os._exit(1)
    if event.get("hang"):
        time.sleep(60)
    answer = context.invoke(session.format_history())
    session.add_message("assistant", answer)
    return {"answer": str(answer), "seen": len(session.messages)}
"""

FAULTS_SHARE = 0.05
SESSION_INVOCATIONS = 5
"""How long one conversation is; the window of ten messages then never overflows."""

SAMPLES = 200


class Problem(NamedTuple):
    """An invocation that did not go as it had to."""

    number: int
    fault: str
    what: str


class Result(NamedTuple):
    """What a run gave."""

    invocations: int
    seconds: float
    faults: Counter[str]
    problems: list[Problem]
    sidecar: list[tuple[int, Usage]]
    function: list[tuple[int, Usage]]


class Soak:
    """One environment, its relays, and the faults that it gets."""

    def __init__(
        self, environment: Environment, table: Relay, model: Relay, chance: random.Random
    ) -> None:
        self._environment = environment
        self._table = table
        self._model = model
        self._chance = chance
        self._name = uuid4().hex
        self._session = 0
        self._said = 0
        self.gentle: dict[str, Callable[[], str]] = {
            "frozen": self._freeze,
            "frozen, connections reset": lambda: self._freeze(self._table.cut, self._model.cut),
            "frozen, table's connections forgotten": lambda: self._freeze(self._table.swallow),
            "connections reset": self._cut,
            "handler raises": lambda: self._invoke_wrongly("raise"),
            "table refuses connections": self._refuse,
            "sidecar stands still for 30 ms": self._stop_sidecar,
        }
        self.deadly: dict[str, Callable[[], str]] = {
            "function exits": lambda: self._invoke_wrongly("exit"),
            "function runs into its timeout": lambda: self._invoke_wrongly("hang"),
            "sidecar is killed": self._kill_sidecar,
            "host fails": self._fail_host,
            "spindown": self._spin_down,
        }

    def run(
        self, invocations: int, faults: dict[str, Callable[[], str]], say: Callable[[int], None]
    ) -> Result:
        """Invoke, with a fault before or in 5 % of the invocations."""
        begun = time.monotonic()
        counted: Counter[str] = Counter()
        problems: list[Problem] = []
        sidecar: list[tuple[int, Usage]] = []
        function: list[tuple[int, Usage]] = []
        for number in range(invocations):
            fault = ""
            if self._chance.random() < FAULTS_SHARE:
                fault = self._chance.choice(sorted(faults))
                counted[fault] += 1
                problem = faults[fault]()
                if problem:
                    problems.append(Problem(number, fault, problem))
            problem = self._invoke()
            if problem:
                problems.append(Problem(number, fault, problem))
            if number % max(1, invocations // SAMPLES) == 0:
                self._sample(number, sidecar, function)
                say(number)
        seconds = time.monotonic() - begun
        return Result(invocations, seconds, counted, problems, sidecar, function)

    def _invoke(self) -> str:
        """Say something; return what is wrong with the answer, "" if nothing is."""
        if self._said % SESSION_INVOCATIONS == 0:
            self._new_session()
        self._said += 1
        invocation = self._environment.invoke(self._event("Hello"))
        if invocation.error_type is not None:
            return f"{invocation.error_type}: {invocation.payload[:300]!r}"
        answer = json.loads(json.loads(invocation.payload)["body"])
        if answer != {"answer": f"Heard {self._said}.", "seen": 2 * self._said}:
            said, self._said = self._said, 0
            return f"{answer} after {said} questions"
        return ""

    def _event(self, message: str, **more: object) -> dict[str, object]:
        return {"session_id": f"{self._name}-{self._session}", "message": message, **more}

    def _new_session(self) -> None:
        self._session += 1
        self._said = 0

    def _invoke_wrongly(self, how: str) -> str:
        failed = self._environment.invoke(self._event("Lost", **{how: True}))
        self._environment.wait_until_idle()
        return "" if failed.error_type else f"It answered {failed.payload[:300]!r}"

    def _freeze(self, *meanwhile: Callable[[], None]) -> str:
        self._environment.wait_until_idle()
        self._environment.freeze()
        for happen in meanwhile:
            happen()
        time.sleep(0.02)
        return ""  # the next invocation thaws it

    def _cut(self) -> str:
        self._environment.wait_until_idle()
        self._table.cut()
        self._model.cut()
        return ""

    def _refuse(self) -> str:
        """An invocation whose session cannot be read fails, and says why."""
        self._environment.wait_until_idle()
        self._table.refuse()
        failed = self._environment.invoke(self._event("Lost"))
        self._environment.wait_until_idle()
        self._table.refuse(refuse=False)
        return "" if b"StateError" in failed.payload else f"It answered {failed.payload[:300]!r}"

    def _sidecar(self) -> int | None:
        launcher = self._environment.pids.get("lambdallm")
        return sidecar_pid(launcher) if launcher else None

    def _stop_sidecar(self) -> str:
        pid = self._sidecar()
        if pid is not None:
            os.kill(pid, signal.SIGSTOP)
            threading.Timer(0.03, os.kill, (pid, signal.SIGCONT)).start()
        return ""

    def _kill_sidecar(self) -> str:
        pid = self._sidecar()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        return ""

    def _fail_host(self) -> str:
        self._environment.wait_until_idle()
        self._environment.kill()
        return ""

    def _spin_down(self) -> str:
        self._environment.shutdown()
        return ""

    def _sample(
        self, number: int, sidecar: list[tuple[int, Usage]], function: list[tuple[int, Usage]]
    ) -> None:
        self._environment.wait_until_idle()
        self._environment.thaw()
        pids = self._environment.pids
        own = self._sidecar()
        if own is not None:
            sidecar.append((number, usage(own)))
        if "runtime" in pids:
            function.append((number, usage(pids["runtime"])))


LEAST = 20
"""Invocations below which no fault has its turn."""


def soak(
    invocations: int,
    *,
    layer: Path,
    table: tuple[str, str],
    model_url: str,
    folder: Path,
    say: Callable[[str], None],
) -> tuple[Result, Result]:
    """Run nine tenths of the invocations with gentle faults, the rest with deadly ones.

    Args:
        invocations: How many, in all.
        layer: What stands in the place of /opt.
        table: URL and name of a table.
        model_url: A Bedrock endpoint whose model answers `Heard N.`, N counting what was said.
        folder: For the function's files.
        say: Told how far it is.
    """
    (folder / "app.py").write_text(FUNCTION)
    chance = random.Random(4)
    results = []
    gentle = invocations * 9 // 10
    for part, kind in ((gentle, "gentle"), (invocations - gentle, "deadly")):
        with ExitStack() as stack:
            relays = [stack.enter_context(Relay(url)) for url in (table[0], model_url)]
            variables = {
                "LAMBDALLM_STORE": f"dynamodb://{table[1]}",
                "LAMBDALLM_MODEL": "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
                "AWS_ENDPOINT_URL_DYNAMODB": relays[0].url,
                "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": relays[1].url,
            }
            environment = stack.enter_context(
                Environment(folder, "app.chat", opt=layer, variables=variables, timeout_seconds=4)
            )
            run = Soak(environment, *relays, chance)
            total = part

            def progress(number: int, kind: str = kind, total: int = total) -> None:
                say(f"{kind}: {number} of {total}")

            results.append(run.run(part, getattr(run, kind), progress))
    return results[0], results[1]


def report(name: str, result: Result) -> Iterator[str]:
    """Say what a run gave, in lines."""
    yield f"{name}: {result.invocations} invocations in {result.seconds:.0f} s"
    yield f"  faults: {dict(sorted(result.faults.items()))}"
    yield f"  failed: {len(result.problems)}"
    for problem in result.problems[:20]:
        yield f"    {problem.number} ({problem.fault or 'no fault'}): {problem.what}"
    for process, samples in (("sidecar", result.sidecar), ("function", result.function)):
        settled = samples[len(samples) // 5 :]
        if len(settled) < 2:
            continue  # a line needs two points
        for field in Usage._fields:
            values = [(number, float(getattr(each, field))) for number, each in settled]
            first, last = values[0][1], values[-1][1]
            rise = slope_per_thousand(values)
            yield f"  {process} {field}: {first:.0f} to {last:.0f}, {rise:+.2f} in 1,000"


def main() -> int:
    """Run it with servers of its own."""
    import tempfile

    from e2e.conftest import make_layer, make_table
    from fakes.ministack import serve_ministack
    from lambdallm.testing import ModelServer

    parser = argparse.ArgumentParser(
        prog="./build.sh soak",
        description=__doc__.split("\n", 1)[0],
        epilog="example: ./build.sh soak 1000",
    )
    parser.add_argument("invocations", nargs="?", type=int, default=10_000)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # servers are stopped
    if options.invocations < LEAST:
        parser.error(f"{options.invocations} invocations show nothing; {LEAST} are the least.")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in ("layer", "table", "function"):
            (folder / name).mkdir()
        url = stack.enter_context(serve_ministack(folder / "table"))
        model = stack.enter_context(ModelServer(["Heard {count}."]))
        results = soak(
            options.invocations,
            layer=make_layer(folder / "layer"),
            table=(url, make_table(url)),
            model_url=model.url,
            folder=folder / "function",
            say=lambda text: print(f"\r{text}    ", end="", file=sys.stderr, flush=True),
        )
    print(file=sys.stderr)
    for name, result in zip(
        ("faults that leave processes", "faults that end them"), results, strict=True
    ):
        print("\n".join(report(name, result)))
    return 1 if any(result.problems for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
