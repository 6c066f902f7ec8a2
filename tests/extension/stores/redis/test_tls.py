"""Redis over TLS: who is trusted, and what those are told who are not."""

import pytest

from fakes.redis_servers import serve_redis_over_tls
from lambdallm_extension.errors import SettingError, StoreUnavailableError
from lambdallm_extension.ports import Add, Item, Key, Put
from lambdallm_extension.settings import SystemClock


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """A server that speaks TLS alone, and the file of its authority."""
    with serve_redis_over_tls(tmp_path_factory.mktemp("tls")) as served:
        yield served


def test_a_named_authority_is_trusted(connect, secured, partition, deadline_ms):
    server, authority = secured
    key = Key(partition, "HEAD")
    for number, (url, environ) in enumerate([
        (f"{server.url}?ca={authority}", {}),
        (server.url, {"SSL_CERT_FILE": str(authority)}),
    ], start=1):  # fmt: skip
        store = connect(url, **environ)
        store.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms)
        assert store.get(key, deadline_ms=deadline_ms).attributes == {"n": number}
    large = Item(Key(partition, "LARGE"), {"text": "x" * 390_000})
    store.put_if(Put(large), deadline_ms=deadline_ms)
    assert store.get(large.key, deadline_ms=deadline_ms) == large
    server.admin.client_kill_filter(_type="normal", skipme=True)
    assert store.get(key, deadline_ms=deadline_ms) is not None


@pytest.mark.parametrize("environ", [{}, {"AWS_CA_BUNDLE": "/nowhere"}])
def test_nobody_else_is(connect, secured, partition, deadline_ms, environ):
    server, _ = secured
    with pytest.raises(SettingError, match=r"not trusted.*ca=FILE"):
        connect(server.url, **environ).get(Key(partition, "HEAD"), deadline_ms=deadline_ms)


def test_another_host_than_the_certificate_names_is_refused(
    connect, secured, partition, deadline_ms
):
    server, authority = secured
    url = f"rediss://localhost:{server.port}?ca={authority}"

    with pytest.raises(SettingError, match="not trusted"):
        connect(url).get(Key(partition, "HEAD"), deadline_ms=deadline_ms)


def test_a_file_that_is_not_there_is_named(connect, secured, partition, deadline_ms):
    server, _ = secured

    with pytest.raises(SettingError, match="/nowhere"):
        connect(f"{server.url}?ca=/nowhere").get(Key(partition, "HEAD"), deadline_ms=deadline_ms)


def test_plain_and_tls_do_not_meet(connect, secured, redis_server, partition):
    server, _ = secured
    deadline_ms = SystemClock().epoch_ms() + 500  # of two that wait for each other
    for url in (server.url.replace("rediss", "redis"), redis_server.url.replace("redis", "rediss")):
        with pytest.raises(StoreUnavailableError):
            connect(url).get(Key(partition, "HEAD"), deadline_ms=deadline_ms)
