"""Two changes of the metadata, one after the other, and on what somebody else has left."""

from typing import Any

from hypothesis import given, strategies as st

from lambdallm_extension.domain.metadata_changes import MetadataChange

KEYS = st.sampled_from("abcd")
VALUES: Any = st.dictionaries(KEYS, st.sampled_from([0, None, "", [1], {"a": 1}]))


def change(metadata: Any, keys: Any, defaults: Any) -> MetadataChange:
    return MetadataChange(metadata, keys, frozenset() if keys is None else keys & defaults)


CHANGES = st.builds(change, VALUES, st.none() | st.frozensets(KEYS), st.frozensets(KEYS))


def test_what_is_named_is_set_or_removed_and_the_rest_stays() -> None:
    change = MetadataChange({"plan": "pro", "seen": 7}, frozenset({"plan", "gone"}))

    stored = {"plan": "free", "gone": 1, "language": "fr", "seen": 8}
    assert change.applied_to(stored) == {"plan": "pro", "language": "fr", "seen": 8}


def test_what_a_session_begins_with_yields_to_what_is_stored() -> None:
    begun = MetadataChange({"plan": "free", "seen": 0}, *[frozenset({"plan", "seen"})] * 2)

    assert begun.applied_to({}) == {"plan": "free", "seen": 0}
    assert begun.applied_to({"plan": "pro"}) == {"plan": "pro", "seen": 0}


def test_without_names_all_is_replaced() -> None:
    assert MetadataChange({"plan": "pro"}).applied_to({"language": "fr"}) == {"plan": "pro"}


@given(VALUES, CHANGES, CHANGES)
def test_two_changes_are_one(stored: Any, one: MetadataChange, other: MetadataChange) -> None:
    assert one.then(other).applied_to(stored) == other.applied_to(one.applied_to(stored))


@given(VALUES, VALUES, VALUES)
def test_changes_of_different_keys_win_in_any_order(stored: Any, one: Any, other: Any) -> None:
    first = MetadataChange(one, frozenset("ab"))
    second = MetadataChange(other, frozenset("cd"))

    assert first.then(second).applied_to(stored) == second.then(first).applied_to(stored)
