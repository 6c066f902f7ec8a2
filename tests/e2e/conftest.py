"""Whole execution environments for tests: ours and AWS's, with the built layer in them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import pytest

from e2e import aws_environment
from e2e.aws_environment import AwsEnvironment
from fakes.shared_builds import made_once
from lambda_runtime_api.emulator import Environment, RuntimeNotFoundError
from lambda_runtime_api.emulator.runtimes import prepare_runtime
from lambda_runtime_api.emulator.snapshots import SnapshotUnavailableError, same_world
from lambdallm.testing.model_server import ModelServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPOSITORY = Path(__file__).resolve().parents[2]
STARTING_SECONDS = 30
PROGRAMS = Path(__file__).with_name("programs")


class Start:
    """Starts a function in one of the two emulators.

    `start(files_or_folder, "app.handler", opt=layer, variables={…})` is a context manager whose
    value has `invoke(event) -> Invocation`, `wait_until_idle()`, `logs`, `pids`, `shutdown()`.
    """

    def __init__(self, name: str, runtimes: Mapping[str, Path], folder: Path) -> None:
        self.name = name
        self._runtimes = runtimes
        self._folder = folder
        self._made = 0

    def __call__(
        self,
        function: Path | Mapping[str, str],
        handler: str = "app.handler",
        *,
        python: str | Path | None = "",
        **options: Any,
    ) -> Environment | AwsEnvironment:
        """Prepare an environment.

        Args:
            function: A task root, or its files by their names; a `bootstrap` becomes executable.
            handler: `module.function`.
            python: A version such as "3.13" (the test skips where it is missing), a path, None
                for a function without Python; "" for the Python of the tests.
            options: `opt`, `variables`, `timeout_seconds`, `memory_mb`, `function_name`.
        """
        task_root = function if isinstance(function, Path) else self._write(function)
        chosen = self._runtimes.get(python) if isinstance(python, str) and python else python
        if chosen is None and python is not None:
            pytest.skip(
                f"no Python {python} with AWS's runtime client is in .venvs, where ./build.sh puts "
                "those that it finds on this machine"
            )
        make = Environment if self.name == "emulator" else AwsEnvironment
        return make(
            task_root, handler, python=sys.executable if chosen == "" else chosen, **options
        )

    def _write(self, files: Mapping[str, str]) -> Path:
        self._made += 1
        task_root = self._folder / f"function-{self._made}"
        for name, text in files.items():
            path = task_root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        return task_root


class Service(NamedTuple):
    """A server that runs beside the environments."""

    url: str
    table: str


why_not_aws = cache(aws_environment.why_not)


def needs_aws() -> None:
    """Skip a test of AWS's emulator where this machine cannot run that."""
    reason = why_not_aws()
    if reason is not None:
        pytest.skip(f"AWS's emulator does not run here: {reason}")


@pytest.fixture(scope="session")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pythons that can run functions, by their version: the tests' own, and those in `.venvs`."""
    found: dict[str, Path] = {}
    folder = tmp_path_factory.mktemp("runtimes")
    for python in [Path(sys.executable), *sorted(REPOSITORY.glob(".venvs/*/bin/python"))]:
        with contextlib.suppress(RuntimeNotFoundError):
            runtime = prepare_runtime(python, folder / f"{len(list(folder.iterdir()))}")
            found.setdefault(runtime.version, python)
    return found


@pytest.fixture(params=["emulator", "aws"])
def host(request: pytest.FixtureRequest, runtimes: dict[str, Path], tmp_path: Path) -> Start:
    """Each of the two emulators, one after the other; AWS's where the machine can run it."""
    if request.param == "aws":
        needs_aws()
    return Start(request.param, runtimes, tmp_path)


@pytest.fixture
def emulator(runtimes: dict[str, Path], tmp_path: Path) -> Start:
    """Our emulator alone, for what AWS's cannot do."""
    return Start("emulator", runtimes, tmp_path)


