"""Units of work of sessions that are used by hand: nobody calls `end` for them but these.

    with Session() as session: …     at the end of the block
    session.close()                  then
    a session that nobody holds      at the next use of another one
    a script that ends               at its exit, before the engine is closed

A garbage collector may run while locks are held, so it only takes note; it never ends anything.
"""

from __future__ import annotations

import atexit

from lambdallm import _errors, _log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm._work import Work

_open: dict[str, Work] = {}
_abandoned: list[str] = []


def begun(owner: object, work: Work) -> None:
    """Know of a unit that was begun for a session, and end those whose sessions are gone."""
    from weakref import finalize

    while _abandoned:
        ended(_abandoned.pop())
    name = work.work_id
    _open[name] = work
    finalize(owner, _abandoned.append, name).atexit = False
    atexit.unregister(_end_all)
    atexit.register(_end_all)  # exit functions run backwards: this one before the engine's


def end(work: Work, outcome: str = "ok", error_code: str = "") -> None:
    """End a unit, waiting for the store.

    Raises:
        StateError: The store did not confirm what was said.
    """
    _open.pop(work.work_id, None)
    work.end(outcome, error_code, 0.0)


def ended(name: str) -> None:
    """End a unit that nobody waits for; a failure is told in the log."""
    work = _open.get(name)
    if work is None:
        return
    try:
        end(work)
    except _errors.InvalidRequestError:
        return  # its engine was closed before, and has written what was said
    except _errors.LambdaLLMError as error:
        _log.write(
            "WARNING", f"A session was not closed, and cannot be now: {error}", code=error.code
        )


def _end_all() -> None:
    for name in [*_open]:
        ended(name)
