"""A long run of model calls of every kind before models that fail: no call is lost, nothing grows.

    ./build.sh soak --models 30

One environment with the built layer and the exec wrapper. Each invocation asks one to eight times
at once, by `context.chat`, `.stream`, `.embed` and by unmodified `openai`, `anthropic` and `boto3`
clients (`faults.model_function`). One request in ten fails, and now and then the environment is
frozen. Ten times in between the models work, and every kind of call is made eight times at once:
then all must be whole, and what the processes hold is compared with the time before.
"""

from __future__ import annotations

import argparse
import compileall
import json
import random
import shutil
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / folder) for folder in ("tests", "sdk", "extension", "runtime_api")]

from faults.model_asks import FILL, MODELS  # noqa: E402
from faults.model_books import Books, Made, differences  # noqa: E402
from faults.processes import Usage, sidecar_pid, slope_per_thousand, usage  # noqa: E402
from lambda_runtime_api.emulator import Environment  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.model_servers import Models

FUNCTION = Path(__file__).with_name("model_function.py")
WAYS = Path(__file__).with_name("model_asks.py")
ASKS = [ask for ask in MODELS if ask != FILL]
CONFIGURATION = """
resilience:
  stall_seconds: 2
  drain_seconds: 4
"""

FILLS = 20
"""Invocations with 20 vectors of 1,536 numbers each: what remembers them keeps 334."""

AT_ONCE_MAX = 8
CALLS_PER_SECOND = 20
SAMPLES = 10
FREEZE_SHARE = 0.02
DECORATED_SHARE = 0.7
"""Of the invocations that ask through clients alone: the others never load lambdallm's SDK."""

TIMEOUT_SECONDS = 30
QUIET_SECONDS = 20
"""After an invocation, within which every call must be booked."""

PROBLEMS_MAX = 200
"""More of them tell nothing new: the run ends."""

WARM_INVOCATIONS = 500
"""Until then threads, connections and the allocator's arenas come to be as many as are needed."""

RISE_MAX_KB = 300
"""Of private memory, in 1,000 invocations once the first fifth is over, as in `faults.test_soak`.

An invocation makes 4.5 calls here: one stream's buffers that are kept would be 18 MB, one record
4 MB.
"""

RISE_ALLOWED_KB = 4_096
"""Beside it: the allocator's heap fills up by 1.5 to 2 MB in the first hundreds of invocations,
while all that Python has stays the same (`tracemalloc`: 8.5 to 9.0 MB throughout).
"""

COUNT_ALLOWED_WHILE_WARMING = 4
"""Of descriptors, and of threads; in a longer run none."""


class Sample(NamedTuple):
    """What the processes hold when nothing is under way."""

    invocations: int
    sidecar: Usage
    function: Usage
    open_calls: int


class Result(NamedTuple):
    """What a run gave."""

    seconds: float
    invocations: int
    faults: Counter[str]
    made: list[Made]
    samples: list[Sample]
    books: Books
    seen: int
    problems: list[str]


