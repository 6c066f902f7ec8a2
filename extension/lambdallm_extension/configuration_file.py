"""Where `lambdallm.yaml` is, and what it says: read once, when the settings are.

    lambdallm.json   made by `lambdallm check --compile`, if it is that of the YAML beside it: it
                     was checked then, and proves by a digest that nobody has changed it since
    lambdallm.yaml   read by `lambdallm_wire.plain_yaml`, which is strict, and checked here

Whatever is wrong becomes a sentence that names file and line, and the default of that key alone.
What was to limit spending has no such default: where it cannot be read, nothing is spent.
"""

from __future__ import annotations

import os

from lambdallm_extension.configuration import from_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.configuration import Configuration

COMPILED_FORMAT = 1

BYTES_MAX = 1_000_000
"""Of either file: more is a mistake, and would be loaded at every cold start."""

BUDGET = b"budget"
"""Stands in a file that limits what may be spent."""

SAID_MAX = 20
"""Faults that are logged; `lambdallm check` names them all."""


def read(path: str, environment: str) -> Configuration:
    """Return what a file says.

    Args:
        path: Of a YAML file, which may have a compiled one beside it, or of a compiled one.
        environment: Whose part of it lies over the rest, "" for none.
    """
    if path.endswith(".json"):
        source, compiled = "", path
    else:
        source, compiled = path, f"{path.removesuffix('.yaml').removesuffix('.yml')}.json"
    try:
        return _read(source, compiled, environment)
    except OSError as error:
        said = f"{path} cannot be read ({error.strerror}). Nothing of it holds."
        return from_document(_closed(said), (said,))


def _read(source: str, compiled: str, environment: str) -> Configuration:
    said: list[str] = []
    text = _content(source) if source else None
    held = _load_compiled(compiled, text, environment, said)
    if held is None and text is not None:
        held = _load_yaml(source, text, environment, said)
    if held is None:
        content = _content(compiled) if text is None else text
        if content is None:
            said.append(f"{source or compiled} is not there. There is no configuration.")
        elif BUDGET in content.replace(b"\0", b"").lower():  # in UTF-16 too
            held = _closed(said[-1])
    return from_document(held or {}, tuple(said))


def _closed(why: str) -> dict[str, Any]:
    """Return what holds where limits stand, or may stand, that nobody can read: none is passed."""
    return {"cost": {"broken_budget": why}}


def _load_yaml(
    path: str, source: bytes, environment: str, said: list[str]
) -> dict[str, Any] | None:
    from lambdallm_wire import plain_yaml
    from lambdallm_wire.configuration_faults import line_of
    from lambdallm_wire.configuration_rules import check, environments, fault_of_environment

    try:
        document, lines = plain_yaml.loads(source.decode())
    except (plain_yaml.YamlError, UnicodeDecodeError) as error:
        where = f"{path}:{error.line}" if isinstance(error, plain_yaml.YamlError) else path
        why = error.reason if isinstance(error, plain_yaml.YamlError) else "It is not UTF-8."
        advice = "Nothing of it holds; `lambdallm check --compile` reads all of YAML."
        said.append(f"{where}: {why} {advice}")
        return None
    held, faults = check(document, lines, environment)
    wrong = [fault for fault in faults if fault.severity == "error"]
    for fault in wrong[:SAID_MAX]:
        where = f"{path}:{fault.line}" if fault.line else path
        said.append(f"{where}: {fault.sentence()} It is left out.")
    if len(wrong) > SAID_MAX:
        said.append(f"{path}: {len(wrong) - SAID_MAX} more; `lambdallm check` names them.")
    unknown = fault_of_environment(environment, environments(document))
    if unknown is not None:
        line = line_of(unknown.path, lines)
        where = f"{path}:{line}" if line else path
        said.append(f"{where}: {unknown.sentence()}")
    return held


def _content(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        size = os.fstat(descriptor).st_size
        if size > BYTES_MAX:
            reason = f"it has {size} bytes"
            raise OSError(0, reason, path)
        content = b""
        while len(content) <= BYTES_MAX and (piece := os.read(descriptor, BYTES_MAX)):
            content += piece
    finally:
        os.close(descriptor)
    return content


def _load_compiled(
    path: str, source: bytes | None, environment: str, said: list[str]
) -> dict[str, Any] | None:
    """Return what the JSON holds, None where it is not that of the YAML, or not as it was made."""
    content = _content(path)
    if content is None:
        return None
    from hashlib import sha256

    from lambdallm_wire import plain_json

    instead = "It is not used." if source is None else "The YAML is read."
    try:
        parsed = plain_json.loads(content)
        held = parsed["environments"]
        digest = sha256(plain_json.dumps(held).encode()).hexdigest()
        usable = parsed["lambdallm"] == COMPILED_FORMAT and parsed["digest"] == digest
        of_source = parsed["source"]
    except (ValueError, KeyError, TypeError, RecursionError):
        usable, held, of_source = False, {}, ""
    if not usable:
        made = "`lambdallm check --compile` makes it"
        said.append(f"{path} is not as this version makes it; {made}. {instead}")
        return None
    if source is not None and of_source != sha256(source).hexdigest():
        made = "`lambdallm check --compile` makes it anew"
        said.append(f"{path} is older than the YAML beside it; {made}. {instead}")
        return None
    if environment not in held:
        from lambdallm_wire.configuration_rules import fault_of_environment

        unknown = fault_of_environment(environment, held)
        said += [f"{path}: {unknown.sentence()}"] if unknown is not None else []
    chosen: dict[str, Any] = held.get(environment, held[""])  # the digest proves its shape
    return chosen
