"""The chat of `examples/chat` in two emulated execution environments, with its store and model.

    this process ─┬─ ministack         a DynamoDB-compatible server
                  ├─ model_server      scripted answers over Bedrock's own protocol
                  ├─ environment A     launcher ─ sidecar, and AWS's runtime client ─ the handler
                  ├─ environment B     starts when A is gone, and remembers
                  └─ others            spend a day's budget, are stopped, and go on; and three
                                       that finish one report, each a part of it

Whatever is started here ends here: after the last turn, after an error, and on Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from demo_budget import show as show_budget
from demo_chain import FUNCTION as CHAIN_FUNCTION, HANDLER as CHAIN_HANDLER, show as show_chain
from demo_servers import (
    SIGNALS,
    InterruptionError,
    ProblemError,
    create_table,
    dynamodb_server,
    model_server,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from demo_screen import Screen

    from lambda_runtime_api.emulator import Environment, Invocation

ROOT = Path(__file__).resolve().parents[1]
FUNCTION, HANDLER = ROOT / "examples/chat", "app.chat_handler"
TABLE, SESSION = "lambdallm", "demo"
MEMORY_MB = 256
SCRIPTED_TIMEOUT_SECONDS, BEDROCK_TIMEOUT_SECONDS = 20, 90

DONE, MISUSED, LACKING = 0, 2, 3
"""Exit codes, beside 1 for what failed, and 128 and the signal's number when interrupted."""

QUESTIONS = {
    "A": (
        "Hi, I am Ada. I keep bees on a roof in Lisbon.",
        "I have three hives, and I wish for a fourth.",
        "What should I check before I add it?",
    ),
    "B": (
        "Good morning! What do you remember about me?",
        "Thank you. Say it in five words.",
    ),
}

READ = "[messages read: {count}]"
"""Ends each scripted answer: how many messages of the user the model was really sent."""

SCRIPT = (
    f"Hello, Ada! A roof in Lisbon must be a good place for bees. {READ}",
    f"Three hives and a wish: I keep that in mind. {READ}",
    f"The load on the roof, the forage within 3 km, and the neighbours. {READ}",
    f"You are Ada. You keep three hives on a roof in Lisbon and wish for a fourth. {READ}",
    f"Ada, Lisbon, bees: one more! {READ}",
)


