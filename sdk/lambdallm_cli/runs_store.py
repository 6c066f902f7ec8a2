"""Runs of a store, through the engine in this process, beside its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambdallm_cli.sessions_store import SessionStore
from lambdallm_wire import routes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class RunStore(SessionStore):
    """The runs of one store."""

    def runs(self, progress: Callable[[int], None]) -> Iterator[dict[str, Any]]:
        """Yield the living runs without their steps (`runs.StoredRun`), in the store's own order.

        Args:
            progress: Told how many were found so far, after each page but the last.
        """
        cursor, found = "", 0
        while True:
            page = self._ask(routes.LIST_RUNS, cursor=cursor)
            yield from page["runs"]
            found, cursor = found + len(page["runs"]), page["cursor"]
            if not cursor:
                return
            progress(found)

    def run(self, run_id: str, owner: str, *, texts: bool = False) -> dict[str, Any]:
        """Return a run as it stands (`runs.StoredRun`).

        Args:
            run_id: Its id.
            owner: Whose it is.
            texts: Whether what users have said comes with it.
        """
        named = {"run_id": run_id, "owner": owner}
        return self._ask(routes.READ_RUN, **named, without_texts=not texts)

    def stop_run(self, run_id: str, owner: str, reason: str) -> dict[str, Any]:
        """Stop a run for good: `found`, `status`."""
        return self._ask(routes.STOP_RUN, run_id=run_id, owner=owner, reason=reason)

    def finish_step(self, run_id: str, owner: str, step: str, output: str) -> str:
        """Finish a step that waits: the outcome, as of `runs.FinishedWait`."""
        named = {"run_id": run_id, "owner": owner, "step": step}
        outcome: str = self._ask(routes.FINISH_STEP, **named, output=output)["outcome"]
        return outcome

    def delete_run(self, run_id: str, owner: str) -> dict[str, Any]:
        """Delete a run for good: `found`, `items`, `calls`."""
        return self._ask(routes.DELETE_RUN, run_id=run_id, owner=owner)
