"""A cluster of three nodes, whose slots move and whose nodes die."""

import pytest
from redis.crc import key_slot

from fakes.redis_servers import RedisServer, serve_redis_cluster, wait_for_cluster
from lambdallm_extension.errors import StoreRefusedError, StoreUnavailableError
from lambdallm_extension.ports import ABSENT, Item, Key, Put
from lambdallm_extension.stores.redis_items import Keys


def slot_of(pk: str) -> int:
    return key_slot(Keys.of("lambdallm", pk).order.encode())


def owner_of(nodes: list[RedisServer], slot: int) -> RedisServer:
    for first, last, (_, port, *_), *_ in nodes[0].admin.execute_command("CLUSTER", "SLOTS"):
        if first <= slot <= last:
            return next(node for node in nodes if node.port == port)
    raise AssertionError(slot)


def name_of(node: RedisServer) -> str:
    name: bytes = node.admin.execute_command("CLUSTER", "MYID")
    return name.decode()


@pytest.fixture
def clustered(connect, redis_cluster):
    return connect(redis_cluster[0].url)


def test_every_node_has_its_partitions(clustered, redis_cluster, partition, deadline_ms):
    keys = [Key(f"{partition}-{number}", "HEAD") for number in range(30)]
    for key in keys:
        clustered.put_if(Put(Item(key, {"n": 1}), ABSENT), deadline_ms=deadline_ms)

    owners = {owner_of(redis_cluster, slot_of(key.pk)).port for key in keys}
    assert owners == {node.port for node in redis_cluster}
    for key in keys:
        assert clustered.get(key, deadline_ms=deadline_ms).attributes == {"n": 1}


def test_two_partitions_are_refused_before_anything_is_written(connect, redis_cluster, partition):
    deadline_ms = 2**45
    keys = [Key(f"{partition}-{number}", "HEAD") for number in range(2)]
    puts = [Put(Item(key, {})) for key in keys]
    for node in redis_cluster:
        store = connect(node.url)  # which learns only now that it is a cluster
        with pytest.raises(StoreRefusedError, match="cluster, which cannot write to two part"):
            store.transact(puts, token="t", deadline_ms=deadline_ms)
        assert [store.get(key, deadline_ms=deadline_ms) for key in keys] == [None, None]


def test_a_scan_reaches_every_node(clustered, partition, deadline_ms):
    keys = [Key(f"{partition}#{number}", "HEAD") for number in range(40)]
    for key in keys:
        clustered.put_if(Put(Item(key, {})), deadline_ms=deadline_ms)
    page = clustered.scan(f"{partition}#", "HEAD", deadline_ms=deadline_ms)
    found = list(page.items)
    while page.cursor:
        page = clustered.scan(f"{partition}#", "HEAD", cursor=page.cursor, deadline_ms=deadline_ms)
        found += page.items

    assert sorted(item.key for item in found) == sorted(keys)
    with pytest.raises(StoreRefusedError, match="begin the scan again"):
        clustered.scan("x", "HEAD", cursor="7@gone:1", deadline_ms=deadline_ms)


def test_a_slot_that_moves_is_followed(clustered, redis_cluster, waits, partition, deadline_ms):
    key, other = Key(partition, "HEAD"), Key(partition, "OTHER")
    clustered.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
    slot = slot_of(partition)
    source = owner_of(redis_cluster, slot)
    target = next(node for node in redis_cluster if node is not source)

    target.admin.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", name_of(source))
    source.admin.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", name_of(target))

    def move(*names):
        to = ("127.0.0.1", target.port, "", 0, 5_000)
        source.admin.execute_command("MIGRATE", *to, "KEYS", *names)

    def write():
        clustered.put_if(Put(Item(other, {})), deadline_ms=deadline_ms)

    names = source.admin.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)
    items = [name for name in names if b":i:" in name]
    move(*items)
    assert clustered.get(key, deadline_ms=deadline_ms).attributes == {"n": 1}
    assert waits == []  # It was told at once where to ask.
    for refused in (write, lambda: clustered.query(partition, "", deadline_ms=deadline_ms)):
        with pytest.raises(StoreUnavailableError):
            refused()

    move(*set(names) - {*items})
    assert len(clustered.query(partition, "", deadline_ms=deadline_ms)) == 1
    with pytest.raises(StoreUnavailableError, match="moving"):
        write()
    waits.clear()

    for node in redis_cluster:
        node.admin.execute_command("CLUSTER", "SETSLOT", slot, "NODE", name_of(target))
    write()
    assert waits == []
    assert len(clustered.query(partition, "", deadline_ms=deadline_ms)) == 2
    assert owner_of(redis_cluster, slot) is target


@pytest.mark.slow  # a node that comes back waits two seconds
def test_a_dead_node_takes_its_slots_along_and_no_others(connect, tmp_path, partition, deadline_ms):
    with serve_redis_cluster(tmp_path) as nodes:
        for node in nodes:
            node.admin.config_set("cluster-require-full-coverage", "no")
        store = connect(nodes[0].url)
        keys = [Key(f"{partition}-{number}", "HEAD") for number in range(20)]
        for key in keys:
            store.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
        owners = {key: owner_of(nodes, slot_of(key.pk)) for key in keys}
        nodes[0].kill()  # the one that the URL names

        gone = next(key for key in keys if owners[key] is nodes[0])
        there = next(key for key in keys if owners[key] is not nodes[0])
        with pytest.raises(StoreUnavailableError):
            store.get(gone, deadline_ms=deadline_ms)
        assert store.get(there, deadline_ms=deadline_ms).attributes == {"n": 1}

        nodes[0].start()
        wait_for_cluster(nodes)
        assert store.get(gone, deadline_ms=deadline_ms).attributes == {"n": 1}
