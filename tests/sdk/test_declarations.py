"""What a session cannot be is said where it is declared."""

from __future__ import annotations

from typing import Any

import pytest

import lambdallm
from lambdallm import MemoryStrategy, Session


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"durability": "never"}, "durability='never'"),
        *[({"ttl_hours": each}, "ttl_hours=") for each in ("24", 0, -1, float("nan"), 1e300, True)],
        *[({"max_messages": each}, "max_messages=") for each in (0, -3, 2.0, "20", None, True)],
        ({"memory": MemoryStrategy.TOKEN_WINDOW}, r"TOKEN_WINDOW\(\)"),
        ({"memory": "sliding_window"}, "memory='sliding_window'"),
        ({"owner": 3}, "owner=3"),
    ],
    ids=str,
)
def test_a_session_that_cannot_be_is_refused_where_it_is_declared(
    arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(lambdallm.ConfigurationError, match=named):
        Session(**arguments)


def test_the_shortest_life_is_a_second() -> None:
    assert Session(ttl_hours=1e-9).rule("s", "e")["ttl_seconds"] == 1
    assert Session(ttl_hours=0.5).rule("s", "e")["ttl_seconds"] == 1_800
