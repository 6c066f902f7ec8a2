"""The part of YAML that is read without PyYAML: PyYAML's value, or a refusal with its line."""

from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings, strategies

from fakes.thoroughness import examples
from lambdallm_wire import plain_yaml

PIECES = (
    "a", "b:", "key: ", "- ", "\n", "\n  ", "\n    ", "  ", " ", "'", '"', "[", "]", "{", "}", ", ",
    ",", "#", " #", "yes", "No", "null", "~", "1", "0", "01", "1.5", ".5", "1e3", "1_0", "0x1F",
    "1:30", "2024-01-01", "text", "foo bar", "http://x:80/y", "---", "...", "\t", "&a", "*a", "!t",
    "|", ">", "%", "@", "`", "?", "? ", ":", " :", "-", "=", "<<", "é", "\u2028", "\x85", "\\n",
    "\\", "\\u0041", "''", "key: v\n", "k2:\n", "on: off\n", ".", "+1", "-5", "3.", "~x", "true",
    "\r\n", "\r", "\ufeff", "\xa0", "<", "10.0.0.1", "0.1.0", ".inf", "1.5e+3", "12:30:45",
)  # fmt: skip


def read(text: str) -> Any:
    return plain_yaml.loads(text)[0]


def agree(text: str) -> None:
    """Fail unless PyYAML reads the same, of the same types, or it is refused here."""
    try:
        mine = read(text)
    except plain_yaml.YamlError:
        return
    theirs = yaml.safe_load(text)
    assert repr(mine) == repr({} if theirs is None else theirs)


@settings(max_examples=examples(1_000))
@given(strategies.lists(strategies.sampled_from(PIECES), max_size=12).map("".join))
@example("  ---")
@example("a: 012")
@example("a: 'b''c' # d")
def test_pieces_of_yaml_mean_what_they_mean_to_pyyaml(text: str) -> None:
    agree(text)


@settings(max_examples=examples(300))
@given(
    strategies.text(max_size=30), strategies.sampled_from(("{}", "a: {}", "a:\n  - {}", "a: [{}]"))
)
def test_any_text_means_what_it_means_to_pyyaml(text: str, form: str) -> None:
    agree(form.replace("{}", text))


SCALARS = strategies.one_of(
    strategies.none(),
    strategies.booleans(),
    strategies.integers(-(10**12), 10**12),
    strategies.floats(allow_nan=False, allow_infinity=False, width=16),
    strategies.text(strategies.characters(codec="utf-8", exclude_characters="\ufeff"), max_size=20),
)
NAMES = strategies.from_regex(r"[a-z][a-z_-]{0,12}", fullmatch=True).filter(
    lambda name: name not in ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
)
DOCUMENTS = strategies.dictionaries(
    NAMES,
    strategies.recursive(
        SCALARS,
        lambda inner: (
            strategies.dictionaries(NAMES, inner, max_size=3)
            | strategies.lists(SCALARS, max_size=3)
        ),
        max_leaves=12,
    ),
    max_size=4,
)


@settings(max_examples=examples(100))
@given(DOCUMENTS)
def test_what_pyyaml_writes_is_read_or_refused(document: dict[str, Any]) -> None:
    agree(yaml.safe_dump(document, width=10_000, allow_unicode=True))


def test_a_configuration_is_read_with_its_lines() -> None:
    value, lines = plain_yaml.loads(
        """\ufeff# a comment
---
project: {name: my-chat, version: 0.1.0, "runtime": 'python3.13'}   # one line
defaults:

    memory: 256
    share: -0.5
models:
  "fast one":
    fallbacks:
    - careful   # at the same indentation
    - 'it''s'
  careful: {model: "a\\"b\\n", fallbacks: [x, [y], {z: on}, ]}
url: http://127.0.0.1:80/v1#part
empty:
none: ~
"""
    )

    assert value == {
        "project": {"name": "my-chat", "version": "0.1.0", "runtime": "python3.13"},
        "defaults": {"memory": 256, "share": -0.5},
        "models": {
            "fast one": {"fallbacks": ["careful", "it's"]},
            "careful": {"model": 'a"b\n', "fallbacks": ["x", ["y"], {"z": True}]},
        },
        "url": "http://127.0.0.1:80/v1#part",
        "empty": None,
        "none": None,
    }
    assert lines["defaults", "share"] == 7
    assert lines["models", "fast one", "fallbacks", 1] == 12
    assert lines["models", "careful", "fallbacks", 2, "z"] == 13


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing", "---", "---\n# nothing\n"])
def test_nothing_is_an_empty_mapping(text: str) -> None:
    assert plain_yaml.loads(text) == ({}, {})


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\n\tb: 2", 2, "tab"),
        ("a: &x 1", 1, "'&'"),
        ("a: 1\nb: *x", 2, "'*'"),
        ("a: !!str 1", 1, "'!'"),
        ("a: |\n  text", 1, r"'\|'"),
        ("a: >\n  text", 1, "'>'"),
        ("a: one\n   two", 2, "indented more"),
        ("a: 'one\n  two'", 1, "quote does not end"),
        ("a: [1,\n 2]", 1, "does not end"),
        ("a: 012", 1, "may be a number"),
        ("a: 1:30", 1, "may be a number"),
        ("a: 2026-11-21", 1, "may be a number or a time"),
        ("a: 1\na: 2", 2, "twice"),
        ("a: {b: 1, b: 2}", 1, "twice"),
        ("1: a", 1, "no text"),
        ("on: a", 1, "no text"),
        ("- a", 1, "A list"),
        ("a", 1, "name: value"),
        ("a: b: c", 1, "second `name:`"),
        ("a:\n    b: 1\n  c: 2", 3, "indented"),
        ("  a: 1\nb: 2", 2, "indented less"),
        ("a: 1\n---\nb: 2", 2, "one document"),
        ("%YAML 1.1\n---\na: 1", 1, "one document"),
        ('a: "\\x41"', 1, "not understood"),
        ("a: 'b' c", 1, "behind the value"),
        ("a: \x00", 1, "character"),
        ("a: b\u2028c: d", 1, "character"),
        ("a:\n  - b: 1", 2, "second `name:`"),
        ("a:\n  -\n    - b", 2, "one value"),
        ("<<: a", 1, "'<'"),
        ("x" * 501 + ": a", 1, "too long"),
        ("a: " + "[" * 30, 1, "too deeply"),
        ("".join(" " * depth + "a:\n" for depth in range(30)), 22, "too deeply"),
        ("a: b\n" * 30_000, 1, "more than"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(plain_yaml.YamlError, match=reason) as raised:
        read(text)

    assert raised.value.line == line
    assert f"line {line}: " in str(raised.value)
