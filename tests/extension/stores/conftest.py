"""Every store behind one fixture, the DynamoDB ones over servers that others wrote."""

import logging
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator

import boto3
import pytest

from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.ports import Store
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_extension.stores import open_store

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
}
TABLE = "lambdallm-contract"
START_MS = 1_790_000_000_000


class HandClock:
    """Stands still until somebody moves it."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def epoch_ms(self) -> int:
        return self.now_ms

    def monotonic(self) -> float:
        return self.now_ms / 1_000


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


def wait_until_listening(port: int, process: subprocess.Popen) -> None:
    for _ in range(2000):
        if process.poll() is not None:
            pytest.fail(f"The DynamoDB server ended with {process.returncode}.")
        try:
            socket.create_connection(("127.0.0.1", port), 0.1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    pytest.fail("The DynamoDB server does not listen.")


@pytest.fixture(scope="session")
def ministack(tmp_path_factory) -> Iterator[str]:
    """Endpoint of a DynamoDB-compatible server in a child process, with the table."""
    pytest.importorskip("ministack")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    folder = tmp_path_factory.mktemp("ministack")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            cwd=folder,
            env={**os.environ, "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_listening(port, process)
        endpoint = f"http://127.0.0.1:{port}"
        create_table(endpoint)
        yield endpoint
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Endpoint of moto's server in a thread, with the table."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        create_table(endpoint)
        yield endpoint
    finally:
        server.stop()


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
def hand_clock() -> HandClock:
    return HandClock()


@pytest.fixture
def deadline_ms() -> int:
    return SystemClock().epoch_ms() + 20_000
