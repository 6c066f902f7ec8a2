"""Other people's instrumentation around a function that uses lambdallm, with their real packages.

There is one slot for a wrapper, AWS_LAMBDA_EXEC_WRAPPER. Either ours is in it and starts theirs
(LAMBDALLM_NEXT_WRAPPER), or theirs is in it and the function imports `lambdallm.auto`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.chats import CHAT, lines_with, post, reply_of
from e2e.installed import install
from fakes.shared_builds import made_once

if TYPE_CHECKING:
    from e2e.conftest import Start

OTEL_HANDLER = Path(__file__).parent / "programs/otel_wrapper.py"

REDIRECTING = r"""#!/bin/bash
# As the wrapper of OpenTelemetry's layer: another handler in front of the function's.
export PYTHONPATH="$PYTHONPATH:$HERE/python"
export ORIG_HANDLER="$_HANDLER" _HANDLER=otel_wrapper.lambda_handler
exec "$@"
"""
INSTRUMENTING = r"""#!/bin/bash
# As `opentelemetry-instrument`, of opentelemetry-distro, which puts itself before the program.
export PYTHONPATH="$PYTHONPATH:$HERE/python" OTEL_TRACES_EXPORTER=console
export OTEL_METRICS_EXPORTER=none OTEL_LOGS_EXPORTER=none OTEL_PROPAGATORS=tracecontext
program=$1
shift
exec "$program" -c 'from opentelemetry.instrumentation.auto_instrumentation import run; run()' \
  "$program" "$@"
"""
WRAPPERS = {"handler redirected": (REDIRECTING, "SPAN function"),
            "opentelemetry-instrument": (INSTRUMENTING, '"name": "function"')}  # fmt: skip

OURS_FIRST = {
    "AWS_LAMBDA_EXEC_WRAPPER": "/opt/lambdallm/exec-wrapper",
    "LAMBDALLM_NEXT_WRAPPER": "/opt/otel/wrapper",
}
THEIRS_ALONE = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/otel/wrapper"}

SAY_NO_PROXY = "\nimport os\nprint('NO_PROXY is', os.environ.get('NO_PROXY'))\n"
DEAD_PROXY = dict.fromkeys(
    ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9"
)
"""The discard port, on which nobody listens."""


class Opentelemetry:
    """Our layer with OpenTelemetry's packages beside it, and one of its wrappers."""

    def __init__(self, opt: Path, folder: Path) -> None:
        self._opt = opt
        self._folder = folder

    def behind(self, wrapper: str) -> tuple[Path, str]:
        """Return a folder for `/opt` with this wrapper in it, and what a span looks like."""
        text, span = WRAPPERS[wrapper]
        opt = shutil.copytree(self._opt, self._folder / "opt", copy_function=_link)
        path = opt / "otel/wrapper"
        path.write_text(text.replace("$HERE", "${BASH_SOURCE[0]%/*}"))
        path.chmod(0o755)
        return opt, span


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


