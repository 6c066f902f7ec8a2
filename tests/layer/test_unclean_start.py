"""A start after a reset runs inside an invocation: `/next` first, everything else beside it.

A sidecar that takes long to load shows the difference: in Init the runtime's start covers it, and
after a reset the function would wait for it.
"""

from pathlib import Path
from shutil import copytree, rmtree

import pytest

from lambda_runtime_api.emulator import Environment

pytest.importorskip("awslambdaric", reason="AWS's runtime client is built for Linux")

FUNCTION = """
import os, time

def handler(event, context):
    if event == "hang":
        time.sleep(60)
    if event == "exit":
        os._exit(1)
    return os.path.exists(os.environ["LAMBDALLM_DIRECTORY"] + "/loaded")
"""

SLOW = """
import os, time
time.sleep(0.5)
open(os.environ["LAMBDALLM_DIRECTORY"] + "/loaded", "w").close()
"""


@pytest.fixture
def environment(opt: Path, tmp_path: Path) -> Environment:
    layer = copytree(opt, tmp_path / "opt")
    package = layer / "lambdallm" / "lambdallm_extension"
    rmtree(package / "__pycache__")
    engine = package / "engine.py"
    engine.write_text(engine.read_text().replace("\nimport os\n", f"\n{SLOW}\nimport os\n", 1))
    task = tmp_path / "task"
    task.mkdir()
    (task / "app.py").write_text(FUNCTION)
    variables = {"LAMBDALLM_STORE": "memory:", "AWS_REGION": "us-east-1"}
    return Environment(
        task, "app.handler", opt=layer, variables=variables, timeout_seconds=2,
        directory=tmp_path / "tmp",
    )  # fmt: skip


def forget_loading(environment: Environment) -> None:
    (environment.directory / "lambdallm" / "loaded").unlink(missing_ok=True)


@pytest.mark.parametrize("fault", ["hang", "exit"])
def test_after_a_reset_the_function_does_not_wait_for_loading(
    environment: Environment, fault: str
) -> None:
    with environment:
        assert environment.invoke("go").json() is True, "Init waits for it"
        assert environment.invoke(fault).error_type is not None
        environment.wait_until_idle()
        forget_loading(environment)

        again = environment.invoke("go")
        assert (again.error_type, again.cold, again.json()) == (None, True, False)


def test_after_a_spindown_the_next_start_is_a_first_one(environment: Environment) -> None:
    with environment:
        assert environment.invoke("go").json() is True
        environment.shutdown()
        forget_loading(environment)

        assert environment.invoke("go").json() is True
