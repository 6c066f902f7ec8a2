"""Requests to DynamoDB, held against botocore's for the same input: bodies and signed headers."""

import json
import string

import botocore.session
import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.awsrequest import AWSResponse
from hypothesis import given, settings, strategies as st

from fakes.thoroughness import examples
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.errors import StoreRefusedError
from lambdallm_extension.http_client.client import HttpReply
from lambdallm_extension.ports import Add, Check, Condition, Item, Key, Put
from lambdallm_extension.settings import Settings, SystemClock, SystemRandom
from lambdallm_extension.stores import attribute_values
from lambdallm_extension.stores.dynamodb import DynamoDBStore

TABLE = "table-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKID",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
    "AWS_REGION": "us-east-1",
}

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(-(10**38) + 1, 10**38 - 1)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(TEXT.filter(bool), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.one_of(
    st.sampled_from(["name", "status", "n", "select", "a.b", "#0", ":0", "schema"]),
    st.text(string.ascii_letters + ".#:-_ é", min_size=1, max_size=8),
).filter(lambda name: name not in ("pk", "sk", "expires_at", "put_id"))
KEYS = st.builds(Key, TEXT.filter(bool), TEXT.filter(bool))
ATTRIBUTES = st.dictionaries(NAMES, VALUES, max_size=4)
EXPIRIES = st.none() | st.integers(0, 2**33)
ITEMS = st.builds(Item, KEYS, ATTRIBUTES, EXPIRIES)
CONDITIONS = st.builds(
    Condition,
    st.sampled_from([None, True, False]),
    st.dictionaries(NAMES, VALUES, max_size=2),
    st.dictionaries(NAMES, NUMBERS, max_size=2),
)
PUTS = st.builds(Put, ITEMS, CONDITIONS)
ADDS = st.builds(
    lambda key, add, assign, expires_at, condition: Add(
        key, add, {k: v for k, v in assign.items() if k not in add}, expires_at, condition
    ),
    KEYS,
    st.dictionaries(NAMES, NUMBERS, max_size=3),
    ATTRIBUTES,
    EXPIRIES,
    CONDITIONS,
)
CHECKS = st.builds(Check, KEYS, CONDITIONS)
ACTIONS = st.lists(
    PUTS | ADDS | CHECKS,
    min_size=1,
    max_size=4,
    unique_by=lambda action: action.item.key if isinstance(action, Put) else action.key,
)


class Wire:
    """Stands where the network begins: keeps what was sent, and answers with an empty reply."""

    def __init__(self):
        self.settings = Settings.from_environ(CREDENTIALS)
        self.sent = []

    def post(self, path, headers, body, **_):
        self.sent.append((path, headers, body))
        key = {"pk": {"S": "x"}, "sk": {"S": "x"}}
        return HttpReply(200, [], json.dumps({"Attributes": key}).encode())


@pytest.fixture(scope="module")
def botocore_client():
    session = botocore.session.Session()
    session.set_credentials("AKID", "secret", "token")
    return session.create_client("dynamodb", region_name="us-east-1")


@pytest.fixture(scope="module")
def agree(botocore_client):
    """Make a store do something, and check that botocore makes the same request of it."""
    captured = []

    def capture(request, **_):
        captured.append(request)

        class Raw:
            def stream(self, **_):
                return iter([b"{}"])

        return AWSResponse(request.url, 200, {}, Raw())

    botocore_client.meta.events.register("before-send", capture)

    def check(work):
        wire = Wire()
        work(DynamoDBStore(wire, TABLE, SystemClock(), SystemRandom(), lambda _: None))
        ((path, headers, body),) = wire.sent
        operation = dict(headers)["x-amz-target"].partition(".")[2]
        method = botocore.xform_name(operation)
        parameters = json.loads(body)
        captured.clear()
        getattr(botocore_client, method)(**parameters)

        theirs = captured[0]
        assert json.loads(theirs.body) == parameters
        assert theirs.url == f"https://dynamodb.us-east-1.amazonaws.com{path}"
        for name, value in headers:
            assert theirs.headers[name].decode() == value
        signed = theirs.headers["Authorization"].decode().split("SignedHeaders=")[1].split(",")[0]
        added = {"host", "x-amz-date", "x-amz-security-token"}
        assert signed.split(";") == sorted({name for name, _ in headers} | added)
        return parameters

    return check


@settings(max_examples=examples(150), deadline=None)
@given(key=KEYS)
def test_reads_agree_with_botocore(agree, key):
    parameters = agree(lambda store: store.get(key, deadline_ms=0))

    assert parameters["ConsistentRead"] is True


@settings(max_examples=examples(150), deadline=None)
@given(
    pk=TEXT.filter(bool), prefix=TEXT, reverse=st.booleans(), limit=st.none() | st.integers(1, 9)
)
def test_queries_agree_with_botocore(agree, pk, prefix, reverse, limit):
    parameters = agree(
        lambda store: store.query(pk, prefix, reverse=reverse, limit=limit, deadline_ms=0)
    )

    assert parameters["ConsistentRead"] is True


@settings(max_examples=examples(250), deadline=None)
@given(put=PUTS)
def test_puts_agree_with_botocore(agree, put):
    parameters = agree(lambda store: store.put_if(put, deadline_ms=0))

    encoded = parameters["Item"]
    encoded.pop("put_id", None)
    read = {name: TypeDeserializer().deserialize(value) for name, value in encoded.items()}
    expected = {"pk": put.item.key.pk, "sk": put.item.key.sk, **put.item.attributes}
    if put.item.expires_at is not None:
        expected["expires_at"] = put.item.expires_at
    assert read == expected


@settings(max_examples=examples(250), deadline=None)
@given(add=ADDS)
def test_additions_agree_with_botocore(agree, add):
    agree(lambda store: store.add_if(add, deadline_ms=0))


@settings(max_examples=examples(250), deadline=None)
@given(actions=ACTIONS, token=st.text(string.ascii_letters, min_size=1, max_size=36))
def test_transactions_agree_with_botocore(agree, actions, token):
    parameters = agree(lambda store: store.transact(actions, token=token, deadline_ms=0))

    assert len(parameters["TransactItems"]) == len(actions)


@settings(max_examples=examples(300), deadline=None)
@given(value=VALUES)
def test_values_are_written_as_boto3_writes_them_and_read_back(value):
    encoded = attribute_values.encode(value)

    assert encoded == TypeSerializer().serialize(value)
    assert attribute_values.decode(encoded) == value


@pytest.mark.parametrize(
    "foreign", [{"SS": ["a"]}, {"B": "AA=="}, {"N": "1.5"}, {"L": [{"NS": ["1"]}]}]
)
def test_values_that_lambdallm_never_writes_are_refused(foreign):
    with pytest.raises(StoreRefusedError):
        attribute_values.decode(foreign)


def test_the_credentials_are_those_of_the_settings():
    source = CredentialSource(Settings.from_environ(CREDENTIALS), SystemClock())

    assert source.current()[:3] == ("AKID", "secret", "token")
