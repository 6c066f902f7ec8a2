"""The one line that a cold start logs: what runs here, on what, and what of it is off.

    lambdallm: started sidecar=0.1.0 wire=2 python=3.13.2 function=chat:7 memory_mb=256
               region=eu-west-1 store=dynamodb://sessions model=bedrock/… [off=…] [advice=…]

On one line, `name=value` without spaces in a value, for `filter @message like "lambdallm: started"`
and a `parse` in CloudWatch Logs Insights. Problems are sentences on lines of their own.
"""

from __future__ import annotations

import sys

from lambdallm_extension import VERSION
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.settings import Settings

ADVISED_MEMORY_MB = 256
"""Below it a cold start waits for the CPU: 128 MB get 7 % of one, 256 MB 14 %.

Source: Lambda developer guide, "Configure function memory": a whole vCPU at 1,769 MB; 2026-10.
"""


def started(settings: Settings, *, store: bool) -> str:
    """Return the line; no network, no file.

    Args:
        settings: What the sidecar was told.
        store: Whether sessions and call records have a place to be.
    """
    values = {
        "sidecar": VERSION,
        "wire": str(names.WIRE_VERSION),
        "python": ".".join(map(str, sys.version_info[:3])),
        "function": f"{settings.function_name}:{settings.function_version}",
        "memory_mb": str(settings.memory_mb),
        "region": settings.region or "none",
        "store": settings.store_name or "none",
        "model": settings.model,
    }
    if settings.endpoints:  # not AWS's own: the first thing to know when something is not there
        values["endpoints"] = ",".join(sorted(name or "all" for name in settings.endpoints))
    if not store:
        values["off"] = "sessions,call_records"
    if settings.memory_mb < ADVISED_MEMORY_MB:
        values["advice"] = f"memory_mb>={ADVISED_MEMORY_MB}"
    return "started " + " ".join(f"{name}={_word(value)}" for name, value in values.items())


def _word(value: str) -> str:
    """Make one word of a value: whoever reads the line splits it at spaces."""
    return "_".join(value.split())


def versions_differ(sdk_version: str) -> str:
    """Return the sentence about an SDK of another version than the layer, "" where they agree."""
    if not sdk_version or sdk_version == VERSION:
        return ""
    return (
        f"The SDK is {sdk_version}, the layer {VERSION}. They work together while the localhost "
        "API's versions are neighbours; bring both to one version with the next deployment."
    )
