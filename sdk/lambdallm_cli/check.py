"""What is wrong in a `lambdallm.yaml`, line by line; and the file that the sidecar reads fastest.

YAML ──PyYAML──► document, lines ──schema, rules, each environment──► findings ──► lambdallm.json
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import yaml

from lambdallm_cli.check_document import Document
from lambdallm_wire import configuration as schema, plain_json, plain_yaml
from lambdallm_wire.configuration_faults import Faults, dotted, line_of, nearest
from lambdallm_wire.configuration_rules import (
    check as check_document,
    environments,
    fault_of_environment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lambdallm_wire.configuration_faults import Lines

    Where = tuple[str | int, ...]

Severity = Literal["error", "warning", "note"]

HIDDEN = ("api_key", "headers")
"""Keys whose lines are not shown: a terminal's text goes into build logs."""


class Finding(NamedTuple):
    """One answer.

    Attributes:
        severity: `error`: it is left out at run time; `warning`: it may not be meant; `note`.
        path: Such as `models.fast.fallbacks[1]`, "" for the whole file.
        line: Counted from 1, 0 for the whole file.
        said: What is so.
        nearest: What may have been meant, or "".
        environment: In which of `environments` alone it is so, or "".
    """

    severity: Severity
    path: str
    line: int
    said: str
    nearest: str = ""
    environment: str = ""


class Result(NamedTuple):
    """All that was found, in the order of the lines.

    Attributes:
        environments: What is to be compiled, by environment; None where there are errors.
        source: The file's bytes.
    """

    findings: list[Finding]
    environments: dict[str, dict[str, Any]] | None
    source: bytes

    @property
    def exit_code(self) -> int:
        """1 where something is left out at run time, else 0."""
        return int(any(finding.severity == "error" for finding in self.findings))


def examine(path: Path, *, compiling: bool = False, environment: str = "") -> Result:
    """Read a file and find everything that is wrong with it.

    Args:
        path: Of the YAML.
        compiling: It is about to be compiled, so that the sidecar will not have to read it.
        environment: What `LAMBDALLM_ENV` says here.

    Raises:
        OSError: It cannot be read.
    """
    source = path.read_bytes()
    try:
        text = source.decode()
        document, lines, twice = Document(text).read()
        findings = [Finding("error", *each) for each in twice]
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        return Result([Finding("error", "", line, "This is not UTF-8.")], None, source)
    except yaml.MarkedYAMLError as error:
        return Result([unreadable(error)], None, source)
    except (yaml.YAMLError, ValueError) as error:
        said = f"This is no YAML: {' '.join(str(error).split())}."
        return Result([Finding("error", "", 0, said)], None, source)
    findings += _faults(document, lines)
    findings += _chosen(document, lines, environment)
    findings += _reserved(lines)
    if not compiling:
        findings += _for_the_sidecar(path, text, source)
    findings.sort(key=lambda finding: finding.line)
    result = Result(findings, None, source)
    if result.exit_code:
        return result
    names = ("", *environments(document))
    return result._replace(
        environments={name: check_document(document, lines, name)[0] for name in names}
    )


def compile_file(path: Path, result: Result) -> Path:
    """Write what the sidecar reads, in one step, and return where.

    Raises:
        OSError: It cannot be written; what was there is as it was.
        ValueError: There are errors.
    """
    if result.environments is None:
        message = "A file with errors is not compiled."
        raise ValueError(message)
    digest = hashlib.sha256(plain_json.dumps(result.environments).encode())
    compiled = {
        "lambdallm": schema.COMPILED_FORMAT,
        "source": hashlib.sha256(result.source).hexdigest(),
        "digest": digest.hexdigest(),
        "environments": result.environments,
    }
    target = path.with_suffix(".json")
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".lambdallm-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{plain_json.dumps(compiled)}\n")
        Path(draft).chmod(0o644)  # the function runs as another user
        Path(draft).replace(target)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise
    return target


