"""One store after the other, and short names for what is done to it.

The DynamoDB store is asked through two servers that others wrote. Where one of them is known to
differ from AWS, a test says so and leaves it out. `s3` is the first of them with a bucket beside it
for large texts, which are compressed.
"""

import threading

import pytest

from fakes.every_store import STORES
from fakes.moto_server import forget_items
from lambdallm_extension.errors import ConditionFailedError
from lambdallm_extension.ports import ALWAYS, Item, Key, Put


@pytest.fixture(params=STORES)
def store(request, open_at, tmp_path):
    if request.param == "memory":
        return open_at("memory:")
    if request.param == "sqlite":
        return open_at(f"sqlite:///{tmp_path}/folder/file.db")
    if request.param == "redis":
        return open_at(request.getfixturevalue("redis_server").url)
    if request.param == "redis_cluster":
        return open_at(request.getfixturevalue("redis_cluster")[0].url)
    if request.param == "s3":
        return open_at(
            "dynamodb://lambdallm-contract",
            AWS_ENDPOINT_URL=request.getfixturevalue("ministack"),
            LAMBDALLM_PAYLOADS="s3://lambdallm-payloads/contract",
            LAMBDALLM_COMPRESSION="zlib",
        )
    endpoint = request.getfixturevalue(request.param)
    return open_at("dynamodb://lambdallm-contract", AWS_ENDPOINT_URL_DYNAMODB=endpoint)


@pytest.fixture(autouse=True)
def emptied(request):
    """Let moto forget what a test has put: it copies all that it holds at each transaction."""
    yield
    if "moto" in request.node.name:
        forget_items("lambdallm-contract")


@pytest.fixture
def without(request):
    """Leave a test out for a server that is known to differ from AWS."""

    def skip(server, difference):
        if request.node.callspec.params["store"] in (server, {"ministack": "s3"}.get(server)):
            pytest.skip(f"{server} differs from AWS: {difference}")

    return skip


@pytest.fixture
def key(partition):
    return Key(partition, "HEAD")


@pytest.fixture
def put(store, deadline_ms):
    def write(key, attributes=None, expires_at=None, condition=ALWAYS):
        item = Item(key, attributes or {}, expires_at)
        store.put_if(Put(item, condition), deadline_ms=deadline_ms)

    return write


@pytest.fixture
def get(store, deadline_ms):
    return lambda key: store.get(key, deadline_ms=deadline_ms)


@pytest.fixture
def add(store, deadline_ms):
    return lambda change: store.add_if(change, deadline_ms=deadline_ms)


@pytest.fixture
def transact(store, deadline_ms, partition):
    def write(actions, token="t"):
        # Servers remember tokens for ten minutes, longer than a test run.
        token = f"{partition[-12:]}-{token}"
        store.transact(actions, token=token, deadline_ms=deadline_ms)

    return write


@pytest.fixture
def query(store, deadline_ms):
    return lambda pk, prefix, **more: store.query(pk, prefix, deadline_ms=deadline_ms, **more)


@pytest.fixture
def race():
    """Run `work(number)` in threads that start together; return what each returned or raised."""

    def start(count, work):
        gate, outcomes = threading.Barrier(count), [None] * count

        def run(number):
            gate.wait()
            try:
                outcomes[number] = work(number)
            except ConditionFailedError as error:
                outcomes[number] = error

        threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes

    return start
