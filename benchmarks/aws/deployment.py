"""What is deployed for a run: a role, a table, two layers, functions. All of it goes away again.

Everything carries the run's name, `lambdallm-run-<8 hex digits>`, and the tag `lambdallm-run`, so
that what a broken network left behind can be found.
"""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from account import Account

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]

ROLE_SECONDS = 60
"""A new role is not known everywhere at once; Lambda refuses it until then."""

REPORT = re.compile(r"REPORT RequestId: .*")
FIGURE = re.compile(r"\t?([A-Z][A-Za-z ]+): ([\d.]+) (?:ms|MB)")

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


class FunctionPlan(NamedTuple):
    """One function of a run."""

    name: str
    handler: str
    runtime: str = "python3.13"
    memory_mb: int = 256
    timeout_seconds: int = 30
    layers: tuple[str, ...] = ("lambdallm",)
    variables: tuple[tuple[str, str], ...] = ()


class Answer(NamedTuple):
    """What one invocation gave."""

    payload: Any
    error: str
    report: dict[str, float]
    seconds: float


class Deployment:
    """Deploys on entry and removes on exit, in reverse order, whatever happens between."""

    def __init__(
        self,
        account: Account,
        name: str,
        plans: list[FunctionPlan],
        *,
        layer: bytes,
        model: str,
        say: Callable[[str], None],
    ) -> None:
        self.account = account
        self.name = name
        self.left_behind: list[str] = []
        self._plans = plans
        self._layer = layer
        self._model = model
        self._say = say
        self._undo = ExitStack()
        self._layers: dict[str, str] = {}
        self.lambda_ = account.client("lambda")

    def __enter__(self) -> Deployment:
        try:
            role = self._make_role()
            self._make_table()
            self._layers = {
                "lambdallm": self._publish("lambdallm", self._layer),
                "probe": self._publish("probe", zip_folder(HERE / "probe")),
            }
            code = zip_folder(HERE / "functions")
            for plan in self._plans:
                self._make_function(plan, role, code)
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._say("removing everything")
        self._undo.close()

    @property
    def table(self) -> str:
        """The table's name."""
        return self.name

    def invoke(self, plan: str, event: Mapping[str, Any]) -> Answer:
        """Invoke a function and wait for its answer."""
        begun = time.monotonic()
        answer = self.lambda_.invoke(
            FunctionName=self.function(plan), Payload=json.dumps(event).encode(), LogType="Tail"
        )
        seconds = time.monotonic() - begun
        body = answer["Payload"].read()
        log = base64.b64decode(answer.get("LogResult", "")).decode("utf-8", "replace")
        payload = json.loads(body) if body else None
        return Answer(payload, answer.get("FunctionError", ""), read_report(log), seconds)

    def function(self, plan: str) -> str:
        """Return a function's name in the account."""
        return f"{self.name}-{plan}"

    def renew(self, plan: str) -> None:
        """Let the next invocation start a new environment, by a change of its configuration."""
        name = self.function(plan)
        self.lambda_.update_function_configuration(FunctionName=name, Description=str(time.time()))
        self.lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)

    def _make_role(self) -> str:
        self._say("a role")
        iam = self.account.client("iam")
        role = iam.create_role(
            RoleName=self.name,
            AssumeRolePolicyDocument=json.dumps(_TRUST),
            Tags=[{"Key": "lambdallm-run", "Value": self.name}],
        )["Role"]["Arn"]
        self._later(f"role {self.name}", lambda: iam.delete_role(RoleName=self.name))
        policy = {"Version": "2012-10-17", "Statement": self._statements(role)}
        iam.put_role_policy(RoleName=self.name, PolicyName="run", PolicyDocument=json.dumps(policy))
        self._later(
            f"policy of role {self.name}",
            lambda: iam.delete_role_policy(RoleName=self.name, PolicyName="run"),
        )
        return str(role)

    def _statements(self, role: str) -> list[dict[str, Any]]:
        partition = role.split(":")[1]
        table = (
            f"arn:{partition}:dynamodb:{self.account.region}:{self.account.account_id}"
            f":table/{self.table}"
        )
        return [
            {
                "Effect": "Allow",
                "Action": [
                    f"dynamodb:{action}"
                    for action in (
                        "GetItem",
                        "Query",
                        "PutItem",
                        "UpdateItem",
                        "ConditionCheckItem",
                    )
                ],
                "Resource": table,
            },
            {"Effect": "Allow", "Action": "bedrock:InvokeModel*", "Resource": "*"},
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": "*",
            },
        ]

    def _make_table(self) -> None:
        self._say("a table")
        dynamodb = self.account.client("dynamodb")
        keys = [("pk", "HASH"), ("sk", "RANGE")]
        dynamodb.create_table(
            TableName=self.table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n, _ in keys],
            Tags=[{"Key": "lambdallm-run", "Value": self.name}],
        )
        self._later(f"table {self.table}", lambda: dynamodb.delete_table(TableName=self.table))
        dynamodb.get_waiter("table_exists").wait(TableName=self.table)

    def _publish(self, layer: str, content: bytes) -> str:
        self._say(f"the layer {layer}")
        name = f"{self.name}-{layer}"
        version = self.lambda_.publish_layer_version(
            LayerName=name, Content={"ZipFile": content}, LicenseInfo="MIT"
        )
        number = version["Version"]
        self._later(
            f"layer {name}:{number}",
            lambda: self.lambda_.delete_layer_version(LayerName=name, VersionNumber=number),
        )
        return str(version["LayerVersionArn"])

    def _make_function(self, plan: FunctionPlan, role: str, code: bytes) -> None:
        self._say(f"the function {plan.name}")
        name = self.function(plan.name)
        variables = {
            "LAMBDALLM_STORE": f"dynamodb://{self.table}",
            "LAMBDALLM_MODEL": self._model,
            "TWIN_TABLE": self.table,
            **dict(plan.variables),
        }
        self._when_the_role_is_known(
            lambda: self.lambda_.create_function(
                FunctionName=name,
                Runtime=plan.runtime,
                Role=role,
                Handler=plan.handler,
                Code={"ZipFile": code},
                Timeout=plan.timeout_seconds,
                MemorySize=plan.memory_mb,
                Layers=[self._layers[layer] for layer in plan.layers],
                Environment={"Variables": variables},
                Tags={"lambdallm-run": self.name},
            )
        )
        logs = self.account.client("logs")
        self._later(f"log group of {name}", lambda: _delete_logs(logs, f"/aws/lambda/{name}"))
        self._later(f"function {name}", lambda: self.lambda_.delete_function(FunctionName=name))
        self.lambda_.get_waiter("function_active_v2").wait(FunctionName=name)

    def _when_the_role_is_known(self, create: Callable[[], object]) -> None:
        give_up = time.monotonic() + ROLE_SECONDS
        while True:
            try:
                create()
            except self.lambda_.exceptions.InvalidParameterValueException as error:
                if "assumed" not in str(error) or time.monotonic() > give_up:
                    raise
                time.sleep(2)
            else:
                return

    def _later(self, what: str, remove: Callable[[], object]) -> None:
        """Remove it at the end; say so where that fails, and go on with the rest."""

        def attempt() -> None:
            try:
                remove()
            except Exception as error:  # noqa: BLE001 - the rest is to be removed too
                self.left_behind.append(f"{what}: {error}")

        self._undo.callback(attempt)


def read_report(log: str) -> dict[str, float]:
    """Read the figures of the REPORT line: `{"Duration": 3.1, "Init Duration": 88.0, …}`."""
    line = REPORT.search(log)
    return {name: float(value) for name, value in FIGURE.findall(line[0])} if line else {}


def zip_folder(folder: Path) -> bytes:
    """Pack a folder's files, executables as such."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(folder).as_posix())
    return packed.getvalue()


def build_layer() -> bytes:
    """Build the layer as it is published."""
    with tempfile.TemporaryDirectory() as output:
        subprocess.run(
            [sys.executable, "layer/build_layer.py", "build", "--output", output],
            cwd=REPOSITORY,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (archive,) = Path(output).glob("*.zip")
        return archive.read_bytes()


def _delete_logs(logs: Any, group: str) -> None:
    try:
        logs.delete_log_group(logGroupName=group)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
