"""Signatures, held against botocore's on generated requests."""

import calendar
import time
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import example, given, settings, strategies as st

from fakes.thoroughness import examples
from lambdallm_extension.aws.signing import Credentials, encode_label, sign

HOST = "service.eu-central-1.amazonaws.com"

PRINTABLE = st.characters(min_codepoint=33, max_codepoint=126)
NAMES = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-", min_size=1, max_size=12)
HEADER_VALUES = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_categories=["Cc"]), max_size=30
)
SEGMENTS = st.one_of(
    st.sampled_from(["", ".", "..", "a", "model", "v1:0", "arn%3Aaws%3Abedrock%2Fx", "%E2%82%AC"]),
    st.text(
        st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/?#"), max_size=9
    ),
)
PATHS = st.one_of(st.just("/"), st.lists(SEGMENTS, max_size=5).map(lambda s: "/" + "/".join(s)))
QUERY_PARTS = st.text(PRINTABLE.filter(lambda c: c not in "&#"), max_size=9)
QUERIES = st.lists(QUERY_PARTS, max_size=4).map("&".join)
SECRETS = st.text(PRINTABLE, min_size=1, max_size=40)


def botocore_signature(*, method, path, query, headers, body, credentials, region, service):
    """Sign with botocore; return its headers that ours must equal, and its time."""
    url = f"https://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=method, url=url, data=body)
    for name, value in headers:
        request.headers[name] = value
    signer = SigV4Auth(
        BotocoreCredentials(
            credentials.access_key_id,
            credentials.secret_access_key,
            credentials.session_token or None,
        ),
        service,
        region,
    )
    signer.add_auth(request)
    timestamp = request.headers["X-Amz-Date"]
    theirs = [("x-amz-date", timestamp)]
    if credentials.session_token:
        theirs.append(("x-amz-security-token", request.headers["X-Amz-Security-Token"]))
    theirs.append(("authorization", request.headers["Authorization"]))
    epoch_ms = calendar.timegm(time.strptime(timestamp, "%Y%m%dT%H%M%SZ")) * 1000
    return theirs, epoch_ms


@settings(max_examples=examples(500), deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    path=PATHS,
    query=QUERIES,
    headers=st.lists(st.tuples(NAMES.map(lambda name: f"x-{name}"), HEADER_VALUES), max_size=5),
    body=st.one_of(st.binary(max_size=64), st.text(max_size=64).map(str.encode)),
    secret=SECRETS,
    token=st.one_of(st.just(""), st.text(PRINTABLE, min_size=1, max_size=60)),
    region=st.sampled_from(["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1"]),
    service=st.sampled_from(["dynamodb", "bedrock", "sqs"]),
)
@example(
    method="POST",
    path="/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.x%3A0/converse",
    query="",
    headers=[("content-type", "application/json"), ("User-Agent", "unsigned")],
    body="€ ü 😀".encode(),
    secret="secret/+",
    token="token==",
    region="us-east-1",
    service="bedrock",
)
@example(
    method="GET",
    path="/a//b/../c/",
    query="b=2&a=1&a=0&flag",
    headers=[("x-spaces", "  two   words  "), ("x-twice", "b"), ("X-Twice", "a")],
    body=b"",
    secret="s",
    token="",
    region="eu-central-1",
    service="sqs",
)
def test_signatures_equal_those_of_botocore(
    *, method, path, query, headers, body, secret, token, region, service
):
    credentials = Credentials("AKIDEXAMPLE", secret, token)
    headers = [
        (name, value)
        for name, value in headers
        if name.lower() not in ("x-amz-date", "x-amz-security-token")
    ]
    theirs, epoch_ms = botocore_signature(
        method=method,
        path=path,
        query=query,
        headers=headers,
        body=body,
        credentials=credentials,
        region=region,
        service=service,
    )

    ours = sign(
        method,
        path,
        query,
        [*headers, ("host", HOST)],
        body,
        credentials=credentials,
        region=region,
        service=service,
        epoch_ms=epoch_ms,
    )

    assert ours == theirs


def test_a_body_hash_among_the_headers_is_taken_as_it_is():
    credentials = Credentials("AKIDEXAMPLE", "secret")
    headers = [("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]
    theirs, epoch_ms = botocore_signature(
        method="PUT",
        path="/",
        query="",
        headers=headers,
        body=b"body",
        credentials=credentials,
        region="us-east-1",
        service="sqs",
    )

    ours = sign(
        "PUT",
        "/",
        "",
        [*headers, ("host", HOST)],
        b"body",
        credentials=credentials,
        region="us-east-1",
        service="sqs",
        epoch_ms=epoch_ms,
    )

    assert ours == theirs


@pytest.mark.parametrize("day", [0, 86_399_999, 86_400_000])
def test_the_day_of_the_signing_key_is_the_day_of_the_date(day):
    (_, date), (_, authorization) = sign(
        "POST",
        "/",
        "",
        [("host", HOST)],
        b"",
        credentials=Credentials("AKID", "secret"),
        region="us-east-1",
        service="dynamodb",
        epoch_ms=day,
    )

    assert f"AKID/{date[:8]}/us-east-1/dynamodb/aws4_request" in authorization


@given(st.text(max_size=40))
def test_labels_are_encoded_as_awss_clients_do(text):
    text = text.encode("utf-8", "replace").decode()

    assert encode_label(text) == quote(text, safe="-._~")


def test_secrets_do_not_show_in_a_representation():
    credentials = Credentials("AKID", "very-secret", "token-secret")

    assert "secret" not in repr(credentials)
    assert "secret" not in f"{credentials}"
