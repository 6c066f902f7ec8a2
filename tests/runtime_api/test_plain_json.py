"""JSON as `json` reads and writes it."""

import json
import math
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import example, given, strategies as st

from lambdallm_wire import plain_json

TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates as well
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def same(one: object, other: object) -> bool:
    """Compare, with NaN equal to NaN and 1 different from 1.0."""
    return repr(one) == repr(other)


def outcome(read: Callable[[str | bytes], object], text: str | bytes) -> str:
    """Return what reading a text returns or raises, with all that can be told of it."""
    try:
        return repr(read(text))
    except ValueError as error:
        return f"{type(error)} {error}"


@given(VALUES, st.booleans())
def test_values_are_written_as_by_json(value: object, ensure_ascii: bool) -> None:
    theirs = json.dumps(value, ensure_ascii=ensure_ascii, separators=(",", ":"))

    assert plain_json.dumps(value, ensure_ascii=ensure_ascii) == theirs


@given(VALUES, st.sampled_from(["", " ", "\n\t\r "]), st.sampled_from([None, 1]))
def test_texts_are_read_as_by_json(value: object, around: str, indent: int | None) -> None:
    text = around + json.dumps(value, indent=indent) + around

    assert same(plain_json.loads(text), json.loads(text))
    assert same(plain_json.loads(text.encode()), json.loads(text.encode()))


@given(st.text('{}[]",:0123456789.eE+-\\ \n\tabntrufINy\ufeff', max_size=12))
@example("")
@example("1 2")
@example('{"a":1}x')
@example("\ufeff{}")
@example("\xa01")
@example('"\x01"')
@example("-Infinity")
@example("[NaN]")
@example("1" * 5_000)
def test_what_is_no_json_is_refused_in_the_words_of_json(text: str) -> None:
    for given_text in (text, text.encode()):
        assert outcome(plain_json.loads, given_text) == outcome(json.loads, given_text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-le"])
def test_bytes_are_read_in_every_encoding_that_json_knows(encoding: str) -> None:
    assert plain_json.loads('{"ü": "€"}'.encode(encoding)) == {"ü": "€"}


def test_bytes_of_no_encoding_are_refused() -> None:
    with pytest.raises(ValueError, match="decode"):
        plain_json.loads(b'"\xff\xfe\xfa"')


def test_too_deep_a_text_is_refused_as_by_json() -> None:
    with pytest.raises(RecursionError):
        plain_json.loads("[" * 1_000_000)


def test_what_json_does_not_have_is_refused_by_its_name() -> None:
    with pytest.raises(TypeError, match="set"):
        plain_json.dumps({"a": {1}})
    for number in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="JSON compliant"):
            plain_json.dumps([number], allow_nan=False)


def test_what_holds_itself_is_refused_and_no_later_value_suffers() -> None:
    loop: list[object] = []
    loop.append(loop)

    with pytest.raises(ValueError, match="Circular"):
        plain_json.dumps(loop)
    loop.clear()
    assert plain_json.dumps(loop) == "[]"


@pytest.mark.parametrize("text", ["{", "[1", '"a', '{"a" 1}', '{"a":1,}', '"\\x"', "?"])
def test_the_first_wrong_text_of_a_process_is_refused_as_any_other(text: str) -> None:
    code = f"""
import sys
sys.path += {[path for path in sys.path if path]!r}
from lambdallm_wire import plain_json
assert "json" not in sys.modules
try:
    plain_json.loads({text!r})
except ValueError as error:
    print(type(error).__name__, error)
"""
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )

    with pytest.raises(json.JSONDecodeError) as theirs:
        json.loads(text)
    assert run.stdout.strip() == f"JSONDecodeError {theirs.value}"


def test_plain_texts_load_no_regular_expressions() -> None:
    code = f"""
import sys
sys.path += {[path for path in sys.path if path]!r}
from lambdallm_wire import plain_json
value = {{"a": [1.5, None, "ü"]}}
assert plain_json.loads(plain_json.dumps(value).encode()) == value
print(*sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )

    assert not {"json", "re", "enum"} & set(run.stdout.split())


@pytest.mark.parametrize("value", ["plain", "ü ∂", {"ü": ["cut \ud83d", "\udc00"]}])
def test_what_no_utf8_holds_is_escaped(value: object) -> None:
    text = plain_json.dumps_whole(value)

    assert plain_json.loads(text.encode()) == value
    assert ("\\u" in text) == isinstance(value, dict)
