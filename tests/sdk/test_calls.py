"""`lambdallm calls` over records that the real engine has written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

import lambdallm
from fakes.aws_account import AwsAccount
from fakes.moto_server import make_table
from fakes.redis_servers import serve_redis
from lambdallm import _transport, handler
from lambdallm.testing import MockLambdaContext
from lambdallm_cli import calls_read, calls_report
from lambdallm_cli.commands import lambdallm as command

SCRIPT = {
    "answers": [{"text": "Fine.", "output_tokens": 7}],
    "models": {"down": [{"error": "AccessDeniedException", "status": 403}]},
}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def listed(*arguments: str) -> list[dict[str, Any]]:
    result = run("calls", "list", "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["calls"]
    return found


@handler(max_retries=0)
def ask(_event: Any, context: Any) -> str:
    context.chat("One", model="scripted/one")
    with pytest.raises(lambdallm.ModelInvocationError):
        context.chat("Two", model="scripted/down")
    "".join(context.stream("Three", model="scripted/three"))
    return "ok"


def write_records() -> None:
    ask({"name": "direct"}, MockLambdaContext())
    written = _transport.replace(None)
    assert written is not None
    written.close()


@pytest.fixture
def table(dynamodb: Any) -> str:
    """A table, as the store's URL."""
    return f"dynamodb://{make_table(dynamodb, 'pk', 'sk')}"


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with serve_redis(tmp_path / "redis") as server:
        yield f"{server.url}?prefix=of:calls"


@pytest.fixture(params=["sqlite", "dynamodb", "redis"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A store with three calls in it, as its URL."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/calls.db"
    elif request.param == "redis":
        url = str(request.getfixturevalue("redis_url"))
    else:
        url = str(request.getfixturevalue("table"))
    monkeypatch.setenv("LAMBDALLM_STORE", url)
    monkeypatch.setenv("LAMBDALLM_SCRIPT", json.dumps(SCRIPT))
    write_records()
    monkeypatch.delenv("LAMBDALLM_STORE")
    return url


def test_the_newest_call_comes_first_with_all_that_is_known(store: str) -> None:
    found = listed("--store", store)

    assert {call["model"]: call["state"] for call in found} == {
        "scripted/one": "settled",
        "scripted/down": "failed",
        "scripted/three": "settled",
    }
    times = [call["at"] for call in found]
    assert times == sorted(times, reverse=True)
    (one,) = [call for call in found if call["model"] == "scripted/one"]
    assert (one["output_tokens"], one["attempts"]) == (7, 1)
    (down,) = [call for call in found if call["state"] == "failed"]
    assert down["error"] == "AccessDeniedException"


def test_it_is_narrowed_down(store: str) -> None:
    assert len(listed("--store", store, "--limit", "2")) == 2
    assert len(listed("--store", store, "--since", "1h")) == 3
    assert [call["model"] for call in listed("--store", store, "--state", "failed")] == [
        "scripted/down"
    ]
    assert [call["model"] for call in listed("--store", store, "--model", "three")] == [
        "scripted/three"
    ]
    assert listed("--store", store, "--state", "unknown") == []


def test_people_get_a_table_and_what_it_comes_to(store: str) -> None:
    lines = run("calls", "list", "--store", store).stdout.splitlines()

    assert lines[0].split() == [
        "time", "(UTC)", "state", "model", "in", "out", "cached", "cost", "latency", "tries",
        "error",
    ]  # fmt: skip
    (down,) = [line for line in lines if "scripted/down" in line]
    assert down.split()[2:] == ["failed", "scripted/down", "1", "AccessDeniedException"]
    assert lines[-1].startswith("3 calls: 1 failed, 2 settled. $0.000000")
    assert "the newest of 3" in run("calls", "list", "--store", store, "--limit", "1").stdout


def test_one_call_is_shown_whole_or_there_is_none(store: str) -> None:
    (down,) = listed("--store", store, "--state", "failed")

    shown = run("calls", "show", down["id"], "--store", store)
    assert shown.exit_code == 0
    assert "AccessDeniedException" in shown.stdout
    as_json = run("calls", "show", down["id"], "--store", store, "--json")
    assert json.loads(as_json.stdout) == down

    missing = run("calls", "show", "nobody", "--store", store)
    assert (missing.exit_code, "no record" in missing.stderr) == (1, True)


def test_a_table_of_many_pages_is_read_whole_and_said_so(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = boto3.client("dynamodb")
    for number in range(40):
        client.put_item(
            TableName=table.removeprefix("dynamodb://"),
            Item={
                "pk": {"S": f"CALL#{number}"},
                "sk": {"S": "CALL"},
                "at": {"N": str(number)},
                "state": {"S": "settled"},
                "filling": {"S": "x" * 50_000},
            },
        )
    client.close()

    result = run("calls", "list", "--store", table, "--json")

    assert json.loads(result.stdout)["found"] == 40
    assert "records read" in result.stderr


def test_the_store_of_a_deployed_function_is_read(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDALLM_STORE", table)
    monkeypatch.setenv("LAMBDALLM_SCRIPT", json.dumps(SCRIPT))
    write_records()
    monkeypatch.setenv("LAMBDALLM_STORE", "memory:")
    account = AwsAccount()
    account.functions["chat"] = {
        "FunctionName": "chat",
        "Environment": {"Variables": {"LAMBDALLM_STORE": table}},
    }
    account.functions["none"] = {"FunctionName": "none"}
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", account.url)
    try:
        assert len(listed("--function", "chat", "--region", "us-east-1")) == 3
        assert run("calls", "list", "--function", "none").exit_code == 2
        assert run("calls", "list", "--function", "nobody").exit_code == 3
    finally:
        account.close()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--store", "sqlite:///nothing.db"), 2, "There is no file"),
        (("--store", "memory:"), 2, "holds no call records"),
        (("--store", "dynamodb://"), 2, "names no table"),
        (("--since", "soon"), 2, "90m"),
        (("--state", "fine"), 2, "settled"),
        (("--limit", "0"), 2, "range"),
        (("--store", "memory:", "--function", "chat"), 2, "not both"),
    ],
)
def test_what_cannot_be_is_said(arguments: tuple[str, ...], code: int, said: str) -> None:
    result = run("calls", "list", *arguments)

    assert result.exit_code == code
    assert said in result.stderr


def test_a_file_that_is_no_store_and_a_table_that_is_not_there(table: str) -> None:
    Path("broken.db").write_bytes(b"not a database" * 100)

    assert run("calls", "list", "--store", "sqlite:///broken.db").exit_code == 3
    assert run("calls", "list", "--store", "dynamodb://another-table").exit_code == 3


def test_a_file_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDALLM_STORE", f"sqlite:///{tmp_path}/calls.db")
    monkeypatch.setenv("LAMBDALLM_SCRIPT", json.dumps(SCRIPT))
    write_records()
    before = (tmp_path / "calls.db").read_bytes()

    assert len(listed()) == 3, "LAMBDALLM_STORE is the default"
    assert (tmp_path / "calls.db").read_bytes() == before


@pytest.mark.parametrize(
    ("pico_usd", "written"),
    [
        (0, "$0.000000"),
        (1, "$0.000000000001"),
        (14_750_000, "$0.00001475"),
        (1_230_000_000, "$0.001230"),
        (2_500_000_000_000, "$2.500000"),
    ],
)
def test_money_is_written_exactly(pico_usd: int, written: str) -> None:
    assert calls_report.dollars(pico_usd) == written


def test_a_filter_without_wishes_takes_all() -> None:
    assert calls_read.Filter().takes({})
