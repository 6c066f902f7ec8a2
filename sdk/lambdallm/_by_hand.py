"""Units of work of sessions that are used by hand: nobody calls `end` for them but these.

    with Session() as session: …     at the end of the block
    session.close()                  then
    a session that nobody holds      when its event ends, or at the next use of another one
    a script that ends               at its exit, before the engine is closed

A garbage collector may run while locks are held, so it only takes note; it never ends anything.
"""

from __future__ import annotations

import atexit

from lambdallm import _errors, _log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from weakref import finalize

    from lambdallm._outbox import Outbox
    from lambdallm._work import Work

_open: dict[str, tuple[Work, Outbox, finalize[..., object]]] = {}
_abandoned: list[str] = []


def begun(session: object, work: Work, outbox: Outbox) -> None:
    """Know of a unit that was begun for a session, and end those whose sessions are gone.

    `outbox` outlives the session, and what is in it then is handed over at the end.
    """
    from weakref import finalize

    end_abandoned()
    name = work.work_id
    noting = finalize(session, _abandoned.append, name)
    noting.atexit = False
    _open[name] = work, outbox, noting
    atexit.unregister(_end_all)
    atexit.register(_end_all)  # exit functions run backwards: this one before the engine's


def end_abandoned() -> None:
    """End units whose sessions are gone; a failure is told in the log."""
    while _abandoned:
        ended(_abandoned.pop())


def end(work: Work, outcome: str = "ok", error_code: str = "") -> None:
    """End a unit, waiting for the store.

    Raises:
        StateError: The store did not confirm what was said.
    """
    forget(work)
    work.end(outcome, error_code, 0.0)


def forget(work: Work) -> None:
    """Know no more of a unit: it ends, or its engine has ended it at its deadline.

    Nor of its session's end: one object may be loaded for each of a million events.
    """
    known = _open.pop(work.work_id, None)
    if known is not None:
        known[2].detach()


def end_saving(work: Work, outbox: Outbox) -> None:
    """End a unit that went well, with all that its session has said.

    Raises:
        StateError: As `end`.
        TypeError: Its metadata is no JSON; it is ended all the same.
    """
    try:
        outbox.send_changes(work)
    except BaseException as error:
        end(work, "error", type(error).__name__)
        raise
    end(work)


def ended(name: str) -> None:
    """End a unit that nobody waits for; a failure is told in the log."""
    known = _open.get(name)
    if known is None:
        return
    work, outbox, _ = known
    try:
        end_saving(work, outbox)
    except _errors.InvalidRequestError:
        return  # its engine was closed before, and has written what was said
    except (_errors.LambdaLLMError, TypeError) as error:
        code = getattr(error, "code", "invalid_request")
        _log.write("WARNING", f"A session was not closed, and cannot be now: {error}", code=code)


def _end_all() -> None:
    for name in [*_open]:
        ended(name)
