"""`lambdallm sessions import` of what is not what it should be."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from fakes.moto_server import make_table
from fakes.session_commands import close, good, listed, run, say

HEAD = {"sk": "HEAD", "attributes": {"schema": 1, "exchanges": 1, "first_exchange": 1}}

FAULTY = [
    b"\xff\xfe\xfd",
    b"[" * 50_000,
    json.dumps(good("x", messages=[{"role": "user", "content": "q", "at_epoch_ms": 10**300}])),
    json.dumps(good("x", metadata={"a": float("inf")})),
    json.dumps(good("x", messages=5)),
    json.dumps(good("x", owner=[1])),
    json.dumps({"lambdallm_session": 1, "session_id": "x", "items": ["y", 5]}),
    json.dumps({"lambdallm_session": 1, "session_id": "x", "items": [
        HEAD, {"sk": "TURN#000002#0", "attributes": {"schema": 1}}]}),
    json.dumps({"lambdallm_session": 1, "session_id": "x", "items": [
        HEAD, {"sk": "EXCHANGE#a", "attributes": {"schema": 1, "f": 0.5}}]}),
]  # fmt: skip

BY_EXPIRY = [
    json.dumps(good("x", expires_at=10**40)),
    json.dumps(
        {"lambdallm_session": 1, "session_id": "x", "items": [{**HEAD, "expires_at": 10**40}]}
    ),
]


@pytest.mark.parametrize(
    ("line", "more"),
    [
        *[(line, more) for line in FAULTY for more in ([], ["--ttl-hours", "1"])],
        *[(line, []) for line in BY_EXPIRY],
    ],
    ids=itertools.count(),
)
def test_a_line_that_is_no_session_stops_nothing(
    tmp_path: Path, line: str | bytes, more: list[str]
) -> None:
    url, path = f"sqlite:///{tmp_path}/new.db", tmp_path / "mixed.jsonl"
    faulty = line if isinstance(line, bytes) else line.encode()
    lines = [b"\xef\xbb\xbf" + json.dumps(good("one")).encode(), faulty,
             json.dumps(good("two")).encode()]  # fmt: skip
    path.write_bytes(b"\n".join(lines))

    result = run("import", str(path), "--store", url, "--json", *more)

    assert result.exit_code == 1, result.output
    assert json.loads(result.stdout) == {"written": 2, "exists": 0, "expired": 0, "faulty": 1}
    assert result.stderr.startswith("line 2: ")
    assert sorted(listed(url)) == [("one", ""), ("two", "")]


@pytest.mark.parametrize(
    "broken",
    [
        {"timestamp": 1e300},
        {"timestamp": float("inf")},
        {"timestamp": float("nan")},
        {"timestamp": -5},
        {"timestamp": "soon"},
        {"metadata": {"x": float("nan")}},
        {"metadata": "x"},
        {"role": 5},
    ],
    ids=str,
)
def test_a_legacy_row_that_cannot_be_read_is_named_and_the_others_come_in(
    server: Any, tmp_path: Path, broken: dict[str, Any]
) -> None:
    table, url = make_table(server, "session_id"), f"sqlite:///{tmp_path}/new.db"
    fine = {"role": "user", "content": "q", "timestamp": 1767225600.25}
    rows = {"a": [fine], "broken": [{**fine, **broken}], "z": [fine]}
    for session_id, messages in rows.items():
        server.put_item(
            TableName=table,
            Item={
                "session_id": {"S": session_id},
                "data": {"S": json.dumps({"messages": messages, "metadata": {}})},
                "expires_at": {"N": "4000000000"},
            },
        )
    for name, value in (("far", "1E+125"), ("none", "-1")):
        server.put_item(TableName=table, Item={
            "session_id": {"S": name}, "expires_at": {"N": value},
            "data": {"S": json.dumps([fine])},
        })  # fmt: skip

    result = run("import", "--from-legacy", table, "--store", url, "--json")

    assert result.exit_code == 1, result.output
    counts = json.loads(result.stdout)
    assert (counts["written"], counts["faulty"]) == (2, 3)
    assert sorted(line.split(":")[0] for line in result.stderr.splitlines()) == [
        "'broken'", "'far'", "'none'",
    ]  # fmt: skip
    assert sorted(listed(url)) == [("a", ""), ("z", "")]


def test_a_file_in_another_coding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(good("one")), encoding="utf-16")
    result = run("import", str(path), "--store", f"sqlite:///{tmp_path}/a.db")
    assert (result.exit_code, "UTF-16" in result.stderr) == (1, True)


def test_a_store_that_takes_nothing_is_told_once(tmp_path: Path) -> None:
    path, blocked = tmp_path / "a.jsonl", tmp_path / "file"
    blocked.touch()
    path.write_text("\n".join(json.dumps(good(f"s{number}")) for number in range(50)))

    result = run("import", str(path), "--store", f"sqlite:///{blocked}/a.db")

    assert result.exit_code == 3
    assert len(result.stderr.splitlines()) <= 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        *[(("import", "-", "--ttl-hours", hours), "--ttl-hours")
          for hours in ("nan", "inf", "-inf", "0", "-1", "1e-9", "1e300", "x")],
        (("list", "--older-than", "0d"), "above 0"),
        (("export", "/nonexistent/x.jsonl"), "no folder"),
        (("export", "/dev/null", "--overwrite"), "no file"),
        (("export", "-", "--resume"), "Standard output"),
        (("export", "x.jsonl", "--resume"), "to go on with"),
        (("export", "x.jsonl", "--store", "sqlite:///nothing.db"), "There is no file"),
        (("move", "a", "--to", "b", "--store", "sqlite:///nothing.db"), "There is no file"),
        (("delete", "a", "--yes", "--store", "sqlite:////nonexistent/a.db"), "There is no file"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_a_wrong_use(
    arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, input="")

    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert [*tmp_path.iterdir()] == []


SPOILT: dict[str, Any] = {
    "a float": {"f": 0.5},
    "a reserved name": {"put_id": "x"},
    "half a character": {"f": "\ud800"},
    "a huge number": {"f": [{"n": 10**38}]},
    "a newer schema": {"schema": 99},
}


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("pages", [1, 400], ids=["one page", "the last page"])
def test_what_lives_makes_way_for_a_whole_session_alone(
    tmp_path: Path, spoilt: dict[str, Any], pages: int
) -> None:
    url, path = f"sqlite:///{tmp_path}/s.db", tmp_path / "s.jsonl"
    say("s", "", "q", "a", store=url)
    close()
    assert run("export", str(path), "--store", url).exit_code == 0
    record = json.loads(path.read_text())
    head = next(item for item in record["items"] if item["sk"] == "HEAD")
    turn = next(item for item in record["items"] if item["sk"] == "TURN#000001#1")
    beside = [
        {**turn, "sk": f"VECTOR#000001#{number}", "attributes": {"schema": 1, "v": "x" * 9_000}}
        for number in range(pages)
    ]
    beside[-1]["attributes"] |= spoilt
    path.write_text(json.dumps({**record, "items": [head, turn, *beside]}))

    result = run("import", str(path), "--store", url, "--overwrite", "--json")

    assert result.exit_code == 1, result.output
    assert json.loads(result.stdout)["faulty"] == 1
    shown = json.loads(run("show", "s", "--store", url, "--json").stdout)
    assert [turn["content"] for turn in shown["turns"]] == ["q", "a"]
