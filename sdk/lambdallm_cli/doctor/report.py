"""What was found, for people, for programs, and as an exit code."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

State = Literal["ok", "warn", "fail", "outside"]
"""`outside`: somebody did not answer, so that nothing is known."""

OK, WRONG, OUTSIDE = 0, 1, 3

_MARKS = {
    "ok": ("ok", "green", "fine"),
    "warn": ("warn", "yellow", "to be looked at"),
    "fail": ("FAIL", "red", "wrong"),
    "outside": ("?", "magenta", "without an answer"),
}
"""Word, colour, and how many of them are counted. Words, so that a log can be searched."""

PIPE_WIDTH = 10_000
"""Characters a line where nobody looks at a terminal: a sentence stays on its line."""


class Statement(NamedTuple):
    """Permissions that are missing, as a statement of an IAM policy."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as IAM spells it."""
        return {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": list(self.actions),
            "Resource": list(self.resources),
        }


class Finding(NamedTuple):
    """One answer.

    Attributes:
        check: What was looked at, one word or two.
        state: How it is.
        said: What is so, as a sentence.
        advice: What to do, "" where nothing is to be done.
        commands: What to type, one line each.
        statements: Permissions that are missing, or may be.
    """

    check: str
    state: State
    said: str
    advice: str = ""
    commands: tuple[str, ...] = ()
    statements: tuple[Statement, ...] = ()


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 1 when something is wrong, else 3 when somebody did not answer; warnings are 0."""
    states = {finding.state for finding in findings}
    if "fail" in states:
        return WRONG
    return OUTSIDE if "outside" in states else OK


def policy(findings: Sequence[Finding]) -> dict[str, Any] | None:
    """Return what to attach to the role, None when nothing is missing."""
    statements = [each.to_json() for finding in findings for each in finding.statements]
    return {"Version": "2012-10-17", "Statement": statements} if statements else None


def to_json(subject: str, region: str, findings: Sequence[Finding]) -> str:
    """Write it for programs, on one line.

    Shape: {"subject": "function chat", "region": "eu-west-1", "exit_code": 1, "findings":
            [{"check": "table", "state": "fail", "said": "…", "advice": "…",
                          "commands": ["aws …"]}], "policy": null}
    """
    fields = ("check", "state", "said", "advice", "commands")
    return json.dumps(
        {
            "subject": subject,
            "region": region,
            "exit_code": exit_code(findings),
            "findings": [{name: getattr(finding, name) for name in fields} for finding in findings],
            "policy": policy(findings),
        },
        ensure_ascii=False,
    )


def show(subject: str, region: str, findings: Sequence[Finding]) -> None:
    """Write it for people, on stdout; in a pipe without colours, a sentence a line."""
    margin = max(len(finding.check) for finding in findings) + 8
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
    title = click.style("lambdallm doctor", bold=True)
    click.echo(f"{title}  {subject}, {region or 'no region'}\n")
    for finding in findings:
        word, colour, _ = _MARKS[finding.state]
        head = click.style(f"{word:<6}", fg=colour) + click.style(
            f"{finding.check:<{margin - 6}}", bold=True
        )
        said = textwrap.wrap(finding.said, max(40, width - margin))
        advised = textwrap.wrap(finding.advice, max(40, width - margin))
        click.echo(head + said[0])
        for line in said[1:]:
            click.echo(" " * margin + line)
        for line in advised:
            click.echo(" " * margin + click.style(line, fg=colour))
        if finding.commands:  # each in one piece: made to be pasted
            click.echo("\n" + "\n".join(finding.commands) + "\n")
    missing = policy(findings)
    if missing is not None:
        click.secho("\nAttach this policy to the role:", bold=True)
        click.echo(json.dumps(missing, indent=2))
    click.echo(f"\n{_summary(findings)}")


def _summary(findings: Sequence[Finding]) -> str:
    counts = {state: sum(finding.state == state for finding in findings) for state in _MARKS}
    if counts["ok"] == len(findings):
        return f"All {len(findings)} checks are fine."
    parts = [f"{counts[state]} {words}" for state, (_, _, words) in _MARKS.items() if counts[state]]
    return f"{', '.join(parts)}."