def unreadable(error: yaml.MarkedYAMLError) -> Finding:
    """Say where something is no YAML."""
    mark = error.problem_mark or error.context_mark
    said = " ".join(filter(None, (error.context, error.problem)))
    return Finding("error", "", mark.line + 1 if mark else 0, f"This is no YAML: {said}.")


def _faults(document: Any, lines: Lines) -> list[Finding]:
    """Check the document as it is, and as it is in each of its environments."""
    findings: dict[tuple[Where, str], Finding] = {}
    for environment in ("", *environments(document)):
        held, faults = check_document(document, lines, environment)
        spending = Faults()
        _look_at_spending(held.get("cost", {}), spending)
        spending.locate(lines, environment)
        for fault in (*faults, *spending):
            finding = Finding(
                fault.severity, fault.where, fault.line, fault.said, fault.nearest, environment
            )
            findings.setdefault((fault.path, fault.said), finding)
    return list(findings.values())


def _look_at_spending(cost: Mapping[str, Any], faults: Faults) -> None:
    """Find what would refuse all calls at run time, or never do what it says."""
    budgets = cost.get("budgets", {})
    places: list[tuple[Where, Mapping[str, Any]]] = [(("cost",), cost)]
    places += [(("cost", "budgets", name), budgets[name]) for name in budgets]
    for path, where in places:
        zone = where.get("time_zone")
        if zone is not None and not _is_zone(zone):
            said = f"There is no time zone {zone!r}, so that nothing would be spent."
            faults.error((*path, "time_zone"), said, nearest(zone, available_timezones()))
        for key in _REACTIONS:
            if where.get(key) == "downgrade" and "downgrade_to" not in cost:
                said = "`cost.downgrade_to` is missing: no cheaper model is asked before the limit."
                faults.warn((*path, key), said)


_REACTIONS = ("on_budget_exceeded", "on_exceeded")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        return False
    return True


def _chosen(document: Any, lines: Lines, environment: str) -> Iterator[Finding]:
    fault = fault_of_environment(environment, environments(document))
    if fault is not None:
        line = line_of(fault.path, lines)
        yield Finding(fault.severity, fault.where, line, fault.said, fault.nearest)


def _reserved(lines: Lines) -> Iterator[Finding]:
    """Name the keys that nothing looks at yet."""
    later = {setting.path: setting for setting in schema.SETTINGS if setting.effect != schema.USED}
    for path, line in lines.items():
        bare = path[2:]
        within = path[:1] == (schema.ENVIRONMENTS,)
        candidates = (bare, (schema.SHORTHAND, *bare)) if within else (path,)
        for candidate in candidates:
            if candidate in later:
                said = f"It is {later[candidate].effect}."  # type: ignore[index]
                yield Finding("note", dotted(path), line, said)


def _for_the_sidecar(path: Path, text: str, source: bytes) -> Iterator[Finding]:
    """Find what a function would meet that is deployed with the files as they are."""
    compiled = path.with_suffix(".json")
    if compiled.exists() and _hash_in(compiled) == hashlib.sha256(source).hexdigest():
        return
    if compiled.exists():
        said = f"{compiled.name} beside it was made of another text; --compile makes it anew."
        yield Finding("warning", "", 0, said)
    try:
        plain_yaml.loads(text)
    except plain_yaml.YamlError as error:
        said = f"The sidecar reads this only compiled (--compile): {error.reason}"
        yield Finding("warning", "", error.line, said)


def _hash_in(compiled: Path) -> str:
    try:
        return str(plain_json.loads(compiled.read_bytes())["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # not made by us: not that of this text


def shown_line(result: Result, finding: Finding) -> str:
    """Return the text of a finding's line, "" where it may hold a key."""
    lines = result.source.decode(errors="replace").splitlines()
    if not 0 < finding.line <= len(lines) or any(name in finding.path for name in HIDDEN):
        return ""
    text = lines[finding.line - 1]
    return "" if any(name in text for name in HIDDEN) else text
