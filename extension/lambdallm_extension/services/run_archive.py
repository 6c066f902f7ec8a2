"""Runs for whoever looks after them: listed, read, stopped, and steps finished from outside."""

from __future__ import annotations

import hmac

from lambda_runtime_api.declarations import cast
from lambdallm_extension import errors
from lambdallm_extension.domain import fingerprints, keys
from lambdallm_extension.ports import PRESENT, Add, Check, Condition, Key
from lambdallm_extension.services import run_items, session_items
from lambdallm_extension.services.run_books import RunBooks
from lambdallm_extension.services.run_items import RunHead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Clock, Item, Store
    from lambdallm_wire.runs import FinishedWait, FinishStep, ListedRuns, StoppedRun, StoredRun


class RunArchive:
    """All runs of one store."""

    def __init__(self, store: Store, clock: Clock, *, deadline_ms: int) -> None:
        """Stand on these, until a deadline (epoch milliseconds)."""
        self._store = store
        self._clock = clock
        self._deadline_ms = deadline_ms

    def page(self, cursor: str) -> ListedRuns:
        """Return a page of runs, without their steps; expired ones are left out."""
        page = self._store.scan(
            keys.RUN_PREFIX, keys.HEAD, cursor=cursor, deadline_ms=self._deadline_ms
        )
        runs = [_told(item) for item in page.items if not self._is_over(item)]
        return {"runs": runs, "cursor": page.cursor}

    def read(self, run_id: str, owner: str) -> StoredRun:
        """Return a run as it stands, with all of its steps and calls."""
        pk = keys.run_pk(run_id, owner)
        items = self._store.query(pk, "", deadline_ms=self._deadline_ms)
        head = next((item for item in items if item.key.sk == keys.HEAD), None)
        if head is None or self._is_over(head):
            return {"found": False}
        books = RunBooks(items)
        run: StoredRun = {
            **_told(head),
            "input": books.input,
            "output": books.output,
            "steps": [*books.steps.values()],
            "waits": books.waits,
            "calls": books.calls(),
        }
        return cast("StoredRun", {**run, **books.costs()})

    def stop(self, run_id: str, owner: str, reason: str) -> StoppedRun:
        """Let nobody go on with a run: its owner is refused its next write, and so its next call.

        A run that is completed stays so.
        """
        key = Key(keys.run_pk(run_id, owner), keys.HEAD)
        while True:
            item = self._store.get(key, deadline_ms=self._deadline_ms)
            if item is None or self._is_over(item):
                return {"found": False, "status": ""}
            head = RunHead.of(item)
            if head.status in ("completed", "stopped"):
                return {"found": True, "status": head.status}
            stop = Add(
                key,
                assign={
                    "status": "stopped",
                    "error": reason,
                    "leased_until": 0,
                    "at": self._clock.epoch_ms(),
                },
                condition=Condition(equals={"status": head.status, "attempt": head.attempt}),
            )
            try:
                self._store.add_if(stop, deadline_ms=self._deadline_ms)
            except errors.ConditionFailedError:
                continue  # it has gone on meanwhile
            return {"found": True, "status": "stopped"}

    def finish(self, message: FinishStep) -> FinishedWait:
        """Finish a step that waits, once; its run goes on when it is opened again.

        Where a secret is given, it has to be that of the step's token.
        """
        pk = keys.run_pk(message["run_id"], message.get("owner", ""))
        step, now_ms = message["step"], self._clock.epoch_ms()
        head = self._store.get(Key(pk, keys.HEAD), deadline_ms=self._deadline_ms)
        wait_key = Key(pk, keys.wait_sk(step))
        wait = self._store.get(wait_key, deadline_ms=self._deadline_ms)
        if head is None or wait is None or self._is_over(head) or not _knows(message, wait):
            return {"outcome": "unknown"}
        until_ms = run_items.read_wait(wait).get("expires_epoch_ms", 0)
        if (until_ms and now_ms >= until_ms) or RunHead.of(head).status == "stopped":
            return {"outcome": "expired"}
        done = run_items.put_step(
            pk,
            {"key": step, "output": message["output"]},
            RunHead.of(head).attempt,
            now_ms,
            wait.expires_at or now_ms // 1_000,
        )
        counted = Add(Key(pk, keys.HEAD), add={"steps": 1}, condition=PRESENT)
        token = session_items.token(pk, step, message["output"], now_ms)
        try:
            self._store.transact(
                [counted, Check(wait_key, PRESENT), done],
                token=token,
                deadline_ms=self._deadline_ms,
            )
        except errors.ConditionFailedError:
            return {"outcome": "already"}
        return {"outcome": "finished"}

    def _is_over(self, item: Item) -> bool:
        return item.expires_at is not None and item.expires_at <= self._clock.epoch_ms() // 1_000


def _knows(message: FinishStep, wait: Item) -> bool:
    if "secret" not in message:
        return True
    given = fingerprints.of_text(message["secret"])
    return hmac.compare_digest(given, str(wait.attributes.get("hash", "")))


def _told(item: Item) -> StoredRun:
    head = RunHead.of(item)
    run_id, owner = keys.parse_run_pk(item.key.pk)
    return {
        "found": True,
        "run_id": run_id,
        "owner": owner,
        "name": head.name,
        "version": head.version,
        "status": head.status,
        "attempt": head.attempt,
        "error": head.error,
        "begun_epoch_ms": head.begun_ms,
        "at_epoch_ms": head.at_ms,
        "leased_until_epoch_ms": head.leased_until_ms,
    }
