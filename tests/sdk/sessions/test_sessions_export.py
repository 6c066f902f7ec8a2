"""`lambdallm sessions export`: through standard output, of what is damaged, changed, large."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fakes.session_commands import OWNER, close, good, listed, ran, run, say
from lambdallm._embedded import EmbeddedTransport
from lambdallm_cli import sessions_files
from lambdallm_cli.sessions_store import SessionStore
from lambdallm_wire import routes


def test_sessions_go_through_standard_output_and_input(store: str, tmp_path: Path) -> None:
    exported = run("export", "-", "--store", store)
    assert exported.exit_code == 0
    assert exported.stderr.endswith("3 sessions written.\n")
    path = tmp_path / "a.jsonl"
    ran("export", str(path), "--store", store)
    assert exported.stdout == path.read_text()

    other = f"sqlite:///{tmp_path}/other.db"
    result = run("import", "-", "--store", other, input=exported.stdout)
    assert result.exit_code == 0, result.output
    assert sorted(listed(other)) == sorted(listed(store))


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_session_that_cannot_be_read_stops_no_export(store: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(store.removeprefix("sqlite:///"))) as file, file:
        file.execute("UPDATE items SET attributes = '{\"schema\": 99}' "
                     "WHERE pk = 'SESSION#ada' AND sk = 'HEAD'")  # fmt: skip
    path = tmp_path / "a.jsonl"

    result = run("export", str(path), "--store", store)

    assert result.exit_code == 1
    assert result.stderr.startswith("ada: ")
    assert "1 could not be read" in result.stdout
    assert not path.exists()
    assert len(sessions_files.part_of(path).read_text().splitlines()) == 2
    assert run("delete", "ada", "--store", store, "--yes").exit_code == 0
    assert ran("export", str(path), "--store", store, "--resume") == {"written": 0, "before": 2}
    assert path.exists()


def test_a_session_that_is_written_anew_meanwhile_is_read_again(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambdallm_extension.services.session_pages.PAGE_BYTES", 1)
    path = tmp_path / "a.jsonl"
    asked: list[Any] = []
    request = EmbeddedTransport.request

    def rewrite(self: Any, route: Any, message: Any, *, timeout_seconds: float) -> Any:
        if route is routes.READ_SESSION:
            asked.append(message["cursor"])
            if len(asked) == 4:
                with closing(SessionStore({"LAMBDALLM_STORE": store})) as other:
                    other.delete("bob", "")
                    other.write(good("bob"))
        return request(self, route, message, timeout_seconds=timeout_seconds)

    monkeypatch.setattr(EmbeddedTransport, "request", rewrite)
    assert ran("delete", "ada", "--store", store, "--yes")["deleted"] == 1
    assert ran("delete", "--owner", OWNER, "--store", store, "--yes")["deleted"] == 1
    asked.clear()

    assert ran("export", str(path), "--store", store)["written"] == 1

    (line,) = path.read_text().splitlines()
    texts = [item["attributes"].get("content") for item in json.loads(line)["items"]]
    assert [text for text in texts if text] == ['"q"', '"a"']


@pytest.mark.slow
def test_forty_megabytes_are_shown_exported_imported_and_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"
    monkeypatch.setenv("LAMBDALLM_STORE", store)
    for number in range(20):
        say("big", "", f"{number} " + 'é"' * 400_000, "a" * 800_000)
    close()
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    assert len(run("show", "big", "--store", store).stdout.encode()) > 40_000_000

    assert ran("export", str(first), "--store", store)["written"] == 1
    assert ran("import", str(first), "--store", other)["written"] == 1
    assert ran("move", "big", "--to", OWNER, "--store", other)["outcome"] == "moved"
    assert ran("move", "big", "--owner", OWNER, "--to", "", "--store", other)["outcome"] == "moved"
    assert ran("export", str(second), "--store", other)["written"] == 1

    assert first.read_bytes() == second.read_bytes()
