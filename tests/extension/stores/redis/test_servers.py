"""A real server that is killed, hangs, is full, fails over, or refuses us."""

import contextlib

import pytest

from fakes.redis_servers import RedisServer, serve_redis
from lambda_runtime_api.emulator.network import Relay
from lambdallm_extension.errors import (
    StoreRefusedError,
    StoreUnavailableError,
    WriteUncertainError,
)
from lambdallm_extension.ports import ABSENT, Add, Item, Key, Put
from lambdallm_extension.settings import SystemClock


@pytest.fixture
def server(tmp_path):
    """One that a test may break."""
    with serve_redis(tmp_path / "own") as own:
        yield own


@pytest.fixture
def own(connect, server):
    return connect(server.url)


def soon():
    return SystemClock().epoch_ms() + 600


def test_what_was_acknowledged_is_there_after_a_crash(own, server, key, deadline_ms):
    own.put_if(Put(Item(key, {"a": 1})), deadline_ms=deadline_ms)
    server.kill()
    with pytest.raises(StoreUnavailableError):
        own.get(key, deadline_ms=deadline_ms)
    with pytest.raises(StoreUnavailableError, match="No connection"):
        own.put_if(Put(Item(key, {"a": 2})), deadline_ms=deadline_ms)

    server.start()

    assert own.get(key, deadline_ms=deadline_ms).attributes == {"a": 1}
    own.put_if(Put(Item(key, {"a": 2})), deadline_ms=deadline_ms)


def test_a_server_that_hangs_leaves_a_write_uncertain(own, server, key, deadline_ms):
    own.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
    server.pause()
    try:
        with pytest.raises(WriteUncertainError, match="may have been written"):
            own.add_if(Add(key, {"n": 1}), deadline_ms=soon())
        with pytest.raises(StoreUnavailableError, match="No handshake"):
            own.add_if(Add(key, {"n": 1}), deadline_ms=soon())  # it never left
        with pytest.raises(StoreUnavailableError):
            own.get(key, deadline_ms=soon())
    finally:
        server.go_on()

    assert own.get(key, deadline_ms=deadline_ms).attributes["n"] in (1, 2)


def test_a_connection_that_the_server_has_closed_is_not_used(own, server, waits, key, deadline_ms):
    own.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
    server.admin.client_kill_filter(_type="normal", skipme=True)

    own.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms)

    assert own.get(key, deadline_ms=deadline_ms).attributes == {"n": 2}
    assert waits == []


def test_a_connection_that_the_network_has_forgotten_is_given_up(connect, server, key, deadline_ms):
    with Relay(server.url) as relay:
        store = connect(relay.url)
        store.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
        relay.swallow()

        assert store.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms).attributes == {"n": 2}
        relay.cut()
        store.reopen()
        assert store.get(key, deadline_ms=deadline_ms).attributes == {"n": 2}


def test_a_server_that_forgot_its_scripts_is_sent_them(own, server, key, deadline_ms):
    own.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
    server.admin.script_flush()

    assert own.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms).attributes == {"n": 2}
    server.admin.script_flush()
    assert own.get(key, deadline_ms=deadline_ms).attributes == {"n": 2}
    server.admin.script_flush()
    assert len(own.query(key.pk, "", deadline_ms=deadline_ms)) == 1


def test_a_full_server_writes_nothing_and_is_still_read(own, server, key, deadline_ms):
    other = Key(key.pk, "OTHER")
    for each in (key, other):
        own.put_if(Put(Item(each, {"n": 1})), deadline_ms=deadline_ms)
    server.admin.config_set("maxmemory", 1)

    for write in (
        lambda: own.put_if(Put(Item(key, {"n": 2})), deadline_ms=deadline_ms),
        lambda: own.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms),
        lambda: own.transact([Add(key, {"n": 1})], token="t", deadline_ms=deadline_ms),
    ):
        with pytest.raises(StoreUnavailableError, match="full"):
            write()
    assert own.get(key, deadline_ms=deadline_ms).attributes == {"n": 1}
    own.delete(other, deadline_ms=deadline_ms)
    assert [item.key for item in own.query(key.pk, "", deadline_ms=deadline_ms)] == [key]

    server.admin.config_set("maxmemory", 0)
    assert own.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms).attributes == {"n": 2}


def test_a_replica_answers_nothing(own, server, key, deadline_ms):
    own.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
    server.admin.replicaof("127.0.0.1", "1")
    assert server.admin.exists(*server.admin.keys("*HEAD*"))  # It would still say what it knows.

    for ask in (
        lambda: own.get(key, deadline_ms=deadline_ms),
        lambda: own.query(key.pk, "", deadline_ms=deadline_ms),
        lambda: own.put_if(Put(Item(key, {}), ABSENT), deadline_ms=deadline_ms),
        lambda: own.delete(key, deadline_ms=deadline_ms),
    ):
        with pytest.raises(StoreUnavailableError, match="replica"):
            ask()

    server.admin.replicaof("NO", "ONE")
    assert own.get(key, deadline_ms=deadline_ms).attributes == {"n": 1}


def test_a_primary_without_its_replicas_answers_nothing(own, server, key, deadline_ms):
    own.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
    server.admin.config_set("min-replicas-to-write", 1)

    for ask in (
        lambda: own.get(key, deadline_ms=deadline_ms),
        lambda: own.put_if(Put(Item(key, {"n": 2})), deadline_ms=deadline_ms),
    ):
        with pytest.raises(StoreUnavailableError, match="replicas"):
            ask()

    server.admin.config_set("min-replicas-to-write", 0)
    assert own.get(key, deadline_ms=deadline_ms).attributes == {"n": 1}