class Turn(NamedTuple):
    """One question and all that is known about its answer."""

    environment: str
    question: str
    reply: str
    remembered: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    init_ms: float | None
    duration_ms: float


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return its exit code."""
    options = _parse(arguments)
    try:
        from demo_screen import Screen
    except ImportError as error:
        print(f"The demo needs {error.name}; ./build.sh demo brings it along.", file=sys.stderr)
        return LACKING
    SIGNALS.listen()
    try:
        with tempfile.TemporaryDirectory(prefix="lambdallm-demo-") as folder:
            run(options, Screen(), Path(folder))
    except ProblemError as problem:
        print(f"\n{problem}", file=sys.stderr)
        return problem.status
    except InterruptionError as interruption:
        print("\nInterrupted; everything that was started has been ended.", file=sys.stderr)
        return interruption.status
    return DONE


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./build.sh demo",
        description="Chat over two emulated execution environments, and see what is remembered, "
        "what it costs and how long it takes. Needs no AWS account.",
        epilog="example: AWS_PROFILE=dev ./build.sh demo --bedrock --region eu-west-1",
    )
    parser.add_argument(
        "--bedrock",
        action="store_true",
        help="ask a real model with your AWS credentials (costs a fraction of a cent); "
        "the store stays on this machine",
    )
    parser.add_argument("--model", help="bedrock/MODEL_ID (lambdallm's default model)")
    parser.add_argument("--region", help="AWS region for --bedrock (your configuration's own)")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, screen: Screen, folder: Path) -> None:
    """Start the servers, play the conversation, and show what came of it."""
    variables = {"LAMBDALLM_STORE": f"dynamodb://{TABLE}", "AWS_REGION": "us-east-1"}
    if options.model:
        variables["LAMBDALLM_MODEL"] = options.model
    if options.bedrock:
        variables |= bedrock_variables(options.region)
    screen.title("Amazon Bedrock" if options.bedrock else "a scripted model")
    with screen.busy("building the layer"):
        opt, size = build_layer(folder)
    screen.fact("layer", f"lambdallm-layer.zip, {size:,} bytes, unpacked as /opt")
    with contextlib.ExitStack() as children:
        with screen.busy("starting the servers"):
            store = children.enter_context(dynamodb_server(folder))
            variables["AWS_ENDPOINT_URL_DYNAMODB"] = store
            table = create_table(store, TABLE, variables["AWS_REGION"])
            model = f"Amazon Bedrock in {variables['AWS_REGION']}"
            if not options.bedrock:
                url = children.enter_context(model_server(folder, SCRIPT))
                variables["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] = url
                model = f"scripted answers over Bedrock's protocol, {url}"
        screen.fact("model", model)
        screen.fact("store", f"DynamoDB-compatible, {store}, table {TABLE}")
        screen.fact("function", f"examples/chat/app.py, {HANDLER}, {MEMORY_MB} MB")
        turns = converse(screen, opt, variables, table, scripted=not options.bedrock)
        screen.totals(turns)
        screen.items(TABLE, items_of(table))
        if not options.bedrock:
            show_budget(
                screen, folder, variables, table,
                lambda told: environment(opt, told, SCRIPTED_TIMEOUT_SECONDS),
            )  # fmt: skip
            show_chain(
                screen, folder, variables,
                lambda told: environment(
                    opt, told, SCRIPTED_TIMEOUT_SECONDS, (CHAIN_FUNCTION, CHAIN_HANDLER)
                ),
            )  # fmt: skip
    screen.ending(bedrock=options.bedrock)


def bedrock_variables(region: str | None) -> dict[str, str]:
    """Take the user's own credentials and region, for the function and its sidecar."""
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        session = boto3.Session(region_name=region)
        found = session.get_credentials()
        credentials = found.get_frozen_credentials() if found else None
    except BotoCoreError as error:
        message = f"--bedrock: {error}"
        raise ProblemError(message, MISUSED) from error
    if credentials is None:
        raise ProblemError(
            "--bedrock needs AWS credentials, and none were found. Set AWS_PROFILE, or run "
            "`aws configure`. Without --bedrock the demo needs no account.",
            MISUSED,
        )
    if not session.region_name:
        raise ProblemError("--bedrock needs a region: --region us-east-1, or AWS_REGION.", MISUSED)
    variables = {
        "AWS_REGION": session.region_name,
        "AWS_DEFAULT_REGION": session.region_name,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_SESSION_TOKEN": credentials.token or "",
    }
    endpoint = "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"  # a private endpoint of the user's
    return variables | ({endpoint: os.environ[endpoint]} if os.environ.get(endpoint) else {})


