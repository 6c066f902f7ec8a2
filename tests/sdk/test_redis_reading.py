"""What people look at in a Redis: all of a cluster, and no password."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from fakes.redis_servers import serve_redis_cluster
from lambda_runtime_api.emulator.server import free_port
from lambdallm_cli.commands import lambdallm
from lambdallm_cli.redis_reading import read_item, read_pages
from lambdallm_extension.ports import Item, Key, Put
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_extension.stores.redis import connect
from lambdallm_extension.stores.redis_urls import parse_url

if TYPE_CHECKING:
    from pathlib import Path


def test_every_node_of_a_cluster_is_read(tmp_path: Path) -> None:
    with serve_redis_cluster(tmp_path) as nodes:
        url, clock = nodes[1].url, SystemClock()
        store = connect(parse_url(url, url), Settings.from_environ({}), clock)
        for number in range(20):
            item = Item(Key(f"CALL#{number}", "CALL"), {"n": number, "none": None}, 4_000_000_000)
            store.put_if(Put(item), deadline_ms=clock.epoch_ms() + 20_000)
        store.close()

        pages = list(read_pages(url, "CALL#", "CALL"))
        one, none = (read_item(url, f"CALL#{number}", "CALL") for number in (7, 77))

    found = {call["id"]: call for page in pages for call in page}
    assert found == {f"{n}": {"id": f"{n}", "n": n, "none": None} for n in range(20)}
    assert (one, none) == ({"n": 7, "none": None}, None)


@pytest.mark.parametrize(
    ("url", "code", "told"),
    [
        ("redis://u:s3cret@127.0.0.1:{port}", 3, "127.0.0.1"),
        ("redis://u:s3cret@host?db=1", 2, "is no Redis"),
        ("redis://u:s3cret@host/one", 2, "is no Redis"),
        ("redis:u:s3cret@host", 2, "redis://HOST"),
    ],
)
def test_what_cannot_be_read_is_told_without_the_password(url: str, code: int, told: str) -> None:
    url = url.format(port=free_port())
    for command in (["list"], ["show", "abc"]):
        result = CliRunner().invoke(lambdallm, ["calls", *command, "--store", url])

        assert result.exit_code == code, result.output
        assert told in result.output
        assert "s3cret" not in result.output
