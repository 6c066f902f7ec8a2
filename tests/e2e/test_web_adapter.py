"""A web app that is started in front of the handler, as AWS Lambda Web Adapter does it.

The adapter's program is in no package index. Put where `REAL` says (it is `/lambda-adapter` in its
public image), it is tested; a stand-in that does what its source says is tested everywhere.
"""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.chats import lines_with, post, reply_of
from e2e.installed import install
from fakes.shared_builds import made_once

if TYPE_CHECKING:
    from e2e.conftest import Start

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "examples/fastapi"
STAND_IN = Path(__file__).parent / "programs/web_adapter"
REAL = REPOSITORY / ".cache/web-adapter/lambda-adapter"

WRAPPER = '#!/bin/bash\nexec -- "${LAMBDA_TASK_ROOT}/${_HANDLER}"\n'
"""The adapter's layer has it as /opt/bootstrap, for AWS_LAMBDA_EXEC_WRAPPER."""


@pytest.fixture(scope="session")
def function(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with what it imports, as `pip install --target` leaves it."""

    def make(folder: Path) -> None:
        shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
        install(folder, "fastapi", "uvicorn")

    return made_once(tmp_path_factory, "fastapi", make)


@pytest.fixture(params=["stand-in", "real"])
def adapter_layer(request: pytest.FixtureRequest, layer: Path, tmp_path: Path) -> Path:
    program = STAND_IN if request.param == "stand-in" else REAL
    if not program.exists():
        pytest.skip(
            "no registry has AWS Lambda Web Adapter: put the program out of its layer into "
            f"{REAL.relative_to(REPOSITORY)}"
        )
    opt = shutil.copytree(layer, tmp_path / "opt")
    shutil.copy(program, opt / "extensions/lambda-adapter")
    (opt / "bootstrap").write_text(WRAPPER)
    (opt / "bootstrap").chmod(0o755)
    return opt


def test_a_fastapi_app_converses(
    host: Start,
    adapter_layer: Path,
    function: Path,
    chat_variables: dict[str, str],
    free_port: int,
) -> None:
    session = f"fastapi-{host.name}"
    variables = {
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/lambdallm/exec-wrapper",
        "LAMBDALLM_NEXT_WRAPPER": "/opt/bootstrap",
        "AWS_LWA_PORT": str(free_port),
    }
    with host(
        function,
        "run.sh",
        opt=adapter_layer,
        variables={**chat_variables, **variables},
        timeout_seconds=20,
        memory_mb=1_024,
    ) as environment:
        first = environment.invoke(post(session, "one"))
        assert reply_of(first) == "You said 1 things."
        assert reply_of(environment.invoke(post(session, "two"))) == "You said 2 things."
        wrong = environment.invoke(post("no # in an id", "three"))
        metrics = [json.loads(line) for line in lines_with(environment, '"CostUSD"')]
        assert not lines_with(environment, "embedded engine serves")

    assert json.loads(wrong.payload)["statusCode"] == 400
    assert [entry["Calls"] for entry in metrics] == [1, 1, 0]
    assert metrics[0]["requestId"] == first.request_id
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", free_port)), "the app ended with its environment"