def test_after_a_failover_the_name_leads_to_the_new_primary(
    store, proxy, redis_server, tmp_path, key, deadline_ms
):
    with serve_redis(tmp_path / "replica") as other:
        store.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
        replicate(other, redis_server)
        try:
            other.admin.replicaof("NO", "ONE")
            replicate(redis_server, other)
            proxy.server_port = other.port  # the connection that is open leads to the old one

            assert store.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms).attributes == {"n": 2}
            assert store.get(key, deadline_ms=deadline_ms).attributes == {"n": 2}
        finally:
            redis_server.admin.replicaof("NO", "ONE")


def replicate(replica: RedisServer, primary: RedisServer) -> None:
    replica.admin.config_set("repl-diskless-sync-delay", 0)
    primary.admin.config_set("repl-diskless-sync-delay", 0)
    replica.admin.replicaof("127.0.0.1", str(primary.port))
    primary.admin.set("seen", "yes")
    primary.admin.wait(1, 20_000)


def test_who_is_not_let_in_is_told_what_to_mend(connect, server, key, deadline_ms):
    server.admin.acl_setuser(
        "ours", enabled=True, passwords=["+p@ss/word?"], keys=["lambdallm:*"],
        categories=["+@read", "+@write", "+@scripting", "+@connection"],
    )  # fmt: skip
    server.admin.acl_setuser(
        "reader", enabled=True, passwords=["+x"], keys=["*"], categories=["+@read", "+@connection"]
    )
    server.admin.acl_setuser("default", enabled=True, passwords=["+secret"], reset_passwords=True)
    at = server.url.removeprefix("redis://")
    good = connect(f"redis://ours:p%40ss%2Fword%3F@{at}")
    for days, sk in enumerate(("A", "B", "HEAD")):
        item = Item(Key(key.pk, sk), {"n": 1}, 4_000_000_000 + days * 86_400)
        good.put_if(Put(item), deadline_ms=deadline_ms)
    assert good.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms).attributes == {"n": 2}
    assert connect(f"redis://:secret@{at}").get(key, deadline_ms=deadline_ms) is not None

    for userinfo, told in (("", "password"), ("ours:no@", "password"), ("reader:x@", "@scripting")):
        with pytest.raises(StoreRefusedError, match=told):
            connect(f"redis://{userinfo}{at}").get(key, deadline_ms=deadline_ms)
    with pytest.raises(StoreRefusedError, match="PREFIX"):
        connect(f"redis://ours:p%40ss%2Fword%3F@{at}?prefix=not-ours").get(
            key, deadline_ms=deadline_ms
        )


@pytest.mark.parametrize("command", ["set", "zadd", "zrem", "expireat", "persist", "pttl", "del"])
def test_whose_user_lacks_a_command_has_nothing_half_written(
    connect, server, key, deadline_ms, command
):
    server.admin.acl_setuser(
        "ours", enabled=True, passwords=["+x"], keys=["*"], categories=["+@all"],
        commands=[f"-{command}"],
    )  # fmt: skip
    store = connect(server.url.replace("redis://", "redis://ours:x@"))
    puts = [Put(Item(Key(key.pk, sk), {"n": 1}, 4_000_000_000)) for sk in ("A", "B")]

    with pytest.raises(StoreRefusedError, match="@write"):
        store.transact(puts, token="t", deadline_ms=deadline_ms)

    assert server.admin.keys("*") == []


def test_prefixes_and_databases_do_not_mix(connect, redis_server, key, deadline_ms):
    urls = [redis_server.url, f"{redis_server.url}/3", f"{redis_server.url}?prefix=other"]
    stores = [connect(url) for url in urls]
    for number, store in enumerate(stores):
        store.put_if(Put(Item(key, {"n": number}), ABSENT), deadline_ms=deadline_ms)

    found = [store.get(key, deadline_ms=deadline_ms).attributes["n"] for store in stores]
    assert found == [0, 1, 2]
    assert [len(store.query(key.pk, "", deadline_ms=deadline_ms)) for store in stores] == [1, 1, 1]


def test_what_others_wrote_under_our_keys_is_refused_by_name(own, server, key, deadline_ms):
    own.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
    (name,) = server.admin.keys("*:i:HEAD")
    server.admin.hset(name, "n", "not JSON")
    with pytest.raises(StoreRefusedError, match=r"pk='TEST#.*sk='HEAD'"):
        own.get(key, deadline_ms=deadline_ms)

    server.admin.delete(name)
    server.admin.set(name, "text")
    for ask in (
        lambda: own.get(key, deadline_ms=deadline_ms),
        lambda: own.put_if(Put(Item(key, {}), ABSENT), deadline_ms=deadline_ms),
    ):
        with pytest.raises(StoreRefusedError, match="not lambdallm's"):
            ask()
    server.admin.delete(name)
    (order,) = server.admin.keys("*:x")
    server.admin.delete(order)
    server.admin.set(order, "text")
    with pytest.raises(StoreRefusedError, match="not lambdallm's"):
        own.put_if(Put(Item(key, {}), ABSENT), deadline_ms=deadline_ms)
    assert not server.admin.exists(name)


def test_a_closed_store_opens_again(own, server, key, deadline_ms):
    own.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
    with contextlib.suppress(StoreUnavailableError):
        own.close()
    assert server.admin.client_list(_type="normal")[1:] == []

    assert own.get(key, deadline_ms=deadline_ms).attributes == {"n": 1}
