"""Sort keys of sessions order as their numbers do."""

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension.domain import keys

PLACES = st.tuples(
    st.integers(0, keys.EXCHANGE_MAX), st.integers(0, keys.TURNS_PER_EXCHANGE_MAX - 1)
)


def test_the_layout_is_the_documented_one() -> None:
    assert keys.session_pk("s1") == "SESSION#s1"
    assert keys.exchange_sk("order-7") == "EXCHANGE#order-7"
    assert keys.turn_sk(17, 0) == "TURN#000017#0"
    assert keys.call_pk("c1") == "CALL#c1"


@given(PLACES, PLACES)
def test_turn_keys_sort_in_byte_order_as_their_numbers(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    in_bytes = keys.turn_sk(*one).encode() < keys.turn_sk(*other).encode()

    assert in_bytes == (one < other)


@given(PLACES)
def test_a_turn_key_reads_back(place: tuple[int, int]) -> None:
    assert keys.parse_turn_sk(keys.turn_sk(*place)) == place


@pytest.mark.parametrize("place", [(-1, 0), (keys.EXCHANGE_MAX + 1, 0), (0, 1_000), (0, -1)])
def test_a_number_without_a_sorting_key_is_refused(place: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no key that sorts"):
        keys.turn_sk(*place)
