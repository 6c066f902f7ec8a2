"""A table and a bucket beside it, with a proxy before the bucket."""

import pytest

from extension.stores.payloads.large_turns import BUCKET, TABLE_URL
from fakes.s3_proxy import S3Proxy
from lambdallm_extension.ports import Key


@pytest.fixture
def proxy(ministack):
    with S3Proxy(ministack) as proxy:
        yield proxy


@pytest.fixture
def prefix(partition):
    """Of this test's objects."""
    return partition.replace("#", "-")


@pytest.fixture
def objects(ministack, prefix):
    """Keys and bytes of this test's objects, read by boto3."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=ministack, region_name="us-east-1",
        aws_access_key_id="testing", aws_secret_access_key="testing",
    )  # fmt: skip

    class Objects:
        def names(self):
            found = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/")
            return [each["Key"].removeprefix(f"{prefix}/") for each in found.get("Contents", ())]

        def read(self, key):
            return client.get_object(Bucket=BUCKET, Key=f"{prefix}/{key}")["Body"].read()

        def write(self, key, body):
            client.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=body)

        def delete(self, key):
            client.delete_object(Bucket=BUCKET, Key=f"{prefix}/{key}")

    yield Objects()
    client.close()


@pytest.fixture
def open_with(open_at, ministack, prefix):
    """Open the table with a bucket at an endpoint, a proxy mostly."""

    def make(endpoint, clock=None, **environ):
        return open_at(
            TABLE_URL,
            clock,
            AWS_ENDPOINT_URL_DYNAMODB=ministack,
            AWS_ENDPOINT_URL_S3=endpoint,
            LAMBDALLM_PAYLOADS=f"s3://{BUCKET}/{prefix}",
            **environ,
        )

    return make


@pytest.fixture
def store(open_with, proxy):
    return open_with(proxy.url)


@pytest.fixture
def bare(open_at, ministack):
    """The same table, with no bucket named."""
    return open_at(TABLE_URL, AWS_ENDPOINT_URL_DYNAMODB=ministack)


@pytest.fixture
def key(partition):
    return Key(partition, "TURN#000001#0")
