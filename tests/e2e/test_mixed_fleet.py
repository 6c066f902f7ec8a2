"""Functions pin the SDK, layers pin the sidecar, items outlive both: versions beside each other.

The older half is real: the commit below, built as it was. Raise it with `WIRE_VERSION`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fakes.shared_builds import made_once
from lambdallm.testing.model_server import ModelServer
from lambdallm_wire import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.conftest import Service, Start

REPOSITORY = Path(__file__).resolve().parents[2]
OLDER_COMMIT = "5293bf8dfb8e42b9ef665d78d7d00c598f43840e"
"""The last one that speaks version `WIRE_VERSION - 1` of the localhost API."""

PACKAGES = ("sdk/lambdallm", "extension/lambdallm_extension", "runtime_api/lambdallm_wire",
            "runtime_api/lambda_runtime_api")  # fmt: skip
EXCHANGES_EACH = 5

APP = r"""
import http.client, json, os, pathlib, time
from lambdallm import MemoryStrategy, Session, handler, providers
from lambdallm_wire import names

class Mine:
    def chat(self, request):
        return "mine"

    def embed(self, request):
        return [[1.0] for _ in request["texts"]]

providers.register("mine", Mine())
TOKEN = pathlib.Path(os.environ.get("LAMBDALLM_DIRECTORY") or names.DEFAULT_DIRECTORY, "token")

# The older sidecar waits a second for its own loading. On a busy machine that takes longer, which
# is no matter of versions.
until = time.monotonic() + 8  # of Init's 10
while not (TOKEN.exists() and TOKEN.read_text()) and time.monotonic() < until:
    time.sleep(0.005)

def health():
    port, token = TOKEN.read_text().split()
    connection = http.client.HTTPConnection("127.0.0.1", int(port))
    try:
        connection.request("GET", "/v1/health", headers={"lambdallm-token": token})
    except ConnectionRefusedError:
        return {"wire_version": None}
    return json.loads(connection.getresponse().read())

@handler(session=Session(store="dynamodb", ttl_hours=1, memory=MemoryStrategy.FULL_HISTORY))
def chat(event, context):
    session = context.session
    session.add_message("user", event["body"]["message"])
    said = [turn["content"] for turn in session.get_history()]
    answer = context.invoke(session.format_history())
    session.add_message("assistant", answer)
    return {"said": said, "sdk": names.WIRE_VERSION, "sidecar": health()["wire_version"]}

@handler
def ask_anew(event, context):
    try:
        vectors, refused = context.embed(["Hello"], model="mine/x").vectors, None
    except Exception as error:
        vectors, refused = None, [type(error).__name__, str(error)]
    texts = [context.chat("Hello").text, "".join(context.stream("Hello", model="mine/x"))]
    return {"refused": refused, "vectors": vectors, "texts": texts}
"""


def build(tree: Path, folder: Path) -> None:
    """Build a layer from a tree, and unpack it as `opt` of a folder."""
    subprocess.run(
        [sys.executable, "layer/build_layer.py", "build", "--output", str(folder / "dist"),
         "--python", sys.executable],
        cwd=tree, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with zipfile.ZipFile(folder / "dist/lambdallm-layer.zip") as layer:
        for entry in layer.infolist():
            Path(layer.extract(entry, folder / "opt")).chmod(entry.external_attr >> 16 & 0o777)


def pack(tree: Path, function: Path) -> None:
    """Put a tree's packages into a function, with bytecode, as an installer does."""
    for package in PACKAGES:
        shutil.copytree(
            tree / package,
            function / Path(package).name,
            ignore=shutil.ignore_patterns("__pycache__", "emulator", "testing"),
        )
    (function / "app.py").write_text(APP)
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(function)], check=True)


class Half:
    """One version: its layer, and a function that carries its SDK."""

    def __init__(self, opt: Path, function: Path) -> None:
        self.opt = opt
        self.function = function

    def speaking(self, version: int, folder: Path) -> Path:
        """Copy the function with an SDK that says it speaks another version."""
        function = shutil.copytree(self.function, folder / f"wire-{version}")
        path = function / "lambdallm_wire/names.py"
        text = path.read_text()
        line = next(line for line in text.splitlines() if line.startswith("WIRE_VERSION = "))
        path.write_text(text.replace(line, f"WIRE_VERSION = {version}"))
        return function


