"""The run in a real account: planned without credentials, made and removed in a simulated one."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws

REPOSITORY = Path(__file__).resolve().parents[2]
BENCHMARKS = REPOSITORY / "benchmarks" / "aws"
LOG = (
    "END RequestId: 1\nREPORT RequestId: 1\tDuration: 3.15 ms\tBilled Duration: 99 ms\t"
    "Memory Size: 128 MB\tMax Memory Used: 41 MB\tInit Duration: 95.02 ms\t\n"
)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The programs' modules, which import each other as a folder that is run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import account
    import checks
    import deployment

    return {module.__name__: module for module in (account, checks, deployment)}


@pytest.fixture
def simulated(modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An account of moto's; its functions answer without being run."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws(config={"lambda": {"use_docker": False}}):
        yield modules["account"].find_account("eu-central-1")


def deploy(modules: dict[str, ModuleType], account: Any, plans: list[Any]) -> Any:
    return modules["deployment"].Deployment(
        account, "lambdallm-run-1", plans, layer=small_zip(), model="scripted/echo",
        say=lambda _: None,
    )  # fmt: skip


def leftovers() -> dict[str, list[Any]]:
    session = boto3.Session(region_name="eu-central-1")
    return {
        "functions": session.client("lambda").list_functions()["Functions"],
        "layers": session.client("lambda").list_layers()["Layers"],
        "tables": session.client("dynamodb").list_tables()["TableNames"],
        "roles": session.client("iam").list_roles()["Roles"],
    }


@pytest.mark.parametrize("command", ["smoke", "bench"])
def test_without_credentials_it_says_what_it_would_do(command: str) -> None:
    environ = {"PATH": "/usr/bin:/bin", "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nowhere"}
    done = subprocess.run(
        [sys.executable, BENCHMARKS, command, "--region", "eu-central-1"],
        env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "No AWS credentials were found, so nothing is deployed." in done.stdout
    assert "128 MB" in done.stdout
    assert "Then everything is removed." in done.stdout


def test_everything_that_was_deployed_is_removed(
    modules: dict[str, ModuleType], simulated: Any
) -> None:
    plans = modules["checks"].PLANS[:3]
    deployment = deploy(modules, simulated, plans)
    with deployment as run:
        made = leftovers()
        assert {name["FunctionName"] for name in made["functions"]} == {
            run.function(plan.name) for plan in plans
        }
        assert [len(made[kind]) for kind in ("layers", "tables", "roles")] == [2, 1, 1]
        (statements,) = [
            policy["PolicyDocument"]["Statement"]
            for policy in [boto3.client("iam").get_role_policy(RoleName=run.name, PolicyName="run")]
        ]
        assert statements[0]["Resource"].endswith(f":table/{run.table}")

    assert leftovers() == {"functions": [], "layers": [], "tables": [], "roles": []}
    assert deployment.left_behind == []


def test_a_deployment_that_fails_half_way_is_removed_too(
    modules: dict[str, ModuleType], simulated: Any
) -> None:
    bad = modules["deployment"].FunctionPlan("bad", "app.ask", memory_mb=1)
    with (
        pytest.raises(Exception, match=r"[Mm]emory"),
        deploy(modules, simulated, [modules["checks"].PLANS[0], bad]),
    ):
        pytest.fail("It was deployed.")

    assert leftovers() == {"functions": [], "layers": [], "tables": [], "roles": []}


def test_what_cannot_be_removed_is_named(modules: dict[str, ModuleType], simulated: Any) -> None:
    deployment = deploy(modules, simulated, [])
    with deployment as run:
        boto3.client("dynamodb", "eu-central-1").delete_table(TableName=run.table)

    (left,) = deployment.left_behind
    assert left.startswith(f"table {deployment.table}: ")
    assert leftovers()["roles"] == []


def test_the_reports_figures_are_read(modules: dict[str, ModuleType]) -> None:
    assert modules["deployment"].read_report(LOG) == {
        "Duration": 3.15, "Billed Duration": 99.0, "Memory Size": 128.0,
        "Max Memory Used": 41.0, "Init Duration": 95.02,
    }  # fmt: skip
    assert modules["deployment"].read_report("no report") == {}


def test_a_check_that_fails_or_breaks_fails_the_run_and_the_rest_goes_on(
    modules: dict[str, ModuleType], simulated: Any, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import runpy

    checks = modules["checks"]

    def broken(_: Any) -> Any:
        raise KeyError("turns")

    monkeypatch.setattr(checks, "PLANS", checks.PLANS[:1])
    monkeypatch.setattr(
        checks,
        "CHECKS",
        [
            checks.Check("fact", "breaks", broken),
            checks.Check("fact", "fails", lambda _: checks.Outcome(False, "so")),
            checks.Check("fact", "passes", lambda _: checks.Outcome(True, "so")),
        ],
    )
    monkeypatch.setattr(modules["deployment"], "build_layer", small_zip)
    main = runpy.run_path(str(BENCHMARKS / "__main__.py"), run_name="not main")["main"]

    assert main(["smoke", "--region", "eu-central-1", "--json"]) == 1
    results = json.loads(capsys.readouterr().out)
    assert [(result["question"], result["passed"]) for result in results] == [
        ("breaks", False), ("fails", False), ("passes", True),
    ]  # fmt: skip
    assert leftovers()["functions"] == []


def small_zip() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("python/nothing.py", "")
    return packed.getvalue()
