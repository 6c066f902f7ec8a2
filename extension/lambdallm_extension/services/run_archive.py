"""Runs for whoever looks after them: listed, read, stopped, and steps finished from outside."""

from __future__ import annotations

import hmac

from lambda_runtime_api.declarations import cast
from lambdallm_extension import errors
from lambdallm_extension.domain import fingerprints, keys
from lambdallm_extension.ports import Add, Condition, Key
from lambdallm_extension.services import run_items
from lambdallm_extension.services.run_books import RunBooks
from lambdallm_extension.services.run_items import RunHead
from lambdallm_extension.services.write_attempts import WriteAttempts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Clock, Item, Put, Store
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_wire.runs import (
        DeletedRun,
        FinishedWait,
        FinishStep,
        ListedRuns,
        StoppedRun,
        StoredRun,
    )


class RunArchive:
    """All runs of one store."""

    def __init__(self, store: Store, workers: Workers, clock: Clock, *, deadline_ms: int) -> None:
        """Stand on these, until a deadline (epoch milliseconds)."""
        self._store = store
        self._workers = workers
        self._clock = clock
        self._deadline_ms = deadline_ms

    def page(self, cursor: str) -> ListedRuns:
        """Return a page of runs, without their steps; expired ones are left out.

        Of one whose head cannot be read, its id is told, and what is wrong with it.
        """
        page = self._store.scan(
            keys.RUN_PREFIX, keys.HEAD, cursor=cursor, deadline_ms=self._deadline_ms
        )
        runs = [_listed(item) for item in page.items if not self._is_over(item)]
        return {"runs": runs, "cursor": page.cursor}

    def read(self, run_id: str, owner: str, *, texts: bool = True) -> StoredRun:
        """Return a run as it stands, with all of its steps and calls.

        Args:
            run_id: Its id.
            owner: Whose it is.
            texts: Whether what users have said comes with it.
        """
        pk = keys.run_pk(run_id, owner)
        items = self._store.query(pk, "", deadline_ms=self._deadline_ms)
        head = next((item for item in items if item.key.sk == keys.HEAD), None)
        if head is None or self._is_over(head):
            return {"found": False}
        run = _told(head)
        life = RunHead.of(head).life
        books = RunBooks(items, life)
        run |= {
            "steps": [*books.steps.values()],
            "waits": books.waits,
            "calls": books.calls(),
        }
        if texts:
            run |= {"input": books.input, "output": books.output}
            event = next((item for item in items if item.key.sk == keys.EVENT), None)
            if event is not None and event.attributes.get("life") == life:
                run["event"] = run_items.read_value(event)
        else:
            run["steps"] = [{**step, "output": ""} for step in run["steps"]]
            run["waits"] = [{**wait, "message": ""} for wait in run["waits"]]
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

    def delete(self, run_id: str, owner: str) -> DeletedRun:
        """Delete a run; see `run_deletion`."""
        from lambdallm_extension.services.run_deletion import RunDeletion

        pk = keys.run_pk(run_id, owner)
        return RunDeletion(
            self._store, self._workers, self._clock, pk, deadline_ms=self._deadline_ms
        ).run()

    def finish(self, message: FinishStep) -> FinishedWait:
        """Finish a step that waits, once; its run goes on when it is opened again.

        Where a secret is given, it has to be that of the step's token.
        """
        pk = keys.run_pk(message["run_id"], message.get("owner", ""))
        step, now_ms = message["step"], self._clock.epoch_ms()
        head = self._store.get(Key(pk, keys.HEAD), deadline_ms=self._deadline_ms)
        wait_key = Key(pk, keys.wait_sk(step))
        wait = self._store.get(wait_key, deadline_ms=self._deadline_ms)
        if head is None or wait is None or self._is_over(head):
            return {"outcome": "unknown"}
        found = RunHead.of(head)
        if wait.attributes.get("life") != found.life or not _knows(message, wait):
            return {"outcome": "unknown"}
        until_ms = run_items.read_wait(wait).get("expires_epoch_ms", 0)
        if found.status == "completed":  # without this step it would not be
            return {"outcome": "already"}
        if (until_ms and now_ms >= until_ms) or found.status == "stopped":
            return {"outcome": "expired"}
        writing = run_items.Writing(pk, found.life, now_ms, wait.expires_at or now_ms // 1_000)
        done = run_items.put_step(
            writing, {"key": step, "output": message["output"]}, found.attempt
        )
        this_run = Condition(equals={"life": found.life})
        return self._finish(done, Add(Key(pk, keys.HEAD), add={"steps": 1}, condition=this_run))

    def _finish(self, done: Put, counted: Add) -> FinishedWait:
        """Put the step, unless it stands there; what an earlier run has left is none."""
        nonce = f"{done.item.key}\0{done.item.attributes}"
        writes = WriteAttempts(
            nonce, store=self._store, clock=self._clock, deadline_ms=lambda: self._deadline_ms
        )
        life = str(done.item.attributes["life"])
        while True:
            try:
                writes.send([counted, done])
            except errors.ConditionFailedError as error:
                standing = error.current[1]
                over = None if standing is None else run_items.put_over(done, standing, life)
                if over is None:
                    return {"outcome": "already" if standing is not None else "unknown"}
                done = over
            else:
                return {"outcome": "finished"}

    def _is_over(self, item: Item) -> bool:
        return item.expires_at is not None and item.expires_at <= self._clock.epoch_ms() // 1_000


def _knows(message: FinishStep, wait: Item) -> bool:
    if "secret" not in message:
        return True
    given = fingerprints.of_text(message["secret"])
    return hmac.compare_digest(given, str(wait.attributes.get("hash", "")))


def _listed(item: Item) -> StoredRun:
    try:
        return _told(item)
    except errors.StoreRefusedError as error:
        run_id, owner = keys.parse_run_pk(item.key.pk)
        return {
            "found": True,
            "run_id": run_id,
            "owner": owner,
            "name": "",
            "version": "",
            "status": "failed",
            "attempt": 0,
            "error": error.detail,
            "begun_epoch_ms": 0,
            "at_epoch_ms": 0,
            "leased_until_epoch_ms": 0,
            "expires_epoch_ms": (item.expires_at or 0) * 1_000,
        }


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
        "expires_epoch_ms": (item.expires_at or 0) * 1_000,
    }
