"""Refusals: which are repeated, and what the others say to do."""

import pytest

from fakes.dynamodb_errors import cancelled, refusal
from lambdallm_extension.errors import (
    ConditionFailedError,
    SettingError,
    StoreRefusedError,
)
from lambdallm_extension.ports import ABSENT, PRESENT, Add, Check, Item, Key, Put

TABLE = "lambdallm-contract"


# Cancelled transactions


@pytest.mark.parametrize(
    "cancellation",
    [
        cancelled("TransactionConflict", "None"),
        cancelled("None", "ThrottlingError"),
        cancelled("ProvisionedThroughputExceeded", "TransactionConflict"),
        refusal("TransactionInProgressException"),
    ],
)
def test_a_transaction_in_conflict_is_repeated(
    store, direct, proxy, key, deadline_ms, cancellation
):
    proxy.plan = [cancellation]

    store.transact(
        [Add(key, {"n": 1}), Check(Key(key.pk, "x"), ABSENT)],
        token=key.pk[-36:],
        deadline_ms=deadline_ms,
    )

    assert direct.get(key, deadline_ms=deadline_ms).attributes == {"n": 1}


def test_a_failed_condition_outweighs_a_conflict_beside_it(store, proxy, key, deadline_ms):
    stands = {"pk": {"S": "p"}, "sk": {"S": "b"}, "n": {"N": "3"}, "put_id": {"S": "x"}}
    proxy.plan = [
        cancelled("TransactionConflict", "ConditionalCheckFailed", "ThrottlingError", _1=stands)
    ]

    with pytest.raises(ConditionFailedError) as caught:
        store.transact(
            [Add(Key(key.pk, sk), {"n": 1}, condition=PRESENT) for sk in "abc"],
            token="t",
            deadline_ms=deadline_ms,
        )

    assert caught.value.current == (None, Item(Key("p", "b"), {"n": 3}), None)


def test_a_transaction_that_is_invalid_is_refused_with_the_reason(store, proxy, key, deadline_ms):
    proxy.plan = [cancelled("None", "ValidationError")]

    with pytest.raises(StoreRefusedError, match="said of 1"):
        store.transact(
            [Add(key, {"n": 1}), Add(Key(key.pk, "b"), {"n": 1})],
            token="t",
            deadline_ms=deadline_ms,
        )


# Refusals say what to do


def test_a_missing_table_says_how_to_make_it(connect, ministack, key, deadline_ms):
    store = connect(ministack, "no-such-table")

    with pytest.raises(StoreRefusedError) as caught:
        store.get(key, deadline_ms=deadline_ms)

    for word in ("no-such-table", "us-east-1", "create-table", "AttributeName=sk", "expires_at"):
        assert word in caught.value.detail


@pytest.mark.parametrize(
    ("work", "permission"),
    [
        (lambda store, key: store.get(key, deadline_ms=2**50), "dynamodb:GetItem"),
        (
            lambda store, key: store.put_if(Put(Item(key, {})), deadline_ms=2**50),
            "dynamodb:PutItem",
        ),
        (
            lambda store, key: store.transact([Add(key)], token="t", deadline_ms=2**50),
            "dynamodb:ConditionCheckItem",
        ),
    ],
)
def test_a_missing_permission_names_the_action_and_the_table(store, proxy, key, work, permission):
    proxy.plan = [refusal("AccessDeniedException", "User: x is not authorized")]

    with pytest.raises(StoreRefusedError) as caught:
        work(store, key)

    assert permission in caught.value.detail
    assert f"arn:aws:dynamodb:us-east-1:*:table/{TABLE}" in caught.value.detail
    assert "not authorized" in caught.value.detail


def test_a_page_that_is_none_of_dynamodbs_is_a_missing_permission(connect, serve_bytes, key):
    page = b"<html>Blocked by policy 7</html>"
    reply = b"HTTP/1.1 403 Forbidden\r\ncontent-length: %d\r\n\r\n%b" % (len(page), page)

    with pytest.raises(StoreRefusedError) as caught:
        connect(serve_bytes(reply)).get(key, deadline_ms=2**50)

    assert "dynamodb:GetItem" in caught.value.detail
    assert "Blocked by policy 7" in caught.value.detail


@pytest.mark.parametrize("kind", ["ExpiredTokenException", "InvalidSignatureException"])
def test_credentials_that_are_not_accepted_say_where_new_ones_come_from(store, proxy, key, kind):
    proxy.plan = [refusal(kind, "no"), refusal(kind, "no")]

    with pytest.raises(StoreRefusedError, match="credentials are not accepted"):
        store.get(key, deadline_ms=2**50)


@pytest.mark.parametrize(
    ("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_a_missing_permission_names_the_partition(
    connect, proxy, key, deadline_ms, region, partition
):
    proxy.plan = [refusal("AccessDeniedException", "User: x is not authorized")]

    with pytest.raises(StoreRefusedError) as caught:
        connect(proxy.url, AWS_REGION=region).get(key, deadline_ms=deadline_ms)

    assert f"arn:{partition}:dynamodb:{region}:*:table/{TABLE}" in caught.value.detail


def test_an_item_that_grew_too_large_says_the_limit(store, proxy, key, deadline_ms):
    proxy.plan = [
        refusal("ValidationException", "Item size to update has exceeded the maximum allowed size")
    ]

    with pytest.raises(StoreRefusedError, match="400 KB"):
        store.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms)


def test_other_refusals_pass_on_what_was_said(store, proxy, key, deadline_ms):
    proxy.plan = [refusal("ValidationException", "The provided key is strange")]

    with pytest.raises(StoreRefusedError, match="The provided key is strange"):
        store.get(key, deadline_ms=deadline_ms)


def test_expired_credentials_are_renewed_once(store, proxy, key, deadline_ms):
    expired = refusal("ExpiredTokenException", "The security token is expired")
    proxy.plan = [expired]
    assert store.get(key, deadline_ms=deadline_ms) is None

    proxy.plan = [expired, expired]
    with pytest.raises(StoreRefusedError, match="expired"):
        store.get(key, deadline_ms=deadline_ms)


def test_missing_credentials_and_region_say_what_to_set(connect, ministack, key, deadline_ms):
    without_region = connect(ministack, AWS_REGION="")
    without_keys = connect(ministack, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", HOME="/none")

    with pytest.raises(SettingError, match="AWS_REGION"):
        without_region.get(key, deadline_ms=deadline_ms)
    with pytest.raises(SettingError, match="AWS_ACCESS_KEY_ID"):
        without_keys.get(key, deadline_ms=deadline_ms)