@pytest.fixture(scope="session")
def otel_layer(layer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(opt: Path) -> None:
        shutil.copytree(layer, opt, dirs_exist_ok=True)
        packages = opt / "otel/python"
        install(packages, "opentelemetry-distro", "opentelemetry-instrumentation-aws-lambda")
        shutil.copyfile(OTEL_HANDLER, packages / "otel_wrapper.py")

    return made_once(tmp_path_factory, "otel", make)


@pytest.fixture
def opentelemetry(otel_layer: Path, tmp_path: Path) -> Opentelemetry:
    return Opentelemetry(otel_layer, tmp_path)


@pytest.mark.parametrize(
    ("wrapper", "variables"),
    [
        ("handler redirected", OURS_FIRST),
        ("handler redirected", THEIRS_ALONE),
        ("opentelemetry-instrument", OURS_FIRST),
        ("opentelemetry-instrument", THEIRS_ALONE),
        ("opentelemetry-instrument", {**OURS_FIRST, "LAMBDALLM_SIDECAR": "off"}),
    ],
    ids=["behind ours", "instead", "instrument behind ours", "instrument instead", "embedded"],
)
def test_opentelemetry_around_a_conversation(
    host: Start,
    opentelemetry: Opentelemetry,
    chat_variables: dict[str, str],
    wrapper: str,
    variables: dict[str, str],
) -> None:
    opt, span = opentelemetry.behind(wrapper)
    auto = "import lambdallm.auto\n" if variables is THEIRS_ALONE else ""
    session = f"{host.name}-{wrapper}-{len(variables)}".replace(" ", "-")
    with host(
        {"app.py": auto + CHAT.read_text() + SAY_NO_PROXY},
        "app.chat_handler",
        opt=opt,
        variables={**chat_variables, **DEAD_PROXY, **variables},
        timeout_seconds=20,
        memory_mb=1_024,
    ) as environment:
        assert reply_of(environment.invoke(post(session, "one"))) == "You said 1 things."
        assert reply_of(environment.invoke(post(session, "two"))) == "You said 2 things."
        assert len(lines_with(environment, span)) == 2
        assert lines_with(environment, "NO_PROXY is") == ["NO_PROXY is 127.0.0.1,localhost"]
        assert not lines_with(environment, "the embedded engine serves")
        assert len(lines_with(environment, '"CostUSD"')) == 2


DATADOG = {
    "DD_API_KEY": "not-a-key",
    "DD_FLUSH_TO_LOG": "true",
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_LAMBDA_HANDLER": "app.chat_handler",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
}
DATADOG_HANDLER = "datadog_lambda.handler.handler"
INVOCATION_COUNTED = '"m":"aws.lambda.enhanced.invocations"'

OURS_OUTSIDE = """
from datadog_lambda.wrapper import datadog_lambda_wrapper
from lambdallm import Session, handler

@handler(session=Session(store="dynamodb", ttl_hours=24))
@datadog_lambda_wrapper
def chat_handler(event, context):
    session = context.session
    session.add_message("user", event["body"]["message"])
    response = context.invoke(session.format_history())
    session.add_message("assistant", response)
    return {"statusCode": 200, "body": {"reply": response}}
"""


@pytest.fixture(scope="session")
def datadog_layer(layer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our layer and Datadog's library, where its layer has it, with a script for the slot."""

    def make(opt: Path) -> None:
        shutil.copytree(layer, opt, dirs_exist_ok=True)
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        install(opt / "python/lib" / version / "site-packages", "datadog-lambda", "ddtrace")
        wrapper = opt / "datadog_wrapper"
        wrapper.write_text(
            '#!/bin/bash\nargs=("$@")\necho "their wrapper ran"\nexec "${args[@]}"\n'
        )
        wrapper.chmod(0o755)

    return made_once(tmp_path_factory, "datadog", make)


@pytest.mark.parametrize("outside", ["theirs", "ours"])
def test_datadog_around_a_conversation(
    host: Start, datadog_layer: Path, chat_variables: dict[str, str], outside: str
) -> None:
    """Theirs outside: the function's handler is their module, which imports ours. And reversed."""
    session = f"datadog-{host.name}-{outside}"
    slot = {
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/lambdallm/exec-wrapper",
        "LAMBDALLM_NEXT_WRAPPER": "/opt/datadog_wrapper",
    }
    with host(
        {"app.py": CHAT.read_text() if outside == "theirs" else OURS_OUTSIDE},
        DATADOG_HANDLER if outside == "theirs" else "app.chat_handler",
        opt=datadog_layer,
        variables={**chat_variables, **DATADOG, **slot, **DEAD_PROXY},
        timeout_seconds=20,
        memory_mb=1_024,
    ) as environment:
        assert reply_of(environment.invoke(post(session, "one"))) == "You said 1 things."
        assert reply_of(environment.invoke(post(session, "two"))) == "You said 2 things."
        assert len(lines_with(environment, INVOCATION_COUNTED)) == 2
        assert lines_with(environment, "their wrapper ran")
        assert not lines_with(environment, "the embedded engine serves")
        assert len(lines_with(environment, '"CostUSD"')) == 2
