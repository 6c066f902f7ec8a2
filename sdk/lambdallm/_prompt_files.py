"""Prompts in YAML files: one, or versions of one.

    name: summary                        name: summary
    template: "Sum up: {text}"           active: "2.0.0"
                                         versions:
                                           "1.0.0": {template: "Sum up: {text}"}
                                           "2.0.0":
                                             template: |
                                               Sum up in {words} words:
                                               {text}

What stands beside `versions` holds for all of them; what a version says itself wins.
"""

from __future__ import annotations

import re

from lambdallm import _errors
from lambdallm_wire import plain_json, plain_yaml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BLOCK = re.compile(r"^( *)([^#\s][^#]*:) +\|(-?) *(?:#.*)?$")
"""A line that ends in `|`: the text of several lines that follows is indented more."""


def read(path: str, version: str | None) -> dict[str, Any]:
    """Return the fields of a prompt in a file, `versions` among them: which there are.

    Raises:
        ConfigurationError: It cannot be read, holds none, or no such version; says what it holds.
    """
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs 5 ms
            fields, _ = plain_yaml.loads(without_blocks(file.read()))
    except (OSError, plain_yaml.YamlError, UnicodeDecodeError) as error:
        message = f"The prompt in {path} cannot be read: {error}"
        raise _errors.ConfigurationError(message) from error
    return pick(fields, version, path)


def pick(fields: dict[str, Any], version: str | None, path: str) -> dict[str, Any]:
    """Return the fields of one version.

    Raises:
        ConfigurationError: There is no such version, or none is active.
    """
    shared = {name: each for name, each in fields.items() if name not in ("versions", "active")}
    versions = fields.get("versions")
    if versions is None:
        own = shared.get("version", "1.0.0")
        versions, active = {own: {}}, own
    else:
        _refuse_versions(versions, path)
        active = fields.get("active") or (next(iter(versions)) if len(versions) == 1 else None)
    chosen = active if version is None else version
    if chosen not in versions:
        asked = "names none of them in `active`" if chosen is None else f"has no version {chosen!r}"
        message = f"{path} {asked}. It holds: {', '.join(map(str, versions))}."
        raise _errors.ConfigurationError(message)
    return {**shared, "version": chosen, **(versions[chosen] or {}), "versions": [*versions]}


def _refuse_versions(versions: Any, path: str) -> None:
    if not isinstance(versions, dict):
        message = (
            f"{path}: `versions` has to hold prompts by their versions, not {versions!r:.100}."
        )
        raise _errors.ConfigurationError(message)
    for name, fields in versions.items():
        if not (fields is None or isinstance(fields, dict)):
            message = f"{path}: version {name} has to hold the fields of a prompt, as `template`."
            raise _errors.ConfigurationError(message)


def without_blocks(text: str) -> str:
    """Write texts of several lines (`|`, `|-`) as quoted ones, which is all that is read.

    Source: YAML 1.1, "Literal style"; held against PyYAML in the tests.
    """
    lines, written = text.split("\n"), []
    at = 0
    while at < len(lines):
        begun = _BLOCK.match(lines[at].removesuffix("\r"))
        at += 1
        if begun is None:
            written.append(lines[at - 1])
            continue
        end = _end(lines, at, len(begun[1]))
        block = [line.removesuffix("\r") for line in lines[at:end]]
        quoted = plain_json.dumps(_chomped(block, begun[3]))
        written.append(f"{begun[1]}{begun[2]} {quoted}")
        written += [""] * (end - at)  # so that faults behind it keep their lines
        at = end
    return "\n".join(written)


def _end(lines: list[str], at: int, indent: int) -> int:
    """Return where a block ends that begins at a line: before what is indented as its name is."""
    while at < len(lines):
        line = lines[at]
        if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
            break
        at += 1
    return at


def _chomped(block: list[str], chomping: str) -> str:
    first = next((line for line in block if line.strip()), "")
    indent = len(first) - len(first.lstrip(" "))
    text = "\n".join(line[indent:] for line in block)
    body = text.rstrip("\n")
    return body if chomping or not body else f"{body}\n"