class Soak:
    """One environment before models that fail."""

    def __init__(
        self, environment: Environment, models: Models, books: Callable[[], Books], seed: int
    ) -> None:
        self._environment = environment
        self._models = models
        self._books = books
        self._chance = random.Random(seed)
        self.invocations = 0
        self.made: list[Made] = []
        self.samples: list[Sample] = []
        self.faults: Counter[str] = Counter()
        self.problems: list[str] = []

    def run(self, seconds: float, say: Callable[[str], None]) -> None:
        """Go on for so long."""
        begun = time.monotonic()
        for _ in range(FILLS):
            self._invoke([FILL], whole=True)
        for _ in range(SAMPLES):
            self._models.fail()
            self._go_on(seconds / SAMPLES)
            self._models.work()
            self._sample()
            spent = time.monotonic() - begun
            say(f"{spent:.0f} s: {self.invocations:,} invocations, {len(self.made):,} calls")
            if len(self.problems) > PROBLEMS_MAX:
                return

    def _go_on(self, seconds: float) -> None:
        """Invoke for so long, no faster than it has to be."""
        begun, made = time.monotonic(), len(self.made)
        while (spent := time.monotonic() - begun) < seconds:
            ahead = (len(self.made) - made) / CALLS_PER_SECOND - spent
            time.sleep(max(0.0, ahead))
            self._freeze()
            count = self._chance.randint(1, AT_ONCE_MAX)
            self._invoke([self._chance.choice(ASKS) for _ in range(count)])

    def _invoke(self, asks: list[str], *, whole: bool = False) -> None:
        """Ask all of these at once; note whatever is no answer, and no failure of a model."""
        self.invocations += 1
        decorated = any(ask.startswith("context") for ask in asks)
        decorated = decorated or self._chance.random() < DECORATED_SHARE
        event = {"asks": asks, "decorated": decorated}
        invocation = self._environment.invoke(event)
        if invocation.error_type is not None:
            payload = invocation.payload[:500]
            self._problem(f"{asks}: {invocation.error_type} {payload!r}")
            return
        answer: Any = invocation.json()
        answer = json.loads(answer["body"]) if "body" in answer else answer
        made = [Made(**each) for each in answer["answers"]]
        self.made += made
        for each in made:
            problem = each.problem(whole=whole)
            if problem:
                self._problem(problem)

    def _problem(self, what: str) -> None:
        self.problems.append(f"invocation {self.invocations}: {what}")

    def _freeze(self) -> None:
        """Freeze now and then: for a moment or longer, with what networks do meanwhile."""
        if self._chance.random() > FREEZE_SHARE:
            return
        kind = self._chance.choice(["frozen", "frozen for 1.2 s", "frozen, connections reset"])
        self.faults[kind] += 1
        self._environment.wait_until_idle()
        self._environment.freeze()
        if kind == "frozen, connections reset":
            self._models.cut()
        time.sleep(1.2 if kind == "frozen for 1.2 s" else 0.02)

    def _sample(self) -> None:
        """Let every kind of call be made eight times at once, and look when all are booked."""
        for ask in ASKS:
            self._invoke([ask] * AT_ONCE_MAX, whole=True)
        self._environment.wait_until_idle()
        self._environment.thaw()
        give_up = time.monotonic() + QUIET_SECONDS
        while (still := self._books().open_calls()) and time.monotonic() < give_up:
            time.sleep(0.5)
        if still:
            self._problem(f"{still} calls stay open")
        pids = self._environment.pids
        own = sidecar_pid(pids["lambdallm"])
        if own is None:
            self._problem("The sidecar is gone.")
            return
        self.samples.append(Sample(self.invocations, usage(own), usage(pids["runtime"]), still))


def soak(
    seconds: float,
    *,
    layer: Path,
    table: tuple[str, str],
    models: Models,
    folder: Path,
    say: Callable[[str], None],
    seed: int = 4,
) -> Result:
    """Run it.

    Args:
        seconds: How long; the comparisons in between take their time beside it.
        layer: What stands in the place of /opt.
        table: URL and name of an empty table.
        models: Asked by all calls.
        folder: For the function's files.
        say: Told how far it is.
        seed: Of chance.
    """
    from e2e.installed import install

    shutil.copy(FUNCTION, folder / "app.py")
    shutil.copy(WAYS, folder)
    install(folder, "openai", "anthropic")
    compileall.compile_dir(folder, quiet=2)
    (folder / "lambdallm.yaml").write_text(CONFIGURATION)
    variables = {
        "LAMBDALLM_STORE": f"dynamodb://{table[1]}",
        "AWS_ENDPOINT_URL_DYNAMODB": table[0],
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/lambdallm/exec-wrapper",
        "AWS_REGION": "us-east-1",
        **models.variables,
    }
    begun = time.monotonic()
    with Environment(
        folder,
        "app.function",
        opt=layer,
        variables=variables,
        timeout_seconds=TIMEOUT_SECONDS,
        memory_mb=1_024,
    ) as environment:
        run = Soak(environment, models, lambda: Books.read(*table), seed)
        run.run(seconds, say)
        environment.shutdown()
        books = Books.read(*table, lines=[line.text for line in environment.logs])
        return Result(
            time.monotonic() - begun,
            run.invocations,
            run.faults,
            run.made,
            run.samples,
            books,
            models.seen,
            [*run.problems, *differences(run.made, books, models.seen), *_growth(run.samples)],
        )


