"""Which Redis is asked: the one that the URL names, or in a cluster the one that has the slot.

    call ─► pool of the slot's node ─► connection ─► reply
              ▲                            └─ MOVED, ASK: the node it names, at once
              └─ CLUSTER SLOTS of any node that answers, after MOVED or a node that does not

Nothing is repeated here but what was certainly not done.
"""

from __future__ import annotations

from threading import Lock, Thread
from typing import Any

from redis import exceptions
from redis.crc import key_slot

from lambdallm_extension.errors import DeadlineError, SettingError, StoreRefusedError
from lambdallm_extension.http_client.connection import Patience
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError
from lambdallm_extension.http_client.pool import Pool
from lambdallm_extension.stores.redis_connections import RedisConnection
from lambdallm_extension.stores.redis_refusals import Outcome, Refusal, read_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdallm_extension.ports import Clock
    from lambdallm_extension.stores.redis_scripts import Script
    from lambdallm_extension.stores.redis_urls import Target

    Address = tuple[str, int]

REDIRECTIONS_MAX = 5
"""Of one call; a cluster whose nodes agree needs one."""

OPEN_AHEAD_MS = 2_000

KEPT_READ_SECONDS = 1.0
"""For an answer on a connection that was idle: a network that forgot it says nothing."""


_ELSEWHERE = ("LOADING", "MASTERDOWN", "READONLY")
"""Whoever says this is not the server to ask: after a failover, names lead elsewhere."""


