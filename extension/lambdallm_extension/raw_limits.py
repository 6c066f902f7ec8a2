"""Whether requests may be passed on that nobody meters: not where a budget is to hold.

`lambdallm.yaml` is not read here, since what reads it may be what cannot be loaded; its text is
looked at. It errs to the side of a refusal. Budgets that stand in the store alone are not seen.
"""

from __future__ import annotations

import re

from lambdallm_extension import configuration_places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

LIMITED = re.compile(rb"budget", re.IGNORECASE)

OPEN = re.compile(rb"unmetered[\"']?\s*:\s*[\"']?allow\b")
"""What lets requests pass that are not metered, as YAML and as JSON."""

SEVERAL = b"environments"
"""With parts for several environments the text does not say which one it holds in."""


def refusal(environ: Mapping[str, str]) -> str:
    """Return why nothing may be passed on that may be billed, "" where it may."""
    path = configuration_places.find(environ)
    if not path:
        return ""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib is not loaded for this
            text = file.read().replace(b"\0", b"")  # of UTF-16, too
    except FileNotFoundError:
        return ""  # there is no configuration
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}), so that nobody knows of its budgets."
    if not LIMITED.search(text) or (OPEN.search(text) and SEVERAL not in text):
        return ""
    return (
        f"{path} has a budget, and what would hold it cannot serve: see the function's log. Where "
        "requests may go on unmetered all the same, it says cost.unmetered: allow."
    )
