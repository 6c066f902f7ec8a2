"""The metric line: valid EMF, exact money, no content."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension.domain.overhead import Overhead
from lambdallm_extension.ports import InvocationReport
from lambdallm_extension.telemetry import emf

REPORT = InvocationReport(
    work_id="r1", request_id="r1", environment_id="e1", outcome="ok", error_code="",
    cold_start=True, models=("bedrock/m",), calls=1, errors=0, throttles=0,
    usage={
        "uncached_input_tokens": 14, "cache_read_tokens": 3, "cache_write_5m_tokens": 2,
        "cache_write_1h_tokens": 1, "output_tokens": 9,
    },
    cost_pico_usd=14_750_000, unpriced_calls=0, model_latency_ms=812, handler_ms=820.5,
    session_read_ms=1.25, session_save_ms=None, records_dropped=0, epoch_ms=1_790_000_000_000,
)  # fmt: skip


def line(report: InvocationReport) -> str:
    return emf.to_line(report, namespace="LambdaLLM", function_name="chat", host="sidecar")


def test_the_line_is_one_json_object_whose_metrics_have_values() -> None:
    text = line(REPORT)
    entry = json.loads(text)
    directive = entry["_aws"]["CloudWatchMetrics"][0]

    assert "\n" not in text
    assert entry["_aws"]["Timestamp"] == REPORT.epoch_ms
    assert directive["Namespace"] == "LambdaLLM"
    assert directive["Dimensions"] == [["FunctionName"], ["FunctionName", "Model"]]
    assert all(isinstance(entry[name], str) for name in ("FunctionName", "Model"))
    assert all(isinstance(entry[metric["Name"]], (int, float)) for metric in directive["Metrics"])
    assert (entry["InputTokens"], entry["OutputTokens"], entry["ColdStart"]) == (20, 9, 1)
    assert entry["SessionReadMs"] == 1.25
    assert "SessionSaveMs" not in entry


@given(st.integers(0, 10**24))
def test_the_cost_is_exact_to_the_last_digit(pico_usd: int) -> None:
    entry = json.loads(line(REPORT._replace(cost_pico_usd=pico_usd)), parse_float=Decimal)

    assert Decimal(entry["CostUSD"]) == Decimal(pico_usd).scaleb(-12)


def test_no_model_dimension_without_a_call_and_one_value_for_several() -> None:
    none = json.loads(line(REPORT._replace(models=(), calls=0)))
    several = json.loads(line(REPORT._replace(models=("bedrock/a", "bedrock/b"))))

    assert none["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["FunctionName"]]
    assert several["Model"] == emf.SEVERAL_MODELS


@pytest.mark.parametrize(("metrics", "lines"), [(True, 1), (False, 0)])
def test_metrics_can_be_turned_off(metrics: bool, lines: int) -> None:
    written: list[str] = []
    telemetry = emf.EmfTelemetry(
        written.append,
        namespace="LambdaLLM",
        function_name="chat",
        host="sidecar",
        metrics=metrics,
    )

    telemetry.emit(REPORT)
    assert len(written) == lines

    telemetry.log("first\nsecond")
    assert written[-1] == "lambdallm: first second"


@pytest.mark.parametrize(
    ("outcome", "failed"), [("ok", 0), ("moved", 0), ("error", 1), ("killed", 1)]
)
def test_a_unit_that_moved_to_another_engine_has_not_failed(outcome: str, failed: int) -> None:
    line = json.loads(
        emf.to_line(
            REPORT._replace(outcome=outcome), namespace="n", function_name="f", host="embedded"
        )
    )

    assert line["FailedInvocations"] == failed
    assert line["outcome"] == outcome
    assert line["host"] == "embedded"


def test_money_of_budgets_is_in_the_line_where_there_is_any() -> None:
    plain = json.loads(line(REPORT))
    full = json.loads(line(REPORT._replace(blocked=2, downgraded=1, budget_percent=82)))
    named = {each["Name"] for each in full["_aws"]["CloudWatchMetrics"][0]["Metrics"]}

    assert not {"BudgetUtilization", "Blocked", "Downgraded"} & {*plain}
    assert (full["BudgetUtilization"], full["Blocked"], full["Downgraded"]) == (0.82, 2, 1)
    assert {"BudgetUtilization", "Blocked", "Downgraded"} <= named


def test_a_line_says_what_was_caused_since_the_line_before_it() -> None:
    overhead, written = Overhead(), []
    telemetry = emf.EmfTelemetry(
        written.append, namespace="N", function_name="f", host="sidecar", metrics=True,
        overhead=overhead,
    )  # fmt: skip
    overhead.write(2_000)
    for _ in range(2):
        telemetry.emit(REPORT)
    told = [json.loads(each, parse_float=Decimal)["OverheadUSD"] for each in written]

    assert told == [Decimal("0.00000125"), Decimal(500 * (len(written[0]) + 26)).scaleb(-12)]
    assert "OverheadUSD" not in {
        each["Name"] for each in json.loads(written[0])["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }, "a metric would cost more by the month"


def test_runs_are_counted_where_there_are_any() -> None:
    none = json.loads(line(REPORT))
    some = json.loads(
        line(REPORT._replace(runs_completed=2, runs_failed=1, runs_stalled=1, runs_regenerated=3))
    )

    names = ("RunsCompleted", "RunsFailed", "RunsStalled", "RunsRegenerated")
    assert [name for name in names if name in none] == []
    assert [some[name] for name in names] == [2, 1, 1, 3]
    defined = {each["Name"] for each in some["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert defined > {*names}
