"""What is put in is looked at before anything makes way for it."""

from __future__ import annotations

from typing import Any

import pytest

from lambdallm_extension.errors import StoreRefusedError
from lambdallm_extension.ports import Item, Key
from lambdallm_extension.services import session_imports
from lambdallm_extension.stores import rules


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("sk", "attributes"),
    [
        ("HEAD", {"schema": 1, "text": "é", "list": [None, True, {"a": "b"}], "n": -(10**38) + 1}),
        ("x" * 1_024, {}),
        ("x" * 1_025, {}),
        ("é" * 513, {}),
        ("\udc00", {}),
        *[("HEAD", {name: 1}) for name in (*rules.RESERVED, "")],
        *[("HEAD", {"a": value}) for value in (0.5, 10**38, "\ud800", {"\ud800": 1}, [0.5], b"x")],
        *[("HEAD", {"a": nested(depth)}) for depth in (31, 32, 33, 34)],
    ],
)
def test_it_says_what_stores_say(sk: str, attributes: Any) -> None:
    try:
        rules.plain(Item(Key("SESSION#s", sk), attributes))
        kept = True
    except StoreRefusedError:
        kept = False

    assert session_imports.is_kept_by_stores(sk, attributes) is kept
