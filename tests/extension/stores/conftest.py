"""Every store behind one fixture, the DynamoDB ones over servers that others wrote."""

import uuid
from collections.abc import Callable, Iterator

import boto3
import pytest

from fakes.clocks import HandClock
from fakes.redis_servers import RedisServer, serve_redis, serve_redis_cluster
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.ports import Key, Store
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_extension.stores import open_store

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
}
TABLE = "lambdallm-contract"
BUCKET = "lambdallm-payloads"


def create_table(endpoint: str) -> None:
    client = boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    client.create_table(
        TableName=TABLE,
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    client.close()


def create_bucket(endpoint: str) -> None:
    client = open_s3(endpoint)
    client.create_bucket(Bucket=BUCKET)
    client.close()


def open_s3(endpoint: str):
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@pytest.fixture(scope="session")
def ministack(ministack: str) -> str:
    """Endpoint of a DynamoDB-compatible server in a child process, with the table."""
    create_table(ministack)
    create_bucket(ministack)
    return ministack


@pytest.fixture(scope="session")
def moto(moto: str) -> str:
    """Endpoint of moto's server in a thread, with the table."""
    create_table(moto)
    return moto


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory) -> Iterator[RedisServer]:
    with serve_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory) -> Iterator[list[RedisServer]]:
    """Three nodes that share the slots."""
    with serve_redis_cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture
def open_at() -> Iterator[Callable[..., Store]]:
    """Open a store by its URL, with more variables and another clock if wanted."""
    stores: list[Store] = []

    def make(url: str, clock=None, **environ: str) -> Store:
        settings = Settings.from_environ({**KEYS, "LAMBDALLM_STORE": url, **environ})
        clock = clock or SystemClock()
        stores.append(open_store(settings, clock, CredentialSource(settings, clock)))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def partition() -> str:
    """A partition that no other test writes."""
    return f"TEST#{uuid.uuid4()}"


@pytest.fixture
def key(partition: str) -> Key:
    return Key(partition, "HEAD")


@pytest.fixture
def waits() -> list[float]:
    """What a store would have slept, if it is told so."""
    return []


@pytest.fixture
def hand_clock() -> HandClock:
    return HandClock()


@pytest.fixture
def deadline_ms() -> int:
    return SystemClock().epoch_ms() + 20_000
