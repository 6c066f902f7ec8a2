"""Which runtime clients of AWS are known well enough to stream: each of its releases, run.

The newest release of each minor version since 2.0 is fetched from the package index (`--all`); the
installed one is tested everywhere, and so are clients that are none of these.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.shared_builds import made_once
from lambda_runtime_api.emulator import Environment

REPOSITORY = Path(__file__).resolve().parents[2]
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))

RELEASES = ("2.0.12", "2.1.0", "2.2.1", "3.0.2", "3.1.1", "4.0.4", "4.1.0", "4.2.1")
"""Source: the releases of awslambdaric on PyPI, 2026-11-22; those before 2.0 served Python 3.8."""

NEEDED = ("simplejson", "snapshot_restore_py")
"""By the client; a release before 3.0 does not look at the second."""

PACKAGES = (
    "sdk/lambdallm",
    "runtime_api/lambdallm_wire",
    "runtime_api/lambda_runtime_api",
    "extension/lambdallm_extension",
)

CODE = """\
from lambdallm import stream_handler

@stream_handler(via="invoke")
def tell(event, context):
    if "whole" in event:
        return event["whole"]
    return pieces(event)

def pieces(event):
    yield from event["pieces"]
    if "error" in event:
        raise RuntimeError(event["error"])
"""

NOT_STREAMED = '"Responses are not streamed: the runtime client awslambdaric'


@pytest.fixture
def function(tmp_path: Path) -> Path:
    """A task root with the SDK in it, and no layer beside it."""
    task_root = tmp_path / "function"
    task_root.mkdir()
    (task_root / "app.py").write_text(CODE)
    for package in PACKAGES:
        (task_root / Path(package).name).symlink_to(REPOSITORY / package)
    return task_root


def python_with(folder: Path, copy_client: Callable[[Path], object]) -> Path:
    """Make a virtual environment that has a runtime client, and what that needs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in NEEDED:
        (packages / name).symlink_to(SITE_PACKAGES / name)
    copy_client(packages)
    return folder / "bin/python"


def installed(packages: Path) -> Path:
    """Copy the installed client; return where it is."""
    for path in SITE_PACKAGES.glob("runtime_client*"):
        shutil.copy(path, packages)
    return shutil.copytree(SITE_PACKAGES / "awslambdaric", packages / "awslambdaric")


def release(version: str, factory: pytest.TempPathFactory) -> Callable[[Path], object]:
    """Fetch a release; return what copies it."""

    def fetch(folder: Path) -> None:
        options = ("--no-deps", "--only-binary=:all:", "--quiet", "--dest", str(folder))
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, f"awslambdaric=={version}"],
            capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"the package index does not have it here: {done.stderr[-300:]}")

    (wheel,) = made_once(factory, f"awslambdaric-{version}", fetch).glob("*.whl")
    return zipfile.ZipFile(wheel).extractall


def start(function: Path, python: Path) -> Environment:
    variables = {"LAMBDALLM_STORE": "memory:", "LAMBDALLM_SIDECAR": "off"}
    return Environment(function, "app.tell", python=python, variables=variables, timeout_seconds=20)


def warnings_of(environment: Environment) -> list[str]:
    return [line.text for line in environment.logs if NOT_STREAMED in line.text]


def streams(function: Path, python: Path) -> None:
    """Show that each kind of answer comes as it should, one after the other in one process."""
    with start(function, python) as environment:
        for _ in range(2):
            stream = environment.invoke_stream({"pieces": ["Hel", "lo"]})
            assert (b"".join(stream), stream.streamed, stream.error) == (b"Hello", True, None)

        whole = environment.invoke({"whole": {"a": "ä"}})
        answer: Any = whole.json()
        assert (json.loads(answer["body"]), whole.error_type) == ({"a": "ä"}, None)

        broken = environment.invoke_stream({"pieces": ["Hel"], "error": "broken"})
        assert b"".join(broken) == b"Hel"
        assert broken.error is not None
        assert broken.error.error_type == "RuntimeError"

        again = environment.invoke_stream({"pieces": ["on"]})
        assert (b"".join(again), again.streamed) == (b"on", True)
        assert warnings_of(environment) == []


def test_the_installed_client_streams(function: Path) -> None:
    streams(function, Path(sys.executable))


@pytest.mark.slow
@pytest.mark.parametrize("version", RELEASES)
def test_each_release_streams(
    version: str, function: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    python = python_with(tmp_path / "python", release(version, tmp_path_factory))

    streams(function, python)


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def newer(client: Path) -> None:
    """Make a release of it that does not exist."""
    edit(client / "__init__.py", '__version__ = "4.', '__version__ = "99.')


def renamed(client: Path) -> None:
    """Give one of its methods another name, wherever it is called."""
    for path in client.glob("*.py"):
        path.write_text(path.read_text().replace("wait_next_invocation", "next_invocation"))


def moved(client: Path) -> None:
    """Give its class another name."""
    for path in client.glob("*.py"):
        path.write_text(path.read_text().replace("LambdaRuntimeClient", "RuntimeClient"))


@pytest.mark.parametrize("change", [newer, renamed, moved])
def test_before_a_client_that_is_not_known_answers_are_whole(
    change: Callable[[Path], None], function: Path, tmp_path: Path
) -> None:
    python = python_with(tmp_path / "python", lambda packages: change(installed(packages)))

    with start(function, python) as environment:
        seen: list[Any] = []
        for _ in range(2):
            stream = environment.invoke_stream({"pieces": ["Hel", "lo"]})
            seen.append((b"".join(stream), stream.streamed, stream.error))
        broken = environment.invoke({"pieces": ["Hel"], "error": "broken"})
        environment.wait_until_idle()

        assert seen == [(b'"Hello"', False, None)] * 2
        assert broken.error_type == "RuntimeError"
        assert len(warnings_of(environment)) == 1, environment.logs
