"""Bills: priced, joined with what lines have told, written once, and estimated where none comes."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from lambda_runtime_api.telemetry import Report, RuntimeDone
from lambdallm_extension.engine import Engine
from lambdallm_extension.settings import Settings, SystemClock, SystemRandom
from lambdallm_wire import routes

REPORT = Report("r1", "success", 1_837, 512, 88, 210.5)


class Environment:
    """An engine that is told its bills, and what it has written."""

    def __init__(self, *, come: bool = True, **variables: str) -> None:
        self.written: list[str] = []
        environ = {
            "LAMBDALLM_STORE": "memory:",
            "LAMBDALLM_MODEL": "scripted/demo",
            "LAMBDALLM_SCRIPT": '["Hello"]',
            "LAMBDALLM_TELEMETRY": "on",
            "AWS_REGION": "us-east-1",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            **variables,
        }
        self.engine = Engine(
            Settings.from_environ(environ), host="sidecar", clock=SystemClock(),
            random=SystemRandom(), sleep=time.sleep, write_line=self.written.append,
        )  # fmt: skip
        self.engine.bills.come(lambda: come)

    def begin(self, request_id: str) -> None:
        """Be an invocation that has begun a unit of work, and does nothing more."""
        deadline_ms = int(time.time() * 1_000) + 20_000
        self.engine.invoked(request_id, deadline_ms)
        self.ask(
            "/v1/begin",
            {
                "wire_version": 4, "sdk_version": "0.1.0", "work_id": request_id,
                "request_id": request_id, "deadline_epoch_ms": deadline_ms, "cold_start": False,
                "session": None,
            },
        )  # fmt: skip

    def invoke(self, request_id: str, works: int = 1) -> None:
        """Be an invocation: of several records, where there are several units of work."""
        self.engine.invoked(request_id, int(time.time() * 1_000) + 20_000)
        self.work(request_id, works)

    def work(self, request_id: str, works: int = 1, **more: bool) -> None:
        """Ask a model in each unit of work."""
        deadline_ms = int(time.time() * 1_000) + 20_000
        for number in range(works):
            work = {
                "wire_version": 4, "sdk_version": "0.1.0", "work_id": f"{request_id}#{number}",
                "request_id": request_id, "deadline_epoch_ms": deadline_ms, "cold_start": False,
                "session": None, **more,
            }  # fmt: skip
            self.ask("/v1/begin", work)
            call = {
                "work_id": work["work_id"], "call_id": f"{request_id}-{number}", "model": "",
                "messages": [{"role": "user", "content": "Hi"}],
            }  # fmt: skip
            self.ask("/v1/chat", call)
            self.ask("/v1/end", {"work_id": work["work_id"], "outcome": "ok"})

    def ask(self, path: str, message: Any) -> None:
        status, reply = self.engine.handle("POST", path, json.dumps(message).encode(), connection=1)
        assert status == 200, reply

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [
            json.loads(line, parse_float=Decimal) for line in self.written if line.startswith("{")
        ]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "ComputeUSD" in line]


def test_a_row_is_valid_and_exact() -> None:
    environment = Environment()
    environment.invoke("r1")
    environment.engine.bills.take([REPORT])
    line, row = environment.lines

    (directive,) = row["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["FunctionName"]]
    assert directive["Metrics"] == [
        {"Name": name, "Unit": "None"} for name in ("ComputeUSD", "TotalUSD")
    ]
    assert {name: row[name] for name in (
        "requestId", "status", "basis", "priceRegion", "billedDurationMs", "memorySizeMB",
        "maxMemoryUsedMB", "initDurationMs", "environmentId", "host",
    )} == {
        "requestId": "r1", "status": "success", "basis": "on-demand", "priceRegion": "us-east-1",
        "billedDurationMs": 1_837, "memorySizeMB": 512, "maxMemoryUsedMB": 88,
        "initDurationMs": Decimal("210.5"), "environmentId": line["environmentId"],
        "host": "sidecar",
    }  # fmt: skip
    overhead = line["OverheadUSD"] + row["OverheadUSD"]
    assert row["TotalUSD"] == line["CostUSD"] + row["ComputeUSD"] + overhead
    assert not {"estimated", "unpricedCalls"} & set(row)


def test_a_batch_of_many_records_has_one_row() -> None:
    environment = Environment()
    environment.invoke("batch", works=10)
    environment.engine.bills.take([REPORT._replace(request_id="batch")])
    *lines, row = environment.lines

    assert len(lines) == 10
    assert row["ModelUSD"] == sum(line["CostUSD"] for line in lines)
    assert row["TotalUSD"] == row["ComputeUSD"] + row["ModelUSD"] + sum(
        line["OverheadUSD"] for line in environment.lines
    )


def test_what_a_forked_child_has_spent_is_its_invocations() -> None:
    environment = Environment()
    environment.invoke("r1")
    environment.work("r1.4711", forked=True)
    environment.engine.bills.take([REPORT])
    *lines, row = environment.lines
    environment.work("r1.4712", forked=True)
    late = environment.lines[-1]

    assert [line["requestId"] for line in (*lines, row, late)] == ["r1"] * 4
    assert row["TotalUSD"] == row["ComputeUSD"] + row["ModelUSD"] + sum(
        line["OverheadUSD"] for line in (*lines, row)
    )
    assert late["TotalUSD"] == late["CostUSD"] + late["OverheadUSD"]


def test_where_tmp_cannot_be_measured_it_is_the_one_that_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def statvfs(path: str) -> Any:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr("posix.statvfs", statvfs)
    environment = Environment()
    environment.invoke("r1")
    environment.engine.bills.take([RuntimeDone("r1", "timeout", 1_836.2)])
    environment.engine.finish(1.0)

    (row,) = environment.rows
    assert row["ComputeUSD"] == Decimal("0.000015508364")


def test_ten_thousand_bills_of_nobody_and_one_that_comes_twice() -> None:
    environment = Environment()
    environment.invoke("r1")
    strangers = [REPORT._replace(request_id=f"nobody-{number}") for number in range(10_000)]
    environment.engine.bills.take([*strangers, REPORT, REPORT])
    environment.engine.bills.take([REPORT])

    assert [row["requestId"] for row in environment.rows] == ["r1"]


def test_what_is_told_behind_the_row_has_its_own_total() -> None:
    environment = Environment()
    environment.begin("r1")
    environment.engine.bills.take([REPORT])
    environment.work("r1")
    row, late = environment.lines

    assert late["TotalUSD"] == late["CostUSD"] + late["OverheadUSD"]
    assert {"Name": "TotalUSD", "Unit": "None"} in late["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    assert row["ModelUSD"] == 0
    environment.engine.bills.take([REPORT])
    assert len(environment.rows) == 1


def test_an_event_that_is_tried_again_is_billed_again() -> None:
    environment = Environment()
    for _ in range(2):  # Lambda repeats an asynchronous event under its request id
        environment.invoke("r1")
        environment.engine.bills.take([REPORT])

    assert [row["requestId"] for row in environment.rows] == ["r1", "r1"]
    assert sum(line.get("TotalUSD", 0) for line in environment.lines) == sum(
        line.get("ComputeUSD", 0) + line.get("CostUSD", 0) + line["OverheadUSD"]
        for line in environment.lines
    )


def test_what_has_no_bill_at_the_end_is_estimated() -> None:
    environment = Environment()
    environment.begin("r1")
    environment.engine.bills.take([RuntimeDone("r1", "timeout", 3_000.2)])
    environment.engine.finish(1.0)
    (row,) = environment.rows

    assert (row["estimated"], row["billedDurationMs"], row["memorySizeMB"]) == (True, 3_001, 512)
    assert "maxMemoryUsedMB" not in row


def test_an_end_takes_the_bill_that_comes_in_time() -> None:
    environment = Environment()
    environment.begin("r1")
    environment.engine.bills.take([RuntimeDone("r1", "success", 5.0), REPORT])
    environment.engine.finish(1.0)
    (row,) = environment.rows

    assert "estimated" not in row


def test_a_price_that_nobody_knows_is_no_row() -> None:
    environment = Environment(AWS_REGION="cn-north-1")
    environment.invoke("r1")
    environment.engine.bills.take([REPORT])

    assert environment.rows == []


def test_unknown_costs_are_counted_beside() -> None:
    environment = Environment(LAMBDALLM_MODEL="openai-compatible/nobody")
    environment.begin("r1")
    environment.engine.invocations.find("r1").totals.lose("openai/x")
    environment.ask("/v1/end", {"work_id": "r1", "outcome": "ok"})
    environment.engine.bills.take([REPORT])

    assert environment.rows[0]["unpricedCalls"] == 1


@pytest.mark.parametrize(("telemetry", "rows"), [("on", 1), ("off", 0)])
def test_days_are_summed_up_without_lines_too(telemetry: str, rows: int) -> None:
    environment = Environment(LAMBDALLM_TELEMETRY=telemetry)
    environment.begin("r1")
    environment.engine.bills.take([REPORT])
    environment.work("r1")  # its end writes the day's sums
    today = datetime.now(tz=timezone.utc).date().isoformat()
    message = json.dumps({"first_day": today, "last_day": today}).encode()
    route = routes.READ_SPENDING
    status, reply = environment.engine.handle(route.method, route.path, message, connection=1)
    assert status == 200, reply
    (day,) = json.loads(reply)["days"]

    assert len(environment.rows) == rows
    (function,) = day["functions"].values()
    assert function["invocations"] == 1
    assert day["compute_pico_usd"] == function["compute_pico_usd"] > 0


def test_where_no_bill_comes_none_is_waited_for() -> None:
    environment = Environment(come=False)
    environment.invoke("r1")
    environment.engine.bills.take([REPORT])

    assert environment.rows == []


def test_a_clone_of_a_snapshot_knows_nothing_of_before() -> None:
    environment = Environment(AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
    environment.begin("r1")
    environment.engine.renew()
    environment.engine.bills.take([REPORT])

    assert environment.rows == []


def test_an_invocation_that_does_not_use_lambdallm_is_left_in_peace() -> None:
    environment = Environment()
    environment.engine.invoked("r1", int(time.time() * 1_000) + 20_000)
    environment.engine.bills.take([REPORT])
    environment.engine.invoked("r2", int(time.time() * 1_000) + 20_000)
    environment.engine.bills.take([RuntimeDone("r2", "timeout", 3_000.2)])
    environment.engine.finish(1.0)

    assert environment.lines == []
