"""Sessions taken out and put in: as lines of JSON, under another owner, of the earlier package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fakes.moto_server import make_table
from fakes.session_commands import OWNER, listed, ran, run
from lambdallm import Session, _settings
from lambdallm_cli import sessions_files, sessions_store


def test_what_is_exported_comes_back_as_it_was(store: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    assert ran("export", str(first), "--store", store) == {"written": 3, "before": 0}
    assert first.stat().st_mode & 0o077 == 0, "as secret as what was said"
    other = f"sqlite:///{tmp_path}/other.db"

    assert ran("import", str(first), "--store", other)["written"] == 3

    assert ran("export", str(second), "--store", other)["written"] == 3
    assert sorted(second.read_text().splitlines()) == sorted(first.read_text().splitlines())
    assert ran("import", str(first), "--store", other) == {
        "written": 0, "exists": 3, "expired": 0, "faulty": 0,
    }  # fmt: skip


def test_a_handler_goes_on_with_what_was_imported(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran("export", str(tmp_path / "a.jsonl"), "--store", store)
    other = f"sqlite:///{tmp_path}/other.db"
    ran("import", str(tmp_path / "a.jsonl"), "--store", other)
    monkeypatch.setenv("LAMBDALLM_STORE", other)

    session = Session().load("ada", owner=OWNER)

    assert session.messages[0].content == "My secret is é😀"
    assert session.messages[1].metadata == {"number": 0.1}
    assert session.metadata == {"plan": {"of": ["ada", None, 0.5]}}
    assert session.version == 1


def test_an_export_that_was_interrupted_goes_on(store: str, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    ran("export", str(whole), "--store", store)
    lines = whole.read_bytes().splitlines(keepends=True)
    cut.write_bytes(lines[0] + lines[1][:50])
    assert run("export", str(cut), "--store", store).exit_code == 2

    assert ran("export", str(cut), "--store", store, "--resume") == {"written": 2, "before": 1}

    assert sorted(cut.read_bytes().splitlines(keepends=True)) == sorted(lines)
    assert ran("export", str(cut), "--store", store, "--overwrite")["written"] == 3


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # others are what fails
def test_an_export_that_fails_leaves_the_one_before(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_store, "ATTEMPTS_MAX", 1)  # each takes more than a second
    path = tmp_path / "a.jsonl"
    ran("export", str(path), "--store", store)
    before = path.read_bytes()

    assert run("export", str(path), "--store", "redis://127.0.0.1:1", "--overwrite").exit_code
    assert run("export", str(path), "--store", "nothing://", "--overwrite").exit_code
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.glob("a.jsonl*")] == ["a.jsonl"]


def test_an_export_that_was_killed_is_not_taken_for_a_whole_one(store: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    ran("export", str(path), "--store", store)
    lines = path.read_bytes().splitlines(keepends=True)
    path.unlink()
    sessions_files.part_of(path).write_bytes(lines[0] + lines[1][:9])

    assert run("export", str(path), "--store", store).exit_code == 2
    assert ran("export", str(path), "--store", store, "--resume") == {"written": 2, "before": 1}
    assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(lines)


def test_a_file_that_is_no_export_is_left_as_it_is(store: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes\n")

    assert run("export", str(path), "--store", store, "--resume").exit_code == 2
    assert path.read_text() == "my notes\n"


def test_an_import_overwrites_when_it_is_told_to(store: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    ran("export", str(path), "--store", store)
    ran("delete", "bob", "--store", store, "--yes")
    kept = path.read_text().replace("Hi Ada!", "Hi again!")
    path.write_text(kept)

    counts = ran("import", str(path), "--store", store)
    assert (counts["written"], counts["exists"]) == (1, 2)
    assert "Hi Ada!" in run("show", "ada", "--store", store).stdout

    assert ran("import", str(path), "--store", store, "--overwrite")["written"] == 3
    assert "Hi again!" in run("show", "ada", "--store", store).stdout


def test_lines_that_are_no_sessions_are_told_and_the_others_come_in(tmp_path: Path) -> None:
    url, path = f"sqlite:///{tmp_path}/new.db", tmp_path / "mixed.jsonl"
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    expires_at = _settings.epoch_ms() // 1_000 + 60
    named = {"lambdallm_session": 1, "session_id": "fine", "owner": ""}
    record = {**named, "expires_at": expires_at, "messages": said, "metadata": {}}
    over = {**record, "session_id": "over", "expires_at": 1}
    wrong = {**record, "session_id": "a#b"}
    lines = ["{", "[]", json.dumps({"a": 1}), json.dumps(wrong), json.dumps(over), "",
             json.dumps(record)]  # fmt: skip
    path.write_text("\n".join(lines))

    result = run("import", str(path), "--store", url, "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"written": 1, "exists": 0, "expired": 1, "faulty": 4}
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == [
        "line 1", "line 2", "line 3", "line 4",
    ]  # fmt: skip
    assert listed(url) == [("fine", "")]
    renewed = run("import", str(path), "--store", url, "--ttl-hours", "1", "--owner", "lambda:x")
    assert "2 sessions written" in renewed.stdout
    assert sorted(listed(url, "--owner", "lambda:x")) == [
        ("fine", "lambda:x"),
        ("over", "lambda:x"),
    ]


def legacy_item(client: Any, table: str, session_id: str, data: str, expires_at: float) -> None:
    client.put_item(
        TableName=table,
        Item={
            "session_id": {"S": session_id},
            "data": {"S": data},
            "expires_at": {"N": str(expires_at)},
            "updated_at": {"N": "1767225600.5"},
        },
    )


def test_the_earlier_packages_table_is_read(server: Any, tmp_path: Path) -> None:
    table, url = make_table(server, "session_id"), f"sqlite:///{tmp_path}/new.db"
    soon = _settings.epoch_ms() // 1_000 + 3_600
    said = [
        {"role": "user", "content": "Grüße", "timestamp": 1767225600.25, "metadata": {"a": 1}},
        {"role": "assistant", "content": "Hallo", "timestamp": 1767225601.5, "metadata": {}},
    ]
    data = json.dumps({"messages": said, "metadata": {"plan": "pro"}})
    legacy_item(server, table, "ada", data, soon)
    legacy_item(server, table, "over", data, 1)
    legacy_item(server, table, "broken", "{", soon)
    legacy_item(server, table, "empty", json.dumps({"messages": [], "metadata": {}}), soon)
    legacy_item(server, table, "a#b", data, soon)

    result = run("import", "--from-legacy", table, "--store", url, "--json")

    counts = json.loads(result.stdout)
    assert (result.exit_code, counts) == (
        1, {"written": 1, "exists": 0, "expired": 1, "faulty": 3},
    )  # fmt: skip
    assert "'broken'" in result.stderr
    shown = ran("show", "ada", "--store", url)
    assert [
        (turn["role"], turn["content"], turn["at_epoch_ms"], turn["metadata"])
        for turn in shown["turns"]
    ] == [
        ("user", "Grüße", 1767225600250, {"a": 1}),
        ("assistant", "Hallo", 1767225601500, {}),
    ]
    renewed = run("import", "--from-legacy", table, "--store", url, "--ttl-hours", "24", "--json")
    assert json.loads(renewed.stdout)["written"] == 1
    assert run("import", "--from-legacy", "no-such-table", "--store", url).exit_code == 3


def test_a_cut_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    line = json.dumps({"session_id": "a", "owner": ""}) + "\n"
    path.write_text(line + '{"session_id": "b", "own')

    assert sessions_files.written_before(path) == {("a", "")}
    assert path.read_text().endswith("}\n")