def _growth(samples: list[Sample]) -> Iterator[str]:
    """Say what has grown, once the first fifth is over."""
    settled = samples[SAMPLES // 5 :]
    if not settled:
        return  # it ended early, and has said why
    warm = settled[0].invocations > WARM_INVOCATIONS
    allowed = 0 if warm else COUNT_ALLOWED_WHILE_WARMING
    thousands = (settled[-1].invocations - settled[0].invocations) / 1_000
    for process in ("sidecar", "function"):
        held = [getattr(sample, process) for sample in settled]
        rise = held[-1].private_kb - held[0].private_kb
        if rise > RISE_ALLOWED_KB + RISE_MAX_KB * thousands:
            yield f"The {process}'s private memory grew by {rise:,} kB."
        for what in ("descriptors", "threads"):
            counts = [getattr(each, what) for each in held]
            if min(counts[-3:]) > max(counts[:3]) + allowed:
                yield f"The {process}'s {what} grew: {counts}"


def report(result: Result) -> Iterator[str]:
    """Say what a run gave, in lines."""
    yield "invocations  sidecar kB  fds  threads  function kB  fds  threads  open calls"
    for sample in result.samples:
        numbers = [sample.invocations]
        for each in (sample.sidecar, sample.function):
            numbers += [each.private_kb, each.descriptors, each.threads]
        columns = zip(numbers, (11, 10, 3, 7, 11, 3, 7), strict=True)
        yield "  ".join(f"{number:>{width},}" for number, width in columns) + (
            f"  {sample.open_calls:>10}"
        )
    settled = result.samples[SAMPLES // 5 :]
    for process in ("sidecar", "function") if len(settled) > 1 else ():
        points = [(each.invocations, getattr(each, process).private_kb) for each in settled]
        yield f"{process}: {slope_per_thousand(points):+.0f} kB in 1,000 invocations"
    outcomes: dict[str, Counter[str]] = {}
    for made in result.made:
        outcomes.setdefault(made.ask, Counter())[made.outcome] += 1
    for ask, counts in sorted(outcomes.items()):
        yield f"{ask}: {dict(counts.most_common())}"
    yield f"faults of the environment: {dict(sorted(result.faults.items()))}"
    yield from result.books.describe()
    for problem in result.problems[:40]:
        yield f"PROBLEM {problem}"
    failed = sum(not (made.whole or made.broken_off) for made in result.made)
    yield (
        f"{result.invocations:,} invocations, {len(result.made):,} calls, {failed:,} of them "
        f"failed, {result.seen:,} requests to models, in {result.seconds:.0f} s: "
        f"{len(result.problems)} problems"
    )


def main() -> int:
    """Run it with servers of its own."""
    import tempfile

    parser = argparse.ArgumentParser(
        prog="./build.sh soak --models",
        description=__doc__.split("\n", 1)[0],
        epilog="example: ./build.sh soak --models 2",
    )
    parser.add_argument("minutes", nargs="?", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=4, help="of chance (default: 4)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # servers are stopped
    if options.minutes <= 0:
        parser.error(f"{options.minutes} minutes show nothing.")

    from e2e.conftest import make_layer, make_table
    from fakes.ministack import serve_ministack
    from faults.model_servers import Models

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in ("layer", "table", "models", "function"):
            (folder / name).mkdir()
        url = stack.enter_context(serve_ministack(folder / "table"))
        result = soak(
            options.minutes * 60,
            layer=make_layer(folder / "layer"),
            table=(url, make_table(url)),
            models=stack.enter_context(Models(folder / "models")),
            folder=folder / "function",
            say=lambda text: print(text, file=sys.stderr, flush=True),
            seed=options.seed,
        )
    print("\n".join(report(result)))
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
