"""Pythons as machines have them: older ones, unusable ones, and bytecode for the right one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from lambda_runtime_api.emulator import Environment

pytest.importorskip("awslambdaric", reason="AWS's runtime client is built for Linux")

VARIABLES = {"AWS_REGION": "us-east-1", "LAMBDALLM_STORE": "memory:"}


@cache
def older_pythons() -> dict[str, str]:
    """Pythons before 3.10 that run here, by version."""
    paths = [shutil.which(name) for name in ("python2", "python3.6", "python3.8", "python3.9")]
    if shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=True)
        paths += map(str, sorted(Path(root.stdout.strip()).glob("versions/*/bin/python")))
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    found: dict[str, str] = {}
    for path in filter(None, paths):
        answer = subprocess.run([path, "-c", question], capture_output=True, text=True, check=False)
        version = answer.stdout.strip()
        if answer.returncode == 0 and tuple(map(int, version.split("."))) < (3, 10):
            found.setdefault(version, path)
    return found


@pytest.fixture
def task(tmp_path: Path) -> Path:
    root = tmp_path / "task"
    root.mkdir()
    (root / "app.py").write_text("def handler(event, context):\n    return event\n")
    return root


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH without any Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "sleep"):
        (folder / name).symlink_to(shutil.which(name) or "")
    return str(folder)


def printed(task: Path, opt: Path, **variables: str) -> list[str]:
    """Invoke twice, see that it works, and return what the extension complained of."""
    with Environment(
        task, "app.handler", opt=opt, variables={**VARIABLES, **variables}
    ) as environment:
        for number in range(2):
            assert environment.invoke(number).json() == number
        environment.shutdown()
        lines = [line.text for line in environment.logs if line.source == "extension"]
        return [line for line in lines if not line.startswith("lambdallm: started ")]


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9"])
def test_an_older_python_is_left_for_the_next_one(version: str, task: Path, opt: Path) -> None:
    if version not in older_pythons():
        pytest.skip(f"there is no Python {version} here")

    lines = printed(task, opt, LAMBDALLM_PYTHON=older_pythons()[version])

    assert [
        line for line in lines if "older than Python 3.10; looking for another" in line
    ] == lines


def test_an_interpreter_that_takes_no_python_3_flags_is_told(task: Path, opt: Path) -> None:
    if "2.7" not in older_pythons():
        pytest.skip("there is no Python 2.7 here")

    lines = printed(task, opt, LAMBDALLM_PYTHON=older_pythons()["2.7"])

    assert "the sidecar ended with status 2; the function runs without" in lines[-1]


def test_a_python_that_may_not_be_executed_is_left_for_the_next_one(
    task: Path, opt: Path, tmp_path: Path
) -> None:
    fake = tmp_path / "python3"
    fake.write_text("#!/bin/sh\nexit 0\n")
    fake.chmod(0o644)

    (line,) = printed(task, opt, LAMBDALLM_PYTHON=str(fake))

    assert "is not there; looking for another one" in line


def test_the_sidecar_runs_from_its_bytecode_alone(task: Path, opt: Path, tmp_path: Path) -> None:
    """Sources that cannot be compiled are not noticed, because nobody reads them."""
    layer = shutil.copytree(opt, tmp_path / "opt")
    for source in (layer / "lambdallm").glob("*/**/*.py"):
        source.write_text("this is no Python (")

    assert printed(task, layer, LAMBDALLM_PYTHON=sys.executable) == []
