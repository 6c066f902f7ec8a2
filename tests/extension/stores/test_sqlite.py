"""What only the SQLite store has to promise: one file, many processes, and what is left in it."""

import sqlite3
import subprocess
import sys
import time

import pytest

from lambdallm_extension.errors import StoreRefusedError, StoreUnavailableError
from lambdallm_extension.ports import Add, Item, Key, Put
from lambdallm_extension.settings import SystemClock
from lambdallm_extension.stores import rules
from lambdallm_extension.stores.sqlite import SqliteStore

KEY = Key("p", "s")

WRITER = """
import sys
sys.path[:0] = {path!r}
from lambdallm_extension.ports import Add, Key
from lambdallm_extension.settings import SystemClock
from lambdallm_extension.stores.sqlite import SqliteStore
store, clock = SqliteStore({file!r}, SystemClock()), SystemClock()
sys.stdin.readline()
for _ in range({times}):
    store.add_if(Add(Key("p", "s"), {{"n": 1}}), deadline_ms=clock.epoch_ms() + 20_000)
"""

OPENER = """
import sys, time
sys.path[:0] = {path!r}
from lambdallm_extension.ports import Add, Key
from lambdallm_extension.settings import SystemClock
from lambdallm_extension.stores.sqlite import SqliteStore
start = float(sys.stdin.readline())
for number in range({files}):
    while time.time() < start + number * 0.02:
        pass
    store = SqliteStore("{folder}/" + str(number), SystemClock())
    store.add_if(Add(Key("p", "s"), {{"n": 1}}), deadline_ms=SystemClock().epoch_ms() + 20_000)
    store.close()
"""


@pytest.fixture
def file(tmp_path):
    return str(tmp_path / "new" / "file.db")


@pytest.fixture
def open_file(file):
    stores = []

    def make(clock=None):
        stores.append(SqliteStore(file, clock or SystemClock()))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def test_processes_that_open_a_new_file_together_lose_nothing(file, open_file, deadline_ms):
    code = WRITER.format(path=sys.path, file=file, times=25)
    writers = [
        subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE)
        for _ in range(4)
    ]
    for writer in writers:
        writer.stdin.write(b"go\n")
        writer.stdin.close()

    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    assert open_file().get(KEY, deadline_ms=deadline_ms).attributes == {"n": 100}


def test_new_files_that_are_opened_at_the_same_moment_are_waited_for(tmp_path, deadline_ms):
    code = OPENER.format(path=sys.path, folder=tmp_path, files=40)
    openers = [
        subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    start = time.time() + 0.5
    for opener in openers:
        opener.stdin.write(f"{start}\n")
        opener.stdin.close()

    assert [opener.wait(60) for opener in openers] == [0, 0, 0, 0]
    for number in range(40):
        store = SqliteStore(str(tmp_path / str(number)), SystemClock())
        assert store.get(KEY, deadline_ms=deadline_ms).attributes == {"n": 4}
        store.close()


def test_what_one_process_wrote_another_finds_after_it_was_killed(file, open_file, deadline_ms):
    code = WRITER.format(path=sys.path, file=file, times=3) + "import os; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-S", "-c", code], input=b"go\n", check=False)

    assert open_file().get(KEY, deadline_ms=deadline_ms).attributes == {"n": 3}


def test_a_file_that_somebody_holds_is_unavailable_at_the_deadline(open_file, file, deadline_ms):
    store = open_file()
    store.put_if(Put(Item(KEY, {"a": 1})), deadline_ms=deadline_ms)
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailableError, match="held by another process"):
        store.put_if(Put(Item(KEY, {"a": 2})), deadline_ms=SystemClock().epoch_ms() + 50)
    assert store.get(KEY, deadline_ms=deadline_ms).attributes == {"a": 1}
    holder.execute("ROLLBACK")
    holder.close()

    store.put_if(Put(Item(KEY, {"a": 3})), deadline_ms=deadline_ms)
    assert store.get(KEY, deadline_ms=deadline_ms).attributes == {"a": 3}


