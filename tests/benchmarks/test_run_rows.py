"""What the rows about runs count, counted here: one request a step, and one that reads to go on."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lambdallm import Chain, Step, _transport

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

TABLE = "runs-counted"


@pytest.fixture
def capacity(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import capacity

    return capacity


@pytest.fixture
def meter(
    capacity: ModuleType, moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Any]:
    """A table of our own behind a proxy that counts, which an engine in this process asks."""
    import conversation_rows

    conversation_rows.make_tables(moto, {TABLE: ("pk", "sk")})
    counting = capacity.Meter(moto)
    server = capacity.serve(counting)
    for name, value in {
        "AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{server.server_port}",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "LAMBDALLM_STORE": f"dynamodb://{TABLE}",
        "LAMBDALLM_SIDECAR": "off",
        "LAMBDALLM_MODEL": "scripted/m",
        "LAMBDALLM_SCRIPT": '["An answer."]',
        "LAMBDALLM_DIRECTORY": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    before = _transport.replace(None)
    yield counting
    used = _transport.replace(before)
    if used is not None:
        used.close()
    server.shutdown()
    server.server_close()
    delete_table(moto)


def delete_table(url: str) -> None:
    import boto3

    client = boto3.client("dynamodb", endpoint_url=url, region_name="us-east-1")
    client.delete_table(TableName=TABLE)
    client.close()


def test_a_step_is_one_request_and_its_calls_records_travel_with_it(meter: Any) -> None:
    Chain("warm", [Step("a", "A")]).run()
    meter.reset()
    result = Chain("c", [Step("a", "A"), Step("b", "B"), Step("d", "D")]).run()

    assert result.status == "completed"
    assert dict(meter.asked) == {"TransactWriteItems": 5}  # it begins, three questions, its end


def test_going_on_with_fifty_steps_reads_once(meter: Any) -> None:
    fails = [True]

    def proceed(values: dict[str, Any]) -> bool:
        if fails:
            raise ValueError("It does not work.")
        return True

    steps = [Step(f"s{number}", "Ask {input}") for number in range(49)]
    chain = Chain("c", [*steps, Step("last", "Last", condition=proceed)])
    assert chain.run(run_id="r", input="x").status == "failed"
    fails.clear()
    meter.reset()
    result = chain.run(run_id="r")

    assert (result.status, result.completed_steps) == ("completed", 50)
    assert {name: meter.asked[name] for name in ("GetItem", "Query", "BatchGetItem", "Scan")} == {
        "GetItem": 0, "Query": 1, "BatchGetItem": 0, "Scan": 0,
    }  # fmt: skip


def test_a_refused_condition_costs_the_write_and_writes_nothing(capacity: ModuleType) -> None:
    counting = capacity.Meter("http://127.0.0.1:9")
    request = {"TableName": "t", "Item": {"pk": {"S": "x" * 2_000}}}
    for kind in ("ConditionalCheckFailedException", "ValidationException"):
        counting.refuse("PutItem", request, {"__type": f"com.amazonaws.dynamodb#{kind}"})

    assert (counting.write_units, counting.bytes_written, counting.requests) == (2, 0, 2)


def test_the_rows_have_the_names_that_they_are_asked_for_by(capacity: ModuleType) -> None:
    assert capacity.__name__ in sys.modules
    import run
    import run_rows

    assert set(run_rows.names()) <= set(run.NAMES)
