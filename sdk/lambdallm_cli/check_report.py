"""What was found in a configuration, for people and for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from lambdallm_cli.check import shown_line

if TYPE_CHECKING:
    from pathlib import Path

    from lambdallm_cli.check import Finding, Result

MARGIN = " " * 8

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def to_json(
    path: Path | None,
    result: Result | None,
    compiled: Path | None,
    template: Path | None = None,
    deployed: Result | None = None,
) -> str:
    """Write it for programs, on one line.

    Shape: {"file": "lambdallm.yaml", "exit_code": 1, "compiled": null, "findings": [{"severity":
            "error", "path": "models.fast.temprature", "line": 20, "said": "There is no such key
            here.", "nearest": "temperature", "environment": ""}], "template": {"file":
            "template.yaml", "findings": []}}; "file" and "template" are null where none is there
    """
    both = [each for each in (result, deployed) if each is not None]
    return json.dumps(
        {
            "file": str(path) if path else None,
            "exit_code": max(each.exit_code for each in both),
            "compiled": str(compiled) if compiled else None,
            "findings": _findings(result),
            "template": template and {"file": str(template), "findings": _findings(deployed)},
        },
        ensure_ascii=False,
    )


def _findings(result: Result | None) -> list[dict[str, Any]]:
    return [] if result is None else [finding._asdict() for finding in result.findings]


def show_both(
    path: Path | None,
    result: Result | None,
    compiled: Path | None,
    template: Path | None,
    deployed: Result | None,
) -> None:
    """Write what there is of both for people, on stdout."""
    if path is not None and result is not None:
        show(path, result, compiled)
    if result is not None and deployed is not None:
        Console().print()
    if template is not None and deployed is not None:
        _show_template(template, deployed)


def show(path: Path, result: Result, compiled: Path | None) -> None:
    """Write it for people, on stdout."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text.assemble(("lambdallm check", "bold"), f"  {path}\n"))
    for finding in result.findings:
        if finding.severity != "note":
            _show_finding(console, path, result, finding)
    notes = [finding for finding in result.findings if finding.severity == "note"]
    if notes:
        names = ", ".join(finding.path for finding in notes)
        console.print(Text.assemble(("Read, not used yet: ", _STYLES["note"]), names, "\n"))
    if compiled:
        console.print(Text.assemble("Compiled: ", (str(compiled), "bold"), ", for the sidecar."))
    console.print(Text(_summary(result, "at run time each is left out, with a line in the log.")))


def _show_template(path: Path, result: Result) -> None:
    """Write what was found in a template for people."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text.assemble(("lambdallm check", "bold"), f"  {path}\n"))
    for finding in result.findings:
        _show_finding(console, path, result, finding)
    console.print(Text(_summary(result, "so deployed, users do not get what the code sends.")))


def _show_finding(console: Console, path: Path, result: Result, finding: Finding) -> None:
    style = _STYLES[finding.severity]
    where = f"{path}:{finding.line}" if finding.line else str(path)
    inside = f"  in {finding.environment}" if finding.environment else ""
    head = (f"{finding.severity:<8}", style), (where, "dim"), "  ", (finding.path, "bold"), inside
    console.print(Text.assemble(*head))
    text = shown_line(result, finding)
    if text:
        console.print(Text(f"{MARGIN}│ {text.strip()}", "dim"))
    said = Text(f"{MARGIN}{finding.said}")
    if finding.nearest:
        said.append(" Did you mean ").append(finding.nearest, "bold green").append("?")
    console.print(said.append("\n"))


def _summary(result: Result, consequence: str) -> str:
    counts = {
        severity: sum(finding.severity == severity for finding in result.findings)
        for severity in _STYLES
    }
    if counts["error"]:
        errors = "1 error" if counts["error"] == 1 else f"{counts['error']} errors"
        return f"{errors}: {consequence}"
    return "It holds." if not counts["warning"] else "It holds; look at the warnings."
