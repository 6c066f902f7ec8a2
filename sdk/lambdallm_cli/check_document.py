"""YAML read with the line of everything in it; CloudFormation's short forms are written out.

Timeout: !Ref Seconds     ──►  {"Timeout": {"Ref": "Seconds"}}, line 1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from lambdallm_wire.configuration_faults import dotted

if TYPE_CHECKING:
    from lambdallm_wire.configuration_faults import Lines

    Where = tuple[str | int, ...]
    Twice = tuple[str, int, str]

NODES_MAX = 10_000
"""Of a document, its aliases written out: a small file can hold a billion."""

DEPTH_MAX = 50
"""Of what stands in each other; an alias may stand in itself."""

_NOT_PREFIXED = ("Ref", "Condition")
"""Functions of CloudFormation whose long forms do not begin with `Fn::`."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """Composes no deeper than is read afterwards; PyYAML itself goes as deep as Python does."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self._depth > DEPTH_MAX:
            message = f"it is nested more than {DEPTH_MAX} deep"
            raise ValueError(message)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


class Document:
    """Reads YAML with the line of everything in it."""

    def __init__(self, text: str, *, nodes_max: int = NODES_MAX, short_forms: bool = False) -> None:
        """Keep the text.

        Args:
            text: The YAML.
            nodes_max: Of its values.
            short_forms: It is a template of CloudFormation: `!Ref x` stands for `{"Ref": "x"}`.
        """
        self._loader = _Loader(text)
        self._nodes_max = nodes_max
        self._short_forms = short_forms
        self._lines: dict[Where, int] = {}
        self._twice: list[Twice] = []
        self._nodes = 0
        self._merged: dict[int, int] = {}

    def read(self) -> tuple[Any, Lines, list[Twice]]:
        """Return the value, the lines of its paths, and names that stand twice.

        Of such a name: its path, its line, and a sentence.

        Raises:
            yaml.YAMLError: It is not YAML.
            ValueError: It is too much of it.
        """
        try:
            node = self._loader.get_single_node()
            value = None if node is None else self._value(node, ())
        finally:
            self._loader.dispose()
        return ({} if value is None else value), self._lines, self._twice

    def _value(self, node: yaml.Node, path: Where) -> Any:
        self._nodes += 1
        if self._nodes > self._nodes_max or len(path) > DEPTH_MAX:
            self._refuse()
        self._lines.setdefault(path, node.start_mark.line + 1)
        tag = node.tag[1:]
        if self._short_forms and node.tag[:1] == "!" and tag:
            return {tag if tag in _NOT_PREFIXED else f"Fn::{tag}": self._plain(node, path)}
        if isinstance(node, yaml.ScalarNode):
            return self._loader.construct_object(node)
        return self._plain(node, path)

    def _plain(self, node: yaml.Node, path: Where) -> Any:
        """Return a value whatever its tag is."""
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, place)) for place, item in enumerate(node.value)]
        return node.value

    def _mapping(self, node: yaml.MappingNode, path: Where) -> dict[Any, Any]:
        first: dict[Any, int] = {}
        for key, _ in node.value:
            name, line = self._name(key), key.start_mark.line + 1
            if name in first:
                said = f"{name!r} stands here twice, first in line {first[name]}."
                self._twice.append((dotted((*path, str(name))), line, said))
            first.setdefault(name, line)
        if self._size(node) > self._nodes_max:
            self._refuse()
        self._loader.flatten_mapping(node)  # what `<<` names, before the mapping's own
        mapping: dict[Any, Any] = {}
        for key, value in node.value:
            name = self._name(key)
            below = (*path, str(name))
            self._lines[below] = key.start_mark.line + 1
            mapping[name] = self._value(value, below)
        return mapping

    def _size(self, node: yaml.Node) -> int:
        """Return how many values a mapping has when all that `<<` names is copied into it."""
        if not isinstance(node, yaml.MappingNode):
            return sum(map(self._size, node.value)) if isinstance(node, yaml.SequenceNode) else 1
        size = self._merged.get(id(node))
        if size is None:
            self._merged[id(node)] = 0  # while it is counted: it may name itself
            size = sum(
                self._size(value) if key.tag.endswith(":merge") else 1 for key, value in node.value
            )
            self._merged[id(node)] = size
        return size

    def _refuse(self) -> NoReturn:
        message = f"it has more than {self._nodes_max} values, or is nested too deeply"
        raise ValueError(message)

    def _name(self, key: yaml.Node) -> Any:
        if not isinstance(key, yaml.ScalarNode):
            message = f"a name in line {key.start_mark.line + 1} is a list or a mapping"
            raise ValueError(message)  # noqa: TRY004 - of the text, not of an argument
        return key.value if key.tag.endswith(":merge") else self._loader.construct_object(key)
