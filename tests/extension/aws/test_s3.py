"""Objects of a bucket: against botocore's requests, on servers of others, and with faults."""

from __future__ import annotations

import calendar
import hashlib
import time
from itertools import product

import boto3
import botocore.session
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.config import Config
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given, settings as hypothesis_settings, strategies as st

from fakes.s3_proxy import Refusal, S3Proxy
from fakes.thoroughness import examples
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.aws.s3 import Bucket, Location, address_of, parse_location
from lambdallm_extension.aws.signing import Credentials, sign
from lambdallm_extension.errors import SettingError, StoreRefusedError, StoreUnavailableError
from lambdallm_extension.settings import Settings, SystemClock

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
NAME = "objects-of-tests"
REGIONS = ["us-west-2", "eu-central-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1"]


@pytest.fixture(params=["ministack", "moto"])
def server(request):
    """Endpoint of a server, with the bucket."""
    endpoint = request.getfixturevalue(request.param)
    boto(endpoint).create_bucket(Bucket=NAME)
    return endpoint


@pytest.fixture
def proxy(ministack):
    boto(ministack).create_bucket(Bucket=NAME)
    with S3Proxy(ministack) as proxy:
        yield proxy


def boto(endpoint):
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@pytest.fixture
def open_bucket():
    buckets = []
    slept = []

    def make(endpoint, name=NAME, **environ):
        settings = Settings.from_environ(
            {**KEYS, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_S3": endpoint, **environ}
        )
        clock = SystemClock()
        credentials = CredentialSource(settings, clock)
        location = Location(name, "some/prefix", "")
        buckets.append(Bucket(location, settings, clock, credentials, sleep=slept.append))
        return buckets[-1]

    make.slept = slept
    yield make
    for bucket in buckets:
        bucket.close()


def soon(seconds=10.0):
    return SystemClock().epoch_ms() + round(seconds * 1_000)


@pytest.mark.parametrize("content", [b"", b"x", "ü€😀".encode() * 1_000, bytes(range(256)) * 8_192])
def test_an_object_comes_back_as_it_was(server, open_bucket, content):
    bucket = open_bucket(server)
    bucket.put("d2/one", content, deadline_ms=soon())

    assert bucket.get("d2/one", deadline_ms=soon()) == content
    stored = boto(server).get_object(Bucket=NAME, Key="some/prefix/d2/one")["Body"].read()
    assert stored == content


def test_what_is_not_there_is_none(server, open_bucket):
    bucket = open_bucket(server)

    assert bucket.get("d2/nobody", deadline_ms=soon()) is None
    assert not bucket.copy("d2/nobody", "d2/nobody", deadline_ms=soon())


def test_what_is_deleted_is_gone_and_twice_does_no_harm(server, open_bucket):
    bucket = open_bucket(server)
    bucket.put("d2/gone", b"x", deadline_ms=soon())

    for _ in range(2):
        bucket.delete("d2/gone", deadline_ms=soon())
        assert bucket.get("d2/gone", deadline_ms=soon()) is None


def test_a_copy_onto_itself_is_newer_and_one_to_elsewhere_is_another(ministack, open_bucket):
    client = boto(ministack)
    client.create_bucket(Bucket=NAME)
    bucket = open_bucket(ministack)
    bucket.put("d2/copied", b"content", deadline_ms=soon())

    assert bucket.copy("d2/copied", "d2/copied", deadline_ms=soon())
    assert bucket.copy("d2/copied", "d4/copied", deadline_ms=soon())

    assert bucket.get("d2/copied", deadline_ms=soon()) == b"content"
    assert bucket.get("d4/copied", deadline_ms=soon()) == b"content"


def test_a_bucket_that_is_not_there_is_named(server, open_bucket):
    bucket = open_bucket(server, name="nobodys-bucket")

    for call in (
        lambda: bucket.put("k", b"x", deadline_ms=soon()),
        lambda: bucket.get("k", deadline_ms=soon()),
        lambda: bucket.copy("k", "k", deadline_ms=soon()),
    ):
        with pytest.raises(StoreRefusedError, match="There is no bucket 'nobodys-bucket'"):
            call()


def botocore_request(region, bucket, config, endpoint=None):
    """Return the URL that botocore would ask, with the headers of a put."""
    client = botocore.session.Session().create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id="AKID",
        aws_secret_access_key="secret",
        config=config,
    )
    requests = []

    def capture(request, **_):
        requests.append(request)
        return AWSResponse(
            request.url, 200, {}, type("Raw", (), {"stream": lambda *_, **__: iter([b""])})()
        )

    client.meta.events.register("before-send", capture)
    client.put_object(Bucket=bucket, Key="prefix/key", Body=b"x")
    return requests[0]


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("bucket", ["plain-bucket", "with.dots"])
def test_the_address_is_the_one_of_botocore(region, bucket):
    for fips, dual_stack in product((False, True), (False, True)):
        if (region == "us-iso-east-1" and dual_stack) or (region == "cn-north-1" and fips):
            continue  # there is none
        settings = Settings.from_environ(
            {
                "AWS_REGION": region,
                "AWS_USE_FIPS_ENDPOINT": str(fips).lower(),
                "AWS_USE_DUALSTACK_ENDPOINT": str(dual_stack).lower(),
            }
        )
        config = Config(use_fips_endpoint=fips, use_dualstack_endpoint=dual_stack)

        host, path = address_of(bucket, settings)

        assert f"https://{host}{path}/prefix/key" == botocore_request(region, bucket, config).url