class RefusedError(Exception):
    """The server refused; nothing was done."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Nodes:
    """The servers of one URL. Threads share it."""

    def __init__(self, target: Target, clock: Clock, environ: Mapping[str, str]) -> None:
        """Name them; nothing is connected yet."""
        self._target = target
        self._clock = clock
        self._environ = environ
        self._lock = Lock()
        self._pools: dict[Address, Pool] = {}
        self._slots: list[tuple[int, int, Address]] = []
        self._stale = False
        self._opening = Lock()
        self.clustered: bool | None = None
        """None until the first one has answered."""

    @property
    def name(self) -> str:
        """What errors call it."""
        return self._target.name

    def learn(self, patience: Patience) -> bool:
        """Return whether it is a cluster, which the first connection tells.

        Raises:
            RefusedError, NotSentError, AnswerLostError, DeadlineError, SettingError: As `run`.
        """
        if self.clustered is None or self._stale:
            self._look(patience)
        return bool(self.clustered)

    def run(
        self,
        script: Script,
        keys: tuple[bytes, ...],
        arguments: tuple[bytes, ...],
        patience: Patience,
    ) -> Any:
        """Run a script where its keys are, and return its reply.

        Raises:
            RefusedError: The server's refusal; nothing was done.
            DeadlineError, NotSentError: It did not leave; nothing was done.
            AnswerLostError: It left whole, and no answer came.
            SettingError: The certificate is not trusted.
        """
        address = self._address(keys[0], patience)
        asking = False
        rest = (str(len(keys)).encode(), *keys, *arguments)
        command: tuple[Any, ...] = ("EVALSHA", script.digest, *rest)
        for _ in range(REDIRECTIONS_MAX):
            try:
                return self._exchange(address, command, patience, asking=asking)
            except RefusedError as error:
                refusal = error.refusal
                if refusal.outcome == Outcome.UNKNOWN:
                    command = ("EVAL", script.text, *rest)
                elif refusal.moved_to is not None:
                    host, port = refusal.moved_to
                    address, asking = (host or address[0], port), refusal.asking
                    self._stale = self._stale or not asking
                else:
                    self._stale = self._stale or bool(self.clustered)
                    raise
            except (NotSentError, AnswerLostError):
                self._stale = self._stale or bool(self.clustered)
                raise
        message = f"{self.name}: the cluster's nodes do not agree on who has the slot."
        raise NotSentError(message)

    def scan(
        self, pattern: bytes, count: int, cursor: str, patience: Patience
    ) -> tuple[list[bytes], str]:
        """Return keys that a pattern fits, and the cursor that goes on, "" behind the last node.

        Raises:
            StoreRefusedError: The cursor is of a node that is none any more.
            RefusedError, DeadlineError, NotSentError, AnswerLostError, SettingError: As `run`.
        """
        nodes = [(self._target.host, self._target.port)]
        if self.learn(patience):
            nodes = sorted({address for *_, address in self._slots})
        names = [f"{host}:{port}" for host, port in nodes]
        at, _, name = cursor.partition("@")
        if name and name not in names:
            message = f"{name} left the cluster meanwhile: begin the scan again."
            raise StoreRefusedError(message)
        number = names.index(name) if name else 0
        command = ("SCAN", at or "0", "MATCH", pattern, "COUNT", count)
        following, found = self._exchange(nodes[number], command, patience, asking=False)
        left = int(following)
        if not left and number + 1 < len(nodes):
            return found, f"0@{names[number + 1]}"
        return found, f"{left}@{names[number]}" if left else ""

    def reopen(self) -> None:
        """Drop connections that a freeze may have killed; open one beside the caller."""
        with self._lock:
            pools = list(self._pools.values())
        kept = sum(pool.drop_idle(suspect_only=True) for pool in pools)
        if not kept and self._opening.acquire(blocking=False):
            Thread(target=self._open_ahead, name=f"open {self.name}", daemon=True).start()

    def close(self) -> None:
        """Close the connections, those in use when their call ends."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close()

    def _exchange(
        self, address: Address, command: tuple[Any, ...], patience: Patience, *, asking: bool
    ) -> Any:
        pool = self._pool(address)
        connection: Any = pool.take(patience)
        if connection is not None:
            patience = patience._replace(read_seconds=min(KEPT_READ_SECONDS, patience.read_seconds))
        else:
            connection = self._open(pool, address, patience)
        whole = False
        try:
            if asking:
                connection.call(("ASKING",), patience)
            reply = connection.call(command, patience)
            whole = True
        except exceptions.RedisError as error:
            refused = _refused(error)
            whole = refused.refusal.code not in _ELSEWHERE
            if not whole:
                pool.drop_idle()  # The name may lead to another server by now.
            raise refused from error
        except (AnswerLostError, NotSentError):
            pool.drop_idle()  # What killed this one has killed those that are older.
            raise
        finally:
            (pool.put if whole else pool.drop)(connection)
        return reply

    def _open(self, pool: Pool, address: Address, patience: Patience) -> RedisConnection:
        """Open a connection for a permit that the pool has given; hand it back on failure."""
        opened = None
        target = self._target._replace(host=address[0], port=address[1])
        try:
            opened = RedisConnection(target, self._environ, patience)
        except exceptions.RedisError as error:
            raise _refused(error) from error
        finally:
            if opened is None:
                pool.drop(None)
        if self.clustered is None:
            self.clustered = opened.clustered
            self._stale = opened.clustered
        return opened

    def _pool(self, address: Address) -> Any:
        with self._lock:
            if address not in self._pools:
                self._pools[address] = Pool(self._clock)
            return self._pools[address]

    def _address(self, key: bytes, patience: Patience) -> Address:
        if self.clustered is None or self._stale:
            self._look(patience)
        if self.clustered:
            slot = key_slot(key)
            for first, last, address in self._slots:
                if first <= slot <= last:
                    return address
        return self._target.host, self._target.port

    def _look(self, patience: Patience) -> None:
        """Ask who we talk to and, of a cluster, who has which slot."""
        named = (self._target.host, self._target.port)
        failure: Exception | None = None
        for address in dict.fromkeys((named, *(address for *_, address in self._slots))):
            try:
                pool = self._pool(address)
                connection: Any = pool.take(patience) or self._open(pool, address, patience)
                pool.put(connection)
                if self.clustered:
                    slots = self._exchange(address, ("CLUSTER", "SLOTS"), patience, asking=False)
                    self._slots = _slots(slots, address[0])
                self._stale = False
            except (NotSentError, AnswerLostError, RefusedError) as error:
                failure = failure or error
            else:
                return
        if isinstance(failure, AnswerLostError):  # of a question: nothing was written
            raise NotSentError(failure.detail) from failure
        if failure is not None:
            raise failure

    def _open_ahead(self) -> None:
        deadline_ms = self._clock.epoch_ms() + OPEN_AHEAD_MS
        patience = Patience(self._clock, deadline_ms, OPEN_AHEAD_MS / 1000, OPEN_AHEAD_MS / 1000)
        try:
            self._look(patience)
        except (DeadlineError, NotSentError, RefusedError, SettingError, StoreRefusedError):
            return  # The first call meets the same and tells it to somebody who waits.
        finally:
            self._opening.release()


def _refused(error: exceptions.RedisError) -> RefusedError:
    return RefusedError(read_error(error))


def _slots(reply: Any, asked_host: str) -> list[tuple[int, int, Address]]:
    """Read `CLUSTER SLOTS`: `[[first, last, [host, port, …], replica…], …]`.

    Raises:
        NotSentError: It is something else, so that nobody can be asked.
    """
    try:
        return [
            (int(first), int(last), ((primary[0] or b"").decode() or asked_host, int(primary[1])))
            for first, last, primary, *_ in reply
        ]
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        message = f"{asked_host} does not say who has which slot: {reply!r:.80}"
        raise NotSentError(message) from error