@pytest.fixture(scope="session")
def newer(layer: Path, tmp_path_factory: pytest.TempPathFactory) -> Half:
    function = made_once(tmp_path_factory, "newer", partial(pack, REPOSITORY))
    return Half(layer, function)


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Half:
    def make(folder: Path) -> None:
        archive, tree = folder / "tree.tar", folder / "tree"
        done = subprocess.run(
            ["git", "archive", "--output", str(archive), OLDER_COMMIT],
            cwd=REPOSITORY, check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(
                f"the version before is built from {OLDER_COMMIT[:7]}, which this clone's history "
                f"does not reach (git fetch --unshallow): {done.stderr.strip()}"
            )
        shutil.unpack_archive(archive, tree)
        build(tree, folder)
        pack(tree, folder / "function")

    folder = made_once(tmp_path_factory, "older", make)
    return Half(folder / "opt", folder / "function")


@pytest.fixture(scope="module")
def model_server() -> Iterator[ModelServer]:
    with ModelServer(lambda _conversation: "understood") as server:
        yield server


@pytest.fixture
def variables(dynamodb: Service, model_server: ModelServer) -> dict[str, str]:
    return {
        "LAMBDALLM_STORE": f"dynamodb://{dynamodb.table}",
        "LAMBDALLM_MODEL": "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model_server.url,
        "AWS_REGION": "us-east-1",
    }


def post(session: str, message: str) -> dict[str, Any]:
    return {
        "version": "2.0",
        "requestContext": {"http": {"method": "POST", "path": "/"}, "domainName": "x"},
        "headers": {"content-type": "application/json", "x-session-id": session},
        "body": json.dumps({"message": message}),
        "isBase64Encoded": False,
    }


def say(environment: Any, session: str, message: str) -> dict[str, Any]:
    invocation = environment.invoke(post(session, message))
    assert invocation.error_type is None, invocation.payload
    answer = json.loads(invocation.payload)
    assert answer["statusCode"] == 200, [answer, *environment.logs]
    body: dict[str, Any] = json.loads(answer["body"])
    return body


def test_the_older_half_is_one_version_older(older: Half) -> None:
    text = (older.function / "lambdallm_wire/names.py").read_text()

    assert f"WIRE_VERSION = {names.WIRE_VERSION - 1}\n" in text


def test_every_pair_of_versions_continues_one_conversation(
    host: Start, older: Half, newer: Half, variables: dict[str, str], dynamodb: Service
) -> None:
    """Twice around, so that each version reads what each other one has written.

    Between the rounds every item gets an attribute that nobody knows.
    """
    session, said, embedded = f"skew-{host.name}", [], []
    versions = {older: names.WIRE_VERSION - 1, newer: names.WIRE_VERSION}
    pairs = [(sdk, layer) for sdk in versions for layer in versions]
    for turn, (sdk, layer) in enumerate([*pairs, *pairs[::-1]]):
        if turn == len(pairs):
            add_an_unknown_attribute(dynamodb, session)
        with host(
            sdk.function, "app.chat", opt=layer.opt, variables=variables, timeout_seconds=20
        ) as environment:
            said += [f"message {turn}"]
            seen = say(environment, session, said[-1])
            environment.wait_until_idle()
            embedded += [line.text for line in environment.logs if "embedded" in line.text]
        assert seen == {"said": said, "sdk": versions[sdk], "sidecar": versions[layer]}
        said += ["understood"]

    assert not embedded, "the sidecar served every one of them"
    heads = [item for item in items(dynamodb, session) if item["sk"] == "HEAD"]
    assert [head["from_a_later_version"] for head in heads] == ["kept"]
    assert {item["schema"] for item in items(dynamodb, session)} == {1}


def test_half_a_fleet_each_at_once_loses_nothing(
    emulator: Start, older: Half, newer: Half, variables: dict[str, str], dynamodb: Service
) -> None:
    """All pairs write into one session at the same time; a reader of each version sees all."""
    session, failures = "skew-at-once", []
    pairs = [(sdk, layer) for sdk in (older, newer) for layer in (older, newer)]

    def write(writer: int, sdk: Half, layer: Half) -> None:
        try:
            with emulator(
                sdk.function, "app.chat", opt=layer.opt, variables=variables, timeout_seconds=30
            ) as environment:
                for number in range(EXCHANGES_EACH):
                    say(environment, session, f"{writer}.{number}")
        except BaseException as error:
            failures.append(error)
            raise

    threads = [
        threading.Thread(target=write, args=(number, *pair)) for number, pair in enumerate(pairs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures

    expected = Counter(
        f"{writer}.{number}" for writer in range(4) for number in range(EXCHANGES_EACH)
    )
    orders = []
    for half in (older, newer):
        with emulator(
            half.function, "app.chat", opt=half.opt, variables=variables, timeout_seconds=20
        ) as environment:
            *said, last = say(environment, session, "what was said?")["said"]
        assert last == "what was said?"
        said = said[: 2 * expected.total()]
        assert Counter(said[0::2]) == expected
        assert set(said[1::2]) == {"understood"}, "every question is followed by its answer"
        orders.append(said)
    assert orders[0] == orders[1]


@pytest.mark.parametrize("which", ["older", "newer"])
def test_an_sdk_goes_on_with_its_own_engine_when_the_other_versions_sidecar_is_killed(
    emulator: Start, older: Half, newer: Half, variables: dict[str, str], which: str
) -> None:
    sdk, layer = (older, newer) if which == "older" else (newer, older)
    session = f"skew-killed-{which}"
    with emulator(
        sdk.function, "app.chat", opt=layer.opt, variables=variables, timeout_seconds=20
    ) as environment:
        assert say(environment, session, "one")["sidecar"] is not None
        environment.wait_until_idle()
        launcher = environment.pids["lambdallm"]
        children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        first = say(environment, session, "two")
        second = say(environment, session, "three")

    assert len(children) == 1
    assert first["said"] == ["one", "understood", "two"]
    assert second["said"] == ["one", "understood", "two", "understood", "three"]
    assert second["sidecar"] is None


@pytest.mark.parametrize("which", ["older", "newer"])
def test_an_older_layer_is_never_asked_for_what_it_would_drop(
    emulator: Start,
    request: pytest.FixtureRequest,
    newer: Half,
    variables: dict[str, str],
    which: str,
) -> None:
    layer: Half = request.getfixturevalue(which)
    with emulator(
        newer.function, "app.ask_anew", opt=layer.opt, variables=variables, timeout_seconds=20
    ) as environment:
        answer = json.loads(environment.invoke(post("anew", "hello")).payload)

    said = json.loads(answer["body"])
    assert said["texts"] == ["understood", "mine"]
    if which == "newer":
        assert (said["vectors"], said["refused"]) == ([[1.0]], None)
        return
    kind, sentence = said["refused"]
    assert kind == "ConfigurationError"
    assert "cannot ask a provider of your own for vectors" in sentence
    assert "Update the layer" in sentence


@pytest.mark.parametrize(
    "case", [(-2, "newer", "SDK"), (2, "newer", "layer"), (2, "older", "layer")]
)
def test_whoever_is_further_away_is_refused_by_name(
    emulator: Start,
    request: pytest.FixtureRequest,
    variables: dict[str, str],
    tmp_path: Path,
    case: tuple[int, str, str],
) -> None:
    apart, which, to_update = case
    layer: Half = request.getfixturevalue(which)
    spoken = names.WIRE_VERSION - (which == "older")
    function = layer.speaking(spoken + apart, tmp_path)
    with emulator(
        function, "app.chat", opt=layer.opt, variables=variables, timeout_seconds=20
    ) as environment:
        answer = json.loads(environment.invoke(post("refused", "hello")).payload)
        environment.wait_until_idle()
        said = [line.text for line in environment.logs if "localhost API" in line.text]

    assert answer["statusCode"] == 500
    (line,) = said
    assert f"version {spoken + apart} of the localhost API, the layer {spoken}" in line
    assert f"update the {to_update}" in line


def items(dynamodb: Service, session: str) -> list[dict[str, Any]]:
    from boto3.dynamodb.conditions import Key

    found: list[dict[str, Any]] = table(dynamodb).query(
        KeyConditionExpression=Key("pk").eq(f"SESSION#{session}"), ConsistentRead=True
    )["Items"]
    return found


def add_an_unknown_attribute(dynamodb: Service, session: str) -> None:
    for item in items(dynamodb, session):
        table(dynamodb).update_item(
            Key={"pk": item["pk"], "sk": item["sk"]},
            UpdateExpression="SET from_a_later_version = :kept",
            ExpressionAttributeValues={":kept": "kept"},
        )


def table(dynamodb: Service) -> Any:
    import boto3

    return boto3.resource(
        "dynamodb", endpoint_url=dynamodb.url, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    ).Table(dynamodb.table)  # fmt: skip