def test_after_the_deadline_nothing_is_written(open_file, deadline_ms):
    store = open_file()

    with pytest.raises(StoreUnavailableError):
        store.put_if(Put(Item(KEY, {})), deadline_ms=SystemClock().epoch_ms() - 1)

    assert store.get(KEY, deadline_ms=deadline_ms) is None


def test_a_file_of_a_newer_version_is_not_touched(open_file, file, deadline_ms):
    open_file().put_if(Put(Item(KEY, {})), deadline_ms=deadline_ms)
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 2")
    connection.close()

    with pytest.raises(StoreRefusedError, match="newer version"):
        open_file().get(KEY, deadline_ms=deadline_ms)


def test_a_file_that_is_no_database_is_named(tmp_path, deadline_ms):
    file = tmp_path / "notes.txt"
    file.write_text("not a database, just some notes of somebody" * 100)
    store = SqliteStore(str(file), SystemClock())

    with pytest.raises(StoreRefusedError, match=r"notes\.txt.*LAMBDALLM_STORE"):
        store.get(KEY, deadline_ms=deadline_ms)
    assert file.read_text().startswith("not a database")


def test_a_folder_that_cannot_be_made_is_named(tmp_path, deadline_ms):
    (tmp_path / "file").write_text("")
    store = SqliteStore(str(tmp_path / "file" / "x.db"), SystemClock())

    with pytest.raises(StoreRefusedError, match="LAMBDALLM_STORE"):
        store.get(KEY, deadline_ms=deadline_ms)


def test_expired_items_are_returned_until_they_are_swept(request, open_at, hand_clock):
    for store in (open_at("memory:", hand_clock), request.getfixturevalue("open_file")(hand_clock)):
        now, deadline_ms = hand_clock.now_ms // 1000, hand_clock.now_ms + 10**9
        old, young, timeless = Key("p", "old"), Key("p", "young"), Key("p", "timeless")
        store.put_if(Put(Item(old, {}, now + 1)), deadline_ms=deadline_ms)
        store.put_if(Put(Item(timeless, {})), deadline_ms=deadline_ms)

        hand_clock.now_ms += 1000 * rules.GRACE_SECONDS
        store.put_if(Put(Item(young, {}, now + 10**6)), deadline_ms=deadline_ms)
        assert store.get(old, deadline_ms=deadline_ms) == Item(old, {}, now + 1)

        hand_clock.now_ms += rules.SWEEP_EVERY_MS
        store.put_if(Put(Item(young, {}, now + 10**6)), deadline_ms=deadline_ms)
        left = [item.key.sk for item in store.query("p", "", deadline_ms=deadline_ms)]
        assert left == ["timeless", "young"]


def test_a_token_is_known_for_ten_minutes(open_at, open_file, hand_clock):
    for store in (open_at("memory:", hand_clock), open_file(hand_clock)):
        deadline_ms = hand_clock.now_ms + 10**9

        def run(store=store, deadline_ms=deadline_ms):
            store.transact([Add(KEY, {"n": 1})], token="t", deadline_ms=deadline_ms)
            return store.get(KEY, deadline_ms=deadline_ms).attributes["n"]

        assert run() == 1
        hand_clock.now_ms += rules.TOKEN_LIFETIME_MS - 1
        assert run() == 1
        hand_clock.now_ms += 1
        assert run() == 2


def test_a_forked_child_has_its_own_connection(file, open_file, deadline_ms):
    import os

    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    store = open_file()
    store.add_if(Add(KEY, {"n": 1}), deadline_ms=deadline_ms)

    child = os.fork()
    if child == 0:
        try:
            store.add_if(Add(KEY, {"n": 1}), deadline_ms=deadline_ms)
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    store.add_if(Add(KEY, {"n": 1}), deadline_ms=deadline_ms)
    assert store.get(KEY, deadline_ms=deadline_ms).attributes == {"n": 3}
