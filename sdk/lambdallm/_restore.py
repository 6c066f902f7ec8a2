"""SnapStart: an environment that goes on from a snapshot which others go on from too.

    Init ─► snapshot ─┬─► restore ─► after_restore ─► INVOKE …
                      └─► restore ─► after_restore ─► INVOKE …

After each restore this process lets go of its connections and of its embedded engine, and has the
sidecar renew what it made in Init: Lambda tells an extension nothing of a restore.
"""

from __future__ import annotations

from lambdallm import _errors, _settings, _sidecar, _token, _transport
from lambdallm_wire import routes

RENEWAL_SECONDS = 1.0
"""For the sidecar to renew what a snapshot has cloned: milliseconds, once it has the CPU.

All restore hooks together have ten seconds (Lambda developer guide, "SnapStart", 2026-10).
"""

_registered = False


def register() -> None:
    """Have the runtime call `after_restore`; for a function with SnapStart alone."""
    global _registered  # noqa: PLW0603 - it is a fact about the process
    if _registered or not _settings.Settings.from_environ().snap_start:
        return
    try:
        from snapshot_restore_py import register_after_restore
    except ModuleNotFoundError as error:  # every runtime that has SnapStart brings it
        if error.name != "snapshot_restore_py":
            raise
        return  # nobody tells of a restore: the sidecar learns it from INVOKE
    register_after_restore(after_restore)
    _registered = True


def after_restore() -> None:
    """Renew this process, and the sidecar."""
    _transport.abandon()
    settings = _settings.Settings.from_environ()
    if settings.sidecar:
        _announce(settings.directory)


def _announce(directory: str) -> None:
    """Have the sidecar renew what the snapshot has cloned, and wait until it has."""
    try:
        transport = _sidecar.SidecarTransport(*_token.read_token(directory))
    except _token.SidecarAbsentError:
        return  # the embedded engine serves
    try:
        transport.request(routes.RESTORED, None, timeout_seconds=RENEWAL_SECONDS)
    except _errors.SidecarError:
        return  # INVOKE has renewed it (the token is another one), or will; or it is gone
    finally:
        transport.close()
