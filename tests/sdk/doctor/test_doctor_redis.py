"""What the doctor says of a Redis: a real one, in every state that loses sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakes.redis_servers import RedisServer, serve_redis, serve_redis_over_tls
from lambda_runtime_api.emulator.server import free_port
from lambdallm_cli.doctor.redis_servers import judge
from lambdallm_extension.errors import SettingError
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_extension.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.aws_account import AwsAccount
    from sdk.doctor.conftest import Diagnose

    Environ = dict[str, str | None]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with serve_redis(tmp_path / "redis") as redis_server:
        yield redis_server


def test_one_that_keeps_everything(
    diagnose: Diagnose, environ: Environ, server: RedisServer
) -> None:
    environ["LAMBDALLM_STORE"] = f"{server.url}/1?prefix=chat"

    diagnosis = diagnose()

    states = [diagnosis.state(check) for check in ("store", "eviction", "durability")]
    assert states == ["ok", "ok", "ok"]
    assert f"127.0.0.1:{server.port}" in diagnosis.words("store")


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_one_that_throws_sessions_out(
    diagnose: Diagnose, environ: Environ, server: RedisServer, policy: str
) -> None:
    environ["LAMBDALLM_STORE"] = server.url
    server.admin.config_set("maxmemory-policy", policy)

    diagnosis = diagnose()

    assert diagnosis.state("eviction") == "warn"
    assert policy in diagnosis.words("eviction")
    assert "noeviction" in diagnosis.words("eviction")


def test_one_that_forgets_in_a_crash(
    diagnose: Diagnose, environ: Environ, server: RedisServer
) -> None:
    environ["LAMBDALLM_STORE"] = server.url
    server.admin.config_set("appendonly", "no")

    assert diagnose().state("durability") == "warn"


def test_one_that_asks_for_a_password_is_not_told_on(
    diagnose: Diagnose, environ: Environ, server: RedisServer
) -> None:
    server.admin.acl_setuser("default", enabled=True, passwords=["+s3cret"], reset_passwords=True)
    at = server.url.removeprefix("redis://")
    for userinfo, state in ((":s3cret@", "ok"), (":wr0ng@", "fail"), ("", "fail")):
        environ["LAMBDALLM_STORE"] = f"redis://{userinfo}{at}"
        diagnosis = diagnose()
        assert diagnosis.state("store") == state
        assert "s3cret" not in diagnosis.words("store")
        assert "wr0ng" not in diagnosis.words("store")


def test_one_that_does_not_let_itself_be_looked_at(
    diagnose: Diagnose, environ: Environ, server: RedisServer
) -> None:
    server.admin.acl_setuser(
        "ours", enabled=True, passwords=["+x"], categories=["+@all", "-@dangerous"], keys=["*"]
    )
    environ["LAMBDALLM_STORE"] = server.url.replace("redis://", "redis://ours:x@")

    assert diagnose().state("store") == "warn"


def test_one_that_is_not_there(diagnose: Diagnose, environ: Environ) -> None:
    environ["LAMBDALLM_STORE"] = f"redis://u:s3cret@127.0.0.1:{free_port()}"

    diagnosis = diagnose()

    assert (diagnosis.code, diagnosis.state("store")) == (3, "outside")
    assert "s3cret" not in diagnosis.words("store")


def test_one_that_the_function_may_see_and_we_do_not(
    diagnose: Diagnose, account: AwsAccount
) -> None:
    variables = account.functions["chat"]["Environment"]["Variables"]
    variables["LAMBDALLM_STORE"] = f"redis://127.0.0.1:{free_port()}"

    diagnosis = diagnose("--function", "chat")

    assert diagnosis.state("store") == "warn"
    assert "VPC" in diagnosis.words("store")


def test_one_over_tls(diagnose: Diagnose, environ: Environ, tmp_path: Path) -> None:
    with serve_redis_over_tls(tmp_path / "tls") as (server, authority):
        environ["LAMBDALLM_STORE"] = f"{server.url}?ca={authority}"
        assert diagnose().state("store") == "ok"
        environ["LAMBDALLM_STORE"] = server.url
        assert diagnose().state("store") == "outside"


@pytest.mark.parametrize("url", ["redis:x", "redis://", "redis://host/a", "redis://host?db=1"])
def test_what_the_sidecar_refuses(diagnose: Diagnose, environ: Environ, url: str) -> None:
    environ["LAMBDALLM_STORE"] = url
    settings = Settings.from_environ({"LAMBDALLM_STORE": url})
    with pytest.raises(SettingError):
        open_store(settings, SystemClock(), None)  # type: ignore[arg-type]  # never asked

    assert (diagnose().code, diagnose().state("store")) == (1, "fail")


def test_one_that_is_too_old() -> None:
    (finding,) = judge("redis://host", {"redis_version": "5.0.14"})

    assert finding.state == "fail"
    assert "6 or newer" in finding.advice