@pytest.fixture
def aws(runtimes: dict[str, Path], tmp_path: Path) -> Start:
    """AWS's emulator alone, for what ours cannot do."""
    needs_aws()
    return Start("aws", runtimes, tmp_path)


@pytest.fixture
def one_snapshot() -> None:
    """Clones whose Init is one and the same: the machine has to repeat addresses and chance."""
    try:
        same_world()
    except SnapshotUnavailableError as error:
        pytest.skip(f"clones of one snapshot cannot be made here: {error}")


@pytest.fixture
def both(runtimes: dict[str, Path], tmp_path: Path) -> tuple[Start, Start]:
    """Our emulator and AWS's, to be compared."""
    needs_aws()
    folders = [tmp_path / name for name in ("emulator", "aws")]
    return Start("emulator", runtimes, folders[0]), Start("aws", runtimes, folders[1])


@pytest.fixture(scope="session")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built layer, unpacked as AWS does it: what stands in this folder stands in `/opt`.

    All workers of a run share it, and every folder of tests. Copy it before changing it.
    """
    return made_once(tmp_path_factory, "layer", make_layer) / "opt"


def make_layer(folder: Path) -> Path:
    """Build the layer into a folder and unpack it there."""
    subprocess.run(
        [sys.executable, "layer/build_layer.py", "build", "--output", str(folder)],
        cwd=REPOSITORY,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    opt = folder / "opt"
    (archive,) = folder.glob("*.zip")
    with zipfile.ZipFile(archive) as layer:
        for entry in layer.infolist():
            path = Path(layer.extract(entry, opt))
            path.chmod(entry.external_attr >> 16 & 0o777 or 0o755)
    return opt


@pytest.fixture
def watcher(tmp_path: Path) -> Path:
    """What stands in `/opt`: an extension that says what it sees (`programs/watcher`)."""
    folder = tmp_path / "opt"
    (folder / "extensions").mkdir(parents=True)
    shutil.copy(PROGRAMS / "watcher", folder / "extensions")
    return folder


@pytest.fixture(scope="session")
def dynamodb(ministack: str) -> Service:
    """A DynamoDB-compatible server in a child process, with the table that lambdallm needs."""
    return Service(ministack, make_table(ministack, f"lambdallm-{uuid4().hex}"))


def make_table(url: str, name: str = "lambdallm") -> str:
    """Make the table that lambdallm needs; return its name."""
    import boto3

    client = boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    keys = [("pk", "HASH"), ("sk", "RANGE")]
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
    )
    return name


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    """A model that says how often it was spoken to in this conversation."""

    def answer(conversation: Any) -> str:
        said = [message for message in conversation if message["role"] == "user"]
        return f"You said {len(said)} things."

    with ModelServer(answer) as server:
        yield server


@pytest.fixture
def chat_variables(dynamodb: Service, model_server: ModelServer) -> dict[str, str]:
    """What a function with the layer is told: a table, and a model."""
    return {
        "LAMBDALLM_STORE": f"dynamodb://{dynamodb.table}",
        "LAMBDALLM_MODEL": "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model_server.url,
        "AWS_REGION": "us-east-1",
    }


@pytest.fixture
def iam_table(moto: str) -> Iterator[dict[str, str]]:
    """A table behind real IAM policies, and the keys of a user who has none; as variables."""
    import boto3
    import requests

    name = f"nobody-{uuid4().hex}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    iam = boto3.client("iam", endpoint_url=moto, region_name="us-east-1", **keys)
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    reset = f"{moto}/moto-api/reset-auth"
    requests.post(reset, data=b"0", timeout=10).raise_for_status()  # from now on, policies hold
    yield {
        "AWS_ENDPOINT_URL_DYNAMODB": moto,
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_SESSION_TOKEN": "",
    }
    requests.post(reset, data=b"Infinity", timeout=10).raise_for_status()
