"""Queries: prefixes, byte order, pages and limits."""

import pytest

from lambdallm_extension.ports import Item, Key, Put


def test_a_query_finds_exactly_its_prefix_in_byte_order(put, query, key):
    keys = ["A", "TURN", "TURN#", "TURN#1", "TURN#10", "TURN#2", "TURN#é", "TURN#￿", "TURN#😀",
            "TURN$", "TURO", "a"]  # fmt: skip
    for sk in keys:
        put(Key(key.pk, sk))

    def found(prefix, **more):
        return [item.key.sk for item in query(key.pk, prefix, **more)]

    in_order = sorted(keys, key=str.encode)
    turns = [sk for sk in in_order if sk.startswith("TURN#")]
    assert found("TURN#") == turns
    assert found("TURN#", reverse=True) == turns[::-1]
    assert found("") == in_order
    assert found("", reverse=True, limit=2) == in_order[::-1][:2]
    assert found("TURN#", limit=3) == turns[:3]
    assert found("TURN#", limit=100) == turns
    assert found("TURN#", limit=0) == []
    assert found("TURN#😀") == ["TURN#😀"]
    assert found("nothing") == []


def test_a_query_reaches_back_to_a_first_key(put, query, key):
    for sk in ("EXCHANGE#1", "HEAD", "HEAD2", "TURN", "TURN#1", "TURN#2", "TURN$", "ZZ"):
        put(Key(key.pk, sk))

    def found(**more):
        return [item.key.sk for item in query(key.pk, "TURN#", first="HEAD", **more)]

    assert found() == ["HEAD", "HEAD2", "TURN", "TURN#1", "TURN#2"]
    assert found(reverse=True, limit=3) == ["TURN#2", "TURN#1", "TURN"]
    assert found(reverse=True, limit=9)[-1] == "HEAD"


@pytest.mark.parametrize("prefix", ["\ud7ff", "\U0010ffff", "a\U0010ffff", "\U0010ffff\U0010ffff"])
def test_prefixes_at_the_edges_of_unicode(put, query, key, prefix):
    for sk in ("a", "b", "\ud7ff", "\ue000", "\U0010ffff", "\U0010ffff\U0010ffff", "a\U0010ffff!"):
        put(Key(key.pk, sk))

    found = [item.key.sk for item in query(key.pk, prefix)]

    assert found == sorted(
        (sk for sk in ("\ud7ff", "\U0010ffff", "\U0010ffff\U0010ffff", "a\U0010ffff!")
         if sk.startswith(prefix)), key=str.encode
    )  # fmt: skip
    assert found


def test_partitions_do_not_mix(put, query, key):
    put(Key(key.pk, "a"))
    put(Key(f"{key.pk}#", "b"))

    assert [item.key.sk for item in query(key.pk, "")] == ["a"]


def test_a_query_of_three_megabytes_comes_whole(store, deadline_ms, query, key):
    for number in range(9):
        item = Item(Key(key.pk, f"{number}"), {"text": f"{number}" * 350_000})
        store.put_if(Put(item), deadline_ms=deadline_ms)

    assert [item.key.sk for item in query(key.pk, "")] == list("012345678")
    assert [item.key.sk for item in query(key.pk, "", reverse=True, limit=5)] == list("87654")