def build_layer(folder: Path) -> tuple[Path, int]:
    """Build the layer with this Python's bytecode and unpack it as AWS does."""
    output = ("--output", str(folder / "dist"), "--python", sys.executable)
    built = subprocess.run(
        [sys.executable, str(ROOT / "layer/build_layer.py"), "build", *output],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        message = f"The layer could not be built:\n{built.stderr.strip()}"
        raise ProblemError(message)
    archive, opt = folder / "dist/lambdallm-layer.zip", folder / "opt"
    with zipfile.ZipFile(archive) as layer:
        for entry in layer.infolist():
            Path(layer.extract(entry, opt)).chmod(entry.external_attr >> 16 & 0o777)
    return opt, archive.stat().st_size


def converse(
    screen: Screen, opt: Path, variables: Mapping[str, str], table: Any, *, scripted: bool
) -> list[Turn]:
    """Ask every question, each group in an execution environment of its own."""
    turns: list[Turn] = []
    timeout = SCRIPTED_TIMEOUT_SECONDS if scripted else BEDROCK_TIMEOUT_SECONDS
    for name, questions in QUESTIONS.items():
        screen.environment(name, first=not turns)
        with environment(opt, variables, timeout) as running:
            for question in questions:
                remembered = count_turns(table)
                with screen.busy(question):
                    turn = ask(running, name, question, remembered)
                turns.append(turn)
                screen.turn(len(turns), turn)
                if scripted:
                    check_memory(turn, len(turns))
    return turns


@contextlib.contextmanager
def environment(
    opt: Path,
    variables: Mapping[str, str],
    timeout_seconds: float,
    function: tuple[Path, str] = (FUNCTION, HANDLER),
) -> Iterator[Environment]:
    """Run an execution environment; its processes start with the first question."""
    from lambda_runtime_api.emulator import Environment, RuntimeNotFoundError

    running = None
    try:
        with SIGNALS.held():  # so that it is known to the end of this block when it exists
            running = Environment(
                *function,
                opt=opt,
                variables=variables,
                timeout_seconds=timeout_seconds,
                memory_mb=MEMORY_MB,
                function_name=function[0].name,
            )
        yield running
    except RuntimeNotFoundError as error:
        message = f"{error} AWS publishes it for Linux; elsewhere, run the demo in a container."
        raise ProblemError(message, LACKING) from error
    except InterruptionError:
        for pid in running.pids.values() if running else ():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # a model may take its time; the user need not
        raise
    finally:
        with SIGNALS.held():
            if running:
                running.close()


def ask(running: Environment, name: str, question: str, remembered: int) -> Turn:
    """Ask as a Function URL would, and collect what the sidecar reports about the answer."""
    event = {
        "version": "2.0",
        "requestContext": {"http": {"method": "POST", "path": "/"}},
        "headers": {"content-type": "application/json", "x-session-id": SESSION},
        "body": json.dumps({"message": question}),
        "isBase64Encoded": False,
    }
    invocation = running.invoke(event)
    running.wait_until_idle()
    metrics = metrics_of(invocation)
    return Turn(
        name,
        question,
        reply_of(invocation),
        remembered,
        metrics["InputTokens"],
        metrics["OutputTokens"],
        None if metrics["UnpricedCalls"] else Decimal(metrics["CostUSD"]),
        invocation.init_ms,
        invocation.duration_ms,
    )


def reply_of(invocation: Invocation) -> str:
    """Take the reply out of the HTTP response that the handler returned."""
    answer: Any = invocation.json()
    body = answer.get("body", answer)
    content = json.loads(body) if isinstance(body, str) else body
    if invocation.error_type or answer.get("statusCode") != 200:  # noqa: PLR2004
        message = content.get("detail") or content.get("errorMessage") or content
        message = f"The function failed: {message}"
        raise ProblemError(message)
    reply: str = content["reply"]
    return reply


def metrics_of(invocation: Invocation) -> dict[str, Any]:
    """Find the metric line of an invocation among what the sidecar printed."""
    reply_of(invocation)
    for line in invocation.logs:
        if line.source == "extension" and f'"requestId":"{invocation.request_id}"' in line.text:
            metrics: dict[str, Any] = json.loads(line.text, parse_float=Decimal)
            return metrics
    said = "\n".join(line.text for line in invocation.logs)
    message = f"The sidecar reported nothing about this answer:\n{said}"
    raise ProblemError(message)


def count_turns(table: Any) -> int:
    """Count what the store holds of the conversation."""
    from boto3.dynamodb.conditions import Key

    prefix = Key("pk").eq(f"SESSION#{SESSION}") & Key("sk").begins_with("TURN#")
    count: int = table.query(KeyConditionExpression=prefix, ConsistentRead=True)["Count"]
    return count


def items_of(table: Any) -> list[dict[str, Any]]:
    """Read everything: the session first, then its calls as they were made."""
    items: list[dict[str, Any]] = table.scan(ConsistentRead=True)["Items"]
    kinds = ("HEAD", "TURN", "EXCHANGE", "CALL", "SPEND")

    def place(item: dict[str, Any]) -> tuple[int, int, str]:
        kind = "SPEND" if item["pk"].startswith("SPEND#") else item["sk"].partition("#")[0]
        order = {"EXCHANGE": "number", "CALL": "at"}.get(kind)
        return kinds.index(kind), int(item[order]) if order else 0, item["sk"]

    return sorted(items, key=place)


def check_memory(turn: Turn, number: int) -> None:
    """Hold the model's own count against ours, so that nothing is shown that is not so."""
    if READ.format(count=number) not in turn.reply:
        message = f"The model should have read {number} messages, but said: {turn.reply}"
        raise ProblemError(message)


if __name__ == "__main__":
    sys.exit(main())
