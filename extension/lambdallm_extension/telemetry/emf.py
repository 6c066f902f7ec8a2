"""One line of CloudWatch's embedded metric format (EMF) for each unit of work.

The line is the log entry, whole: anything before or after it, and CloudWatch takes it for text.
Source: "Specification: Embedded metric format", CloudWatch user guide, 2026-10. At most 100
metrics a line; USD has no unit there, so cost carries `None`.
"""

from __future__ import annotations

import sys

from lambdallm_extension.domain.overhead import Overhead
from lambdallm_extension.services.invocation_costs import InvocationCosts, Spent
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.ports import InvocationBill, InvocationReport

SEVERAL_MODELS = "several"
"""Value of the dimension `Model` when one unit of work asked more than one."""


SUCCEEDING = ("ok", "moved", "late", "forked", "unattributed", "memory")
"""Outcomes of an invocation that has not failed; one that moved is told by whoever ends it, and
what comes late, or from a forked child or a client that is nobody's, or was spent on a memory, is
told beside it.
"""


class EmfTelemetry:
    """Writes reports and sentences as lines."""

    def __init__(  # noqa: PLR0913 - what stands in every line
        self,
        write_line: Callable[[str], None],
        *,
        namespace: str,
        function_name: str,
        host: str,
        metrics: bool,
        overhead: Overhead | None = None,
        costs: InvocationCosts | None = None,
    ) -> None:
        """Take where to write.

        Args:
            write_line: Gets one line without its end, from several threads.
            namespace: CloudWatch namespace.
            function_name: Value of the dimension `FunctionName`.
            host: Where the engine runs, `sidecar` or `embedded`; a property of every metric line.
            metrics: False writes no metric lines; sentences are still written.
            overhead: Counts what lines cost, and says what else lambdallm has caused.
            costs: Told what each line says of its invocation's cost.
        """
        self._overhead = Overhead() if overhead is None else overhead
        self._costs = InvocationCosts() if costs is None else costs
        self._put = write_line
        self._namespace = namespace
        self._function_name = function_name
        self._host = host
        self._metrics = metrics

    def emit(self, report: InvocationReport) -> None:
        """Write one metric line."""
        overhead = self._overhead.take() if self._metrics else 0
        spent = Spent(report.cost_pico_usd, overhead, report.unpriced_calls, lines=1)
        total = self._costs.add(report.request_id, spent)
        if self._metrics:
            self._write_line(
                to_line(
                    report,
                    namespace=self._namespace,
                    function_name=self._function_name,
                    host=self._host,
                    overhead_pico_usd=overhead,
                    total_pico_usd=total,
                )
            )

    def emit_bill(self, bill: InvocationBill) -> None:
        """Write the row of an invocation, which comes behind all its lines."""
        if self._metrics:
            self._write_line(
                to_row(
                    bill,
                    namespace=self._namespace,
                    function_name=self._function_name,
                    host=self._host,
                    overhead_pico_usd=self._overhead.take(),
                )
            )

    def drop(self, records: int, *, epoch_ms: int) -> None:
        """Write a metric line of records that no unit of work is left to report."""
        if self._metrics:
            definitions = [{"Name": "RecordsDropped", "Unit": "Count"}]
            line = {
                "_aws": _stamp(epoch_ms, self._namespace, [["FunctionName"]], definitions),
                "FunctionName": self._function_name,
                "RecordsDropped": records,
            }
            self._write_line(plain_json.dumps(line, ensure_ascii=True))

    def log(self, message: str) -> None:
        """Write one sentence, on one line."""
        self._write_line("lambdallm: " + " ".join(message.split()))

    def _write_line(self, line: str) -> None:
        self._put(line)
        self._overhead.log(line)


def to_line(
    report: InvocationReport,
    *,
    namespace: str,
    function_name: str,
    host: str,
    overhead_pico_usd: int = 0,
    total_pico_usd: int | None = None,
) -> str:
    """Make the EMF line of a report. Money is the exact decimal, all of its digits.

    `OverheadUSD` is what lambdallm has caused since the line before it: a property, not one more
    metric to pay for. `TotalUSD` is there where the invocation's row was written before.
    """
    metrics = _metrics(report)
    dimensions = [["FunctionName"]]
    properties: dict[str, object] = {"FunctionName": function_name}
    if report.models:
        dimensions.append(["FunctionName", "Model"])
        properties["Model"] = report.models[0] if len(report.models) == 1 else SEVERAL_MODELS
    definitions = [{"Name": name, "Unit": unit} for name, (unit, _) in metrics.items()]
    definitions.append({"Name": "CostUSD", "Unit": "None"})
    properties |= {
        "_aws": _stamp(report.epoch_ms, namespace, dimensions, definitions),
        "requestId": report.request_id,
        "workId": report.work_id,
        "environmentId": report.environment_id,
        "host": host,
        "outcome": report.outcome,
    }
    if report.error_code:
        properties["errorCode"] = report.error_code
    properties |= {name: value for name, (_, value) in metrics.items()}
    amounts = {"OverheadUSD": overhead_pico_usd, "CostUSD": report.cost_pico_usd}
    if total_pico_usd is not None:
        definitions.append({"Name": "TotalUSD", "Unit": "None"})
        amounts["TotalUSD"] = total_pico_usd
    return _with_amounts(properties, amounts)


