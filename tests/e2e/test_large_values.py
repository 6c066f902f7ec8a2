"""Messages of 2 MB and conversations of 5 MB, through the layer, on every store."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.programs.large_talk import text_of
from fakes.redis_servers import RedisServer
from fakes.s3_proxy import Refusal, S3Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.conftest import Service, Start

PROGRAM = Path(__file__).parent / "programs/large_talk.py"
BUCKET = "lambdallm-large"

TALK = [(2_000_000, 2_000), (3_000, 900_000), (1_200_000, 30_000), (500_000, 600_000)]
"""Bytes of question and answer: 5.2 MB together."""


@pytest.fixture(scope="session")
def bucket(dynamodb: Service) -> str:
    """Beside the table, on the same server."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=dynamodb.url, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    client.create_bucket(Bucket=BUCKET)
    client.close()
    return BUCKET


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def variables(request: pytest.FixtureRequest, dynamodb: Service, tmp_path: Path) -> dict[str, str]:
    """What the function is told of a store, by the store's name."""
    found = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": dynamodb.url}
    table = f"dynamodb://{dynamodb.table}"
    if request.param == "redis":
        return found | {"LAMBDALLM_STORE": request.getfixturevalue("redis_url")}
    if request.param in ("s3", "zlib"):
        bucket = request.getfixturevalue("bucket")
        found |= {"LAMBDALLM_STORE": table, "LAMBDALLM_PAYLOADS": f"s3://{bucket}/e2e"}
        return found | ({"LAMBDALLM_COMPRESSION": "zlib"} if request.param == "zlib" else {})
    stores = {"memory": "memory:", "sqlite": f"sqlite:///{tmp_path}/large.db", "dynamodb": table}
    return found | {"LAMBDALLM_STORE": stores[request.param]}


def event(session: str, number: int, sizes: tuple[int, int]) -> dict[str, Any]:
    question, answer = sizes
    return {
        "session_id": session,
        "number": number,
        "question_bytes": question,
        "answer_bytes": answer,
    }


def remembered(talk: list[tuple[int, int]]) -> dict[str, Any]:
    texts = [
        text
        for number, (question, answer) in enumerate(talk)
        for text in (text_of(number, question), text_of(-number, answer))
    ]
    return {
        "turns": len(texts),
        "bytes": sum(len(text.encode()) for text in texts),
        "sha256": hashlib.sha256("\0".join(texts).encode()).hexdigest(),
    }


def answer_of(invocation: Any) -> Any:
    assert invocation.error_type is None, (invocation.payload, invocation.logs)
    return json.loads(json.loads(invocation.payload)["body"])


@pytest.mark.parametrize(
    "variables", ["memory", "sqlite", "redis", "dynamodb", "s3", "zlib"], indirect=True
)
def test_a_conversation_of_5_mb(
    emulator: Start,
    layer: Path,
    variables: dict[str, str],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    store = request.node.callspec.params["variables"]
    if store == "redis":
        layer = with_redis(layer, tmp_path)
    hold(emulator, layer, variables, store)


@pytest.mark.parametrize("variables", ["dynamodb", "s3"], indirect=True)
def test_a_conversation_of_5_mb_in_awss_emulator(
    aws: Start, layer: Path, variables: dict[str, str], request: pytest.FixtureRequest
) -> None:
    hold(aws, layer, variables, f"aws-{request.node.callspec.params['variables']}")


def with_redis(layer: Path, folder: Path) -> Path:
    """Lay what speaks Redis beside the sidecar, where a layer of its own brings it."""
    import redis

    opt = shutil.copytree(layer, folder / "opt", symlinks=True)
    package = Path(redis.__file__).parent
    shutil.copytree(package, opt / "lambdallm/lib/redis", dirs_exist_ok=True)
    return opt


def hold(host: Start, layer: Path, variables: dict[str, str], session: str) -> None:
    function = {"app.py": PROGRAM.read_text()}
    with host(
        function, "app.talk", opt=layer, variables=variables, memory_mb=256, timeout_seconds=20
    ) as environment:
        for number, sizes in enumerate(TALK):
            answer = answer_of(environment.invoke(event(session, number, sizes)))
            assert answer == remembered(TALK[:number]), number
        answer = answer_of(environment.invoke(event(session, len(TALK), (1, 1))))

    assert answer == remembered(TALK)
    assert answer["bytes"] > 5_000_000


def test_a_bucket_that_is_down_is_an_error_and_no_turn_is_lost_or_empty(
    emulator: Start, layer: Path, dynamodb: Service, bucket: str
) -> None:
    with S3Proxy(dynamodb.url) as proxy:
        variables = {
            "AWS_REGION": "us-east-1",
            "LAMBDALLM_STORE": f"dynamodb://{dynamodb.table}",
            "LAMBDALLM_PAYLOADS": f"s3://{bucket}/down",
            "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
            "AWS_ENDPOINT_URL_S3": proxy.url,
        }
        function = {"app.py": PROGRAM.read_text()}
        with emulator(
            function, "app.talk", opt=layer, variables=variables, timeout_seconds=4
        ) as environment:
            kept = [(100_000, 100_000)]
            answer_of(environment.invoke(event("down", 0, kept[0])))

            for fault in (Refusal(503, "SlowDown"), "silent", Refusal(404, "NoSuchKey")):
                proxy.always = fault
                failed = environment.invoke(event("down", 1, (100_000, 100_000)))
                # On a busy machine the SDK may stop waiting first, where the bucket is silent.
                told = {"StateError"} | ({"SidecarError"} if fault == "silent" else set())
                assert failed.error_type in told, failed.payload
                proxy.always = "pass"
                answer = answer_of(environment.invoke(event("down", len(kept), (50_000, 1))))
                assert answer == remembered(kept)
                kept.append((50_000, 1))
