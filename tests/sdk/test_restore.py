"""After a restore from a snapshot: the SDK beside a real server, in one process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import snapshot_restore_py

import lambdallm
from lambdallm import _restore, _settings, _sidecar, _token, _transport
from lambdallm._work import Work
from lambdallm_extension.engine import Engine, build
from lambdallm_extension.server import token
from lambdallm_extension.server.http import Server, listen
from lambdallm_extension.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A sidecar in the state of Init, that renews its token as the extension's process does."""
    directory = str(tmp_path / "lambdallm")
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    monkeypatch.setenv("LAMBDALLM_DIRECTORY", directory)
    monkeypatch.setenv("LAMBDALLM_SIDECAR", "on")
    monkeypatch.setenv("LAMBDALLM_STORE", "memory:")
    monkeypatch.setenv("LAMBDALLM_MODEL", "scripted/demo")
    listener = listen(0)
    port = listener.getsockname()[1]

    def hand_out(secret: str) -> None:
        token.write_token(directory, port, secret)

    secret = token.make_token()
    hand_out(secret)
    made = build(Settings.from_environ())
    server = Server(listener, secret, made, lambda _line: None)
    made.serve(lambda: server.renew(token.make_token(), hand_out))
    server.start()
    before = _transport.replace(None)
    yield made
    inherited = _transport.replace(before)
    if inherited is not None:
        inherited.close()
    server.close()
    made.close()


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the runtime would call after a restore."""
    registered: list[Any] = []
    monkeypatch.setattr(snapshot_restore_py, "register_after_restore", registered.append)
    monkeypatch.setattr(_restore, "_registered", False)
    return registered


def unit(name: str) -> Work:
    return Work(name, name, _settings.epoch_ms() + 60_000)


def read_token() -> str:
    return _token.read_token(_settings.Settings.from_environ().directory)[1]


def test_a_handler_registers_one_hook(hooks: list[Any], engine: Engine) -> None:
    lambdallm.handler(lambda event, context: None)
    lambdallm.handler(lambda event, context: None)

    assert hooks == [_restore.after_restore]


def test_without_snap_start_nothing_is_registered(
    hooks: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")

    lambdallm.handler(lambda event, context: None)

    assert hooks == []


def test_a_runtime_without_hooks_is_no_fault(
    hooks: list[Any], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)

    lambdallm.handler(lambda event, context: None)

    assert hooks == []


def test_the_hook_renews_the_sidecar_and_the_way_to_it(engine: Engine) -> None:
    unit("in-init").begin()
    before = (_transport.current(), read_token(), engine.environment_id())

    _restore.after_restore()
    work = unit("after")
    work.begin()
    work.end("ok", "", 1.0)

    after = (_transport.current(), read_token(), engine.environment_id())
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_a_hook_that_finds_no_sidecar_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAMBDALLM_DIRECTORY", str(tmp_path / "nothing"))
    before = _transport.replace(None)
    try:
        _restore.after_restore()
    finally:
        _transport.replace(before)


def test_a_token_that_was_renewed_meanwhile_is_read_again(engine: Engine) -> None:
    transport = _transport.current()
    engine.renew()

    work = unit("after")
    work.begin()
    work.end("ok", "", 1.0)

    assert _transport.current() is transport
    assert isinstance(transport, _sidecar.SidecarTransport)
    assert transport.usable