def to_row(
    bill: InvocationBill,
    *,
    namespace: str,
    function_name: str,
    host: str,
    overhead_pico_usd: int = 0,
) -> str:
    """Make the EMF line of what an invocation came to.

    `TotalUSD` is `ModelUSD` (all `CostUSD` of its lines), `ComputeUSD`, and all `OverheadUSD` of
    its lines and of this one.
    """
    definitions = [{"Name": name, "Unit": "None"} for name in ("ComputeUSD", "TotalUSD")]
    properties: dict[str, object] = {
        "FunctionName": function_name,
        "_aws": _stamp(bill.epoch_ms, namespace, [["FunctionName"]], definitions),
        "requestId": bill.request_id,
        "environmentId": bill.environment_id,
        "host": host,
        "status": bill.status,
        "basis": bill.basis,
        "priceRegion": bill.price_region,
        "billedDurationMs": bill.billed_ms,
        "memorySizeMB": bill.memory_mb,
    }
    told = (
        ("maxMemoryUsedMB", bill.memory_used_mb),
        ("initDurationMs", bill.init_ms),
        ("unpricedCalls", bill.unpriced_calls or None),
        ("estimated", bill.estimated or None),
    )
    properties |= {name: value for name, value in told if value is not None}
    total = bill.cost_pico_usd + bill.compute_pico_usd + bill.overhead_pico_usd
    amounts = {
        "ModelUSD": bill.cost_pico_usd,
        "OverheadUSD": overhead_pico_usd,
        "ComputeUSD": bill.compute_pico_usd,
        "TotalUSD": total + overhead_pico_usd,
    }
    return _with_amounts(properties, amounts)


def _with_amounts(properties: dict[str, object], pico_usd: dict[str, int]) -> str:
    """Write JSON whose last numbers have all their digits, which a float would not keep."""
    from lambdallm_wire.money import usd  # when the first line is written, not in Init

    text = plain_json.dumps(properties)
    amounts = ",".join(f'"{name}":{usd(amount)}' for name, amount in pico_usd.items())
    return f"{text[:-1]},{amounts}}}"


def _stamp(
    epoch_ms: int, namespace: str, dimensions: list[list[str]], metrics: list[dict[str, str]]
) -> dict[str, object]:
    """Make what turns a line into metrics."""
    directive = {"Namespace": namespace, "Dimensions": dimensions, "Metrics": metrics}
    return {"Timestamp": epoch_ms, "CloudWatchMetrics": [directive]}


def _metrics(report: InvocationReport) -> dict[str, tuple[str, float]]:
    usage = report.usage
    metrics: dict[str, tuple[str, float]] = {
        "Calls": ("Count", report.calls),
        "InputTokens": (
            "Count",
            usage["uncached_input_tokens"]
            + usage["cache_read_tokens"]
            + usage["cache_write_5m_tokens"]
            + usage["cache_write_1h_tokens"],
        ),
        "OutputTokens": ("Count", usage["output_tokens"]),
        "CacheReadTokens": ("Count", usage["cache_read_tokens"]),
        "CacheWriteTokens": (
            "Count",
            usage["cache_write_5m_tokens"] + usage["cache_write_1h_tokens"],
        ),
        "UnpricedCalls": ("Count", report.unpriced_calls),
        "Errors": ("Count", report.errors),
        "Throttles": ("Count", report.throttles),
        "FailedInvocations": ("Count", int(report.outcome not in SUCCEEDING)),
        "ColdStart": ("Count", int(report.cold_start)),
    }
    if report.budget_percent is not None:
        metrics["BudgetUtilization"] = ("None", report.budget_percent / 100)
    if report.blocked:
        metrics["Blocked"] = ("Count", report.blocked)
    if report.downgraded:
        metrics["Downgraded"] = ("Count", report.downgraded)
    if report.calls:
        metrics["LatencyMs"] = ("Milliseconds", report.model_latency_ms)
    timed = (
        ("HandlerMs", report.handler_ms),
        ("SessionReadMs", report.session_read_ms),
        ("SessionSaveMs", report.session_save_ms),
    )
    for name, value in timed:
        if value is not None:
            metrics[name] = ("Milliseconds", round(value, 3))
    counted = (
        ("RecordsDropped", report.records_dropped),
        ("RunsCompleted", report.runs_completed),
        ("RunsFailed", report.runs_failed),
        ("RunsStalled", report.runs_stalled),
        ("RunsRegenerated", report.runs_regenerated),
    )
    metrics |= {name: ("Count", value) for name, value in counted if value}
    return metrics


def write_stdout_line(line: str) -> None:
    """Write one line to stdout in one piece, so that lines of threads never mix."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
