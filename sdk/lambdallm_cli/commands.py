"""The commands there are."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from lambdallm import __version__
from lambdallm_cli import invocation
from lambdallm_cli.bench_models import bench
from lambdallm_cli.budget import budget
from lambdallm_cli.calls import calls
from lambdallm_cli.cost import cost
from lambdallm_cli.price import price, price_book
from lambdallm_cli.runs import runs
from lambdallm_cli.sessions import sessions


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="lambdallm %(version)s")
def lambdallm() -> None:
    """LLM handlers on AWS Lambda.

    Exit codes: 0 done, 1 the answer is no, 2 used wrongly, 3 something outside failed.
    """


@lambdallm.command(
    epilog='Example: lambdallm invoke app.handler --data \'{"message": "Hello"}\' --session ada'
)
@click.argument("handler", metavar="MODULE.HANDLER")
@click.option("--data", help="The request's JSON body.")
@click.option(
    "--file",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with it.",
)
@click.option("--event", is_flag=True, help="The data is a whole event, not a body.")
@click.option("--session", help="Session id, sent as x-session-id.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole response as one line.")
def invoke(
    handler: str,
    data: str | None,
    path: Path | None,
    event: bool,
    session: str | None,
    as_json: bool,
) -> None:
    """Run a handler in this process, with the embedded engine, and print its answer.

    Exits with 1 when the answer's status is 4xx, with 3 when it is 5xx or the handler raised.
    """
    if data is not None and path is not None:
        message = "Give --data or --file, not both."
        raise click.UsageError(message)
    text = path.read_text(encoding="utf-8") if path is not None else data or "{}"
    try:
        made = invocation.make_event(text, whole=event, session_id=session)
        function = invocation.load_handler(handler)
    except invocation.UsageError as error:
        raise click.UsageError(str(error)) from error
    outcome = invocation.run(function, made)
    if outcome.error is not None:
        click.echo(f"The handler raised {type(outcome.error).__name__}: {outcome.error}", err=True)
        sys.exit(3)
    click.echo(json.dumps(outcome.value, default=str) if as_json else _readable(outcome.value))
    sys.exit(invocation.exit_code(outcome.value))


@lambdallm.command(
    epilog="Examples: lambdallm doctor; "
    "lambdallm doctor --function chat --region eu-central-1 --json"
)
@click.option("--function", metavar="NAME", help="Examine a deployed function (name or ARN).")
@click.option("--region", help="Where; by default what this machine is set to.")
@click.option("--call", is_flag=True, help="Really ask the model, for one token.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one line.")
def doctor(function: str | None, region: str | None, call: bool, as_json: bool) -> None:
    """Find out what is wrong with a function, or with this machine, and what to do about it.

    Looks at region, credentials, clock, the store, permissions and the model; with --function
    also at runtime, layer, memory and timeout, and at what the function's role may do. Writes
    nothing. Missing permissions come as a policy to paste.

    Exits with 0 when nothing is wrong (warnings included), with 1 when something is, with 3 when
    somebody did not answer.
    """
    try:
        from lambdallm_cli import doctor as doctors
        from lambdallm_cli.doctor import report
    except ModuleNotFoundError as error:
        if error.name not in ("boto3", "botocore"):
            raise
        message = f"The doctor needs {error.name}: pip install 'lambdallm[cli]'"
        raise click.UsageError(message) from error
    target, findings = doctors.examine(function, region, call=call)
    if as_json:
        click.echo(report.to_json(target.subject, target.region, findings))
    else:
        report.show(target.subject, target.region, findings)
    sys.exit(report.exit_code(findings))


@lambdallm.command(
    epilog="Examples: lambdallm check; lambdallm check config/prod.yaml --compile; "
    "lambdallm check --template deploy/template.yaml"
)
@click.argument(
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=False,
    envvar="LAMBDALLM_CONFIG",
)
@click.option("--compile", "compiling", is_flag=True, help="Write lambdallm.json beside it.")
@click.option(
    "--environment",
    metavar="NAME",
    default="",
    envvar="LAMBDALLM_ENV",
    help="Which of its environments must be there; LAMBDALLM_ENV says it, too.",
)
@click.option(
    "--template",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Of SAM or CloudFormation; by default template.yaml, .yml or .json, where it is there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one line.")
def check(
    file: Path | None, compiling: bool, environment: str, template: Path | None, as_json: bool
) -> None:
    """Find every mistake in a lambdallm.yaml, with its line and what may have been meant.

    The sidecar reads lambdallm.json, which --compile makes, ten times as fast, and all of YAML
    can be in its source. Without it the sidecar reads the YAML itself.

    A template is compared with the code of its functions: @stream_handler(via="function-url")
    needs a URL with InvokeMode RESPONSE_STREAM, and so on. A function cannot see that at run time.

    Exits with 0 when both hold (warnings included), with 1 when something in them does not.
    Either may be missing, not both.
    """
    try:
        from lambdallm_cli import check as checks, check_report, check_streams
    except ModuleNotFoundError as error:
        if error.name not in ("yaml", "rich"):
            raise
        message = "The check needs PyYAML and rich: pip install 'lambdallm[cli]'"
        raise click.UsageError(message) from error
    try:
        template = template or check_streams.find_template()
        file = _configuration_file(file, needed=compiling or template is None)
        result = (
            checks.examine(file, compiling=compiling, environment=environment) if file else None
        )
        deployed = check_streams.examine(template) if template else None
        done = compiling and result is not None and not result.exit_code
        compiled = checks.compile_file(file, result) if file and result and done else None
    except OSError as error:
        click.echo(f"{error.filename}: {error.strerror}", err=True)
        sys.exit(3)
    if as_json:
        click.echo(check_report.to_json(file, result, compiled, template, deployed))
    else:
        check_report.show_both(file, result, compiled, template, deployed)
    sys.exit(max(each.exit_code for each in (result, deployed) if each is not None))


def _configuration_file(file: Path | None, *, needed: bool) -> Path | None:
    """Return what is to be checked, by default the one in the current folder."""
    if file is None:
        file = Path("lambdallm.yaml")
        if not file.is_file():
            if not needed:
                return None
            message = "There is no lambdallm.yaml here."
            raise click.UsageError(message)
    if file.suffix not in (".yaml", ".yml"):
        message = f"{file} is not named .yaml."
        raise click.UsageError(message)
    return file


lambdallm.add_command(calls)
lambdallm.add_command(bench)
lambdallm.add_command(sessions)
lambdallm.add_command(runs)
lambdallm.add_command(budget)
lambdallm.add_command(cost)
lambdallm.add_command(price)
lambdallm.add_command(price_book)


def _readable(value: Any) -> str:
    """Return a response for people: its status, and its body laid out."""
    if not isinstance(value, dict) or "statusCode" not in value:
        return json.dumps(value, indent=2, default=str, ensure_ascii=False)
    lines = [f"status {value['statusCode']}"]
    lines += [f"{name}: {content}" for name, content in (value.get("headers") or {}).items()]
    body = str(value.get("body") or "")
    with suppress(ValueError):  # not JSON: shown as it is
        body = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    return "\n".join([*lines, "", body])