def test_an_endpoint_of_ones_own_is_asked_by_path():
    settings = Settings.from_environ(
        {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000"}
    )

    assert address_of("plain-bucket", settings) == ("", "/plain-bucket")
    config = Config(s3={"addressing_style": "path"})
    url = botocore_request("us-east-1", "plain-bucket", config, "http://127.0.0.1:9000").url
    assert url == "http://127.0.0.1:9000/plain-bucket/prefix/key"


@hypothesis_settings(max_examples=examples(100), deadline=None)
@given(
    parts=st.lists(
        st.text("abcXYZ019-_.", min_size=1, max_size=9).filter(
            lambda part: part not in (".", "..")
        ),
        min_size=1,
        max_size=4,
    ),
    body=st.binary(max_size=50),
)
def test_the_signature_of_such_a_key_is_s3s_own(parts, body):
    path = "/" + "/".join(parts)
    digest = hashlib.sha256(body).hexdigest()
    request = AWSRequest(
        method="PUT", url=f"https://bucket.s3.eu-central-1.amazonaws.com{path}", data=body
    )
    request.headers["X-Amz-Content-SHA256"] = digest
    request.context["client_config"] = Config(s3={"payload_signing_enabled": True})
    S3SigV4Auth(BotocoreCredentials("AKID", "secret"), "s3", "eu-central-1").add_auth(request)
    date = request.headers["X-Amz-Date"]

    ours = sign(
        "PUT",
        path,
        "",
        [("host", "bucket.s3.eu-central-1.amazonaws.com"), ("x-amz-content-sha256", digest)],
        body,
        credentials=Credentials("AKID", "secret"),
        region="eu-central-1",
        service="s3",
        epoch_ms=calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ")) * 1_000,
    )

    assert dict(ours)["authorization"] == request.headers["Authorization"]


def test_the_hash_of_the_content_is_sent_and_signed(proxy, open_bucket):
    open_bucket(proxy.url).put("k", b"content", deadline_ms=soon())

    (seen,) = proxy.seen
    assert seen.headers["x-amz-content-sha256"] == hashlib.sha256(b"content").hexdigest()
    assert "x-amz-content-sha256" in seen.headers["authorization"]


@pytest.mark.parametrize(
    "fault",
    [
        "drop",
        "lose",
        Refusal(503, "SlowDown"),
        Refusal(500, "InternalError"),
        Refusal(429, "Throttling"),
    ],
)
def test_what_may_pass_is_asked_again(proxy, open_bucket, fault):
    bucket = open_bucket(proxy.url)
    for call in (
        lambda: bucket.put("again", b"content", deadline_ms=soon()),
        lambda: bucket.get("again", deadline_ms=soon()),
        lambda: bucket.copy("again", "again", deadline_ms=soon()),
        lambda: bucket.delete("again", deadline_ms=soon()),
    ):
        proxy.seen.clear()
        proxy.plan = [fault, fault]
        assert call() in (None, b"content", True)
        assert len(proxy.seen) == 3
    assert all(0 <= wait <= 0.1 for wait in open_bucket.slept)


def test_a_copy_that_failed_behind_a_good_status_is_made_again(proxy, open_bucket):
    bucket = open_bucket(proxy.url)
    bucket.put("copied", b"x", deadline_ms=soon())
    proxy.seen.clear()
    proxy.plan = [Refusal(200, "InternalError")]

    assert bucket.copy("copied", "copied", deadline_ms=soon())
    assert proxy.methods() == ["PUT", "PUT"]


def test_an_outage_is_told_when_the_attempts_are_over(proxy, open_bucket):
    proxy.always = Refusal(503, "SlowDown")

    with pytest.raises(StoreUnavailableError, match="SlowDown words"):
        open_bucket(proxy.url).get("k", deadline_ms=soon())

    assert len(proxy.seen) == 6


def test_silence_ends_before_the_deadline(proxy, open_bucket):
    proxy.always = "silent"
    deadline_ms = soon(0.5)

    with pytest.raises(StoreUnavailableError, match="did not do it in time"):
        open_bucket(proxy.url).get("k", deadline_ms=deadline_ms)

    assert SystemClock().epoch_ms() <= deadline_ms


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            Refusal(403, "AccessDenied"),
            ["s3:GetObject", "arn:aws:s3:::objects-of-tests/some/prefix/*", "may also be gone"],
        ),
        (Refusal(403, "InvalidAccessKeyId"), ["credentials are not accepted"]),
        (Refusal(403, "RequestTimeTooSkewed"), ["clock"]),
        (
            Refusal(301, "PermanentRedirect", {"x-amz-bucket-region": "eu-west-1"}),
            ["?region=eu-west-1"],
        ),
        (Refusal(400, "AuthorizationHeaderMalformed"), ["?region=REGION"]),
        (Refusal(400, "InvalidRequest"), ["InvalidRequest", "words"]),
    ],
)  # fmt: skip
def test_what_does_not_pass_says_what_to_change(proxy, open_bucket, fault, words):
    proxy.plan = [fault]

    with pytest.raises(StoreRefusedError) as caught:
        open_bucket(proxy.url).get("k", deadline_ms=soon())

    assert all(
        word in caught.value.detail for word in [*words, "s3://objects-of-tests/some/prefix/k"]
    )
    assert len(proxy.seen) == 1


def test_an_expired_token_is_renewed_once(proxy, open_bucket):
    proxy.plan = [Refusal(400, "ExpiredToken")]
    assert open_bucket(proxy.url).get("nobody", deadline_ms=soon()) is None

    proxy.plan = [Refusal(400, "ExpiredToken")] * 2
    with pytest.raises(StoreRefusedError, match="credentials are not accepted"):
        open_bucket(proxy.url).get("k", deadline_ms=soon())


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("s3://bucket", Location("bucket", "", "")),
        ("s3://my.bucket-1/a/b/", Location("my.bucket-1", "a/b", "")),
        (" s3://bucket/p?region=eu-west-1 ", Location("bucket", "p", "eu-west-1")),
    ],
)
def test_a_place_is_taken_apart(url, location):
    assert parse_location(url, "VARIABLE") == location


@pytest.mark.parametrize(
    "url",
    ["", "bucket", "https://bucket", "s3://", "s3://ab", "s3://Bucket", "s3://b_cket", "s3://-bucket",
     "s3://bu..cket", "s3://bucket//a", "s3://bucket/a//b", "s3://bucket/../b", "s3://bucket/a b",
     "s3://bucket/%41", "s3://bucket/ü", "s3://bucket?region=", "s3://bucket?profile=x"],
)  # fmt: skip
def test_what_is_no_place_is_told_so(url):
    with pytest.raises(SettingError) as caught:
        parse_location(url, "VARIABLE")

    assert "VARIABLE" in caught.value.detail
    assert "s3://BUCKET" in caught.value.detail
