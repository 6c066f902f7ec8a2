"""The demo as its user runs it: what it prints, how it ends, and that nothing of it is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from fakes.shared_builds import made_once

pytest.importorskip("awslambdaric", reason="AWS's runtime client is built for Linux")
pytest.importorskip("ministack")

DEMO = Path(__file__).parents[2] / "examples/demo.py"
SECONDS_MAX = 120


def environ(folder: Path, **variables: str) -> dict[str, str]:
    """A user without an AWS account, all of whose temporary files lie in one folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "AWS_EC2_METADATA_DISABLED": "true",
        **variables,
    }


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DEMO), *arguments],
        env=environ(folder, **variables),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


def left_in(folder: Path) -> list[str]:
    """Files in the folder, and living processes that know it: the demo's whole offspring does."""
    found = [str(path) for path in folder.iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            traces = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended, or is another user's
        if str(folder).encode() in traces:
            found.append(traces.decode(errors="replace"))
    return found


def run_in_a_terminal(folder: Path, *arguments: str, **variables: str) -> tuple[int, bytes]:
    """Return its status, and what it has printed."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, str(DEMO), *arguments],
        env=environ(folder, TERM="xterm-256color", **variables),
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(theirs)
        printed = b""
        while True:
            try:
                data = os.read(ours, 65_536)
            except OSError:  # the other end was closed
                break
            if not data:
                break
            printed += data
        os.close(ours)
    return process.returncode, printed


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a whole run prints."""

    def show(shared: Path) -> None:
        folder = tmp_path_factory.mktemp("demo")
        done = run(folder)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        assert left_in(folder) == []
        (shared / "shown").write_text(done.stdout)

    return (made_once(tmp_path_factory, "demo", show) / "shown").read_text()


def test_a_new_environment_remembers_what_the_first_was_told(shown: str) -> None:
    first, _, rest = shown.partition("Execution environment B")

    assert "Execution environment A" in first
    assert re.findall(r"(\d+) turns remembered", first) == ["0", "2", "4"]
    assert re.findall(r"(\d+) turns remembered", rest) == ["6", "8"]
    assert "You are Ada." in rest
    assert [first.count("cold, "), rest.count("cold, ")] == [1, 1]
    assert [first.count("warm, "), rest.count("warm, ")] == [2, 1]


def test_costs_are_exact_and_add_up(shown: str) -> None:
    turns, _, rest = shown.partition("Totals")
    costs = [Decimal(text) for text in re.findall(r"\$([0-9.]+)", turns)]
    sums = [Decimal(text) for text in re.findall(r"\$([0-9.]+)", rest.partition("items in")[0])]
    stored = [Decimal(text) for text in re.findall(r"settled, \d+ tokens, \$([0-9.]+)", rest)]

    assert len(costs) == 5
    assert min(costs) > 0
    assert sums == [sum(costs[:3]), sum(costs[3:]), sum(costs)]
    assert stored == costs


def test_the_items_of_the_table_are_shown(shown: str) -> None:
    assert len(re.findall(r"SESSION#demo +TURN#", shown)) == 10
    assert len(re.findall(r"SESSION#demo +EXCHANGE#", shown)) == 5
    assert re.search(r"SESSION#demo +HEAD +24 h +5 exchanges", shown)


def test_a_budget_is_spent_stopped_and_opened_again(shown: str) -> None:
    _, _, scene = shown.partition("A budget")
    lines = [line.split(maxsplit=1) for line in scene.splitlines() if line.startswith(" ")]
    spent = [Decimal(text) for text in re.findall(r"\$([0-9.]+) of \$0.40 is spent", scene)]

    assert "claude-sonnet-4-5: $0.3" in scene
    assert spent == sorted(spent)
    assert Decimal("0.32") - Decimal("0.03") <= spent[0] <= spent[1] <= Decimal("0.40")
    assert [words[0] for words in lines if words[0] in ("refused", "stopped", "opened")] == [
        "refused", "stopped", "opened",
    ]  # fmt: skip
    assert "429: The day's budget" in scene
    assert "Spending is stopped" in scene


def test_a_chain_is_finished_over_three_environments(shown: str) -> None:
    _, _, scene = shown.partition("A chain")

    assert "report/demo waits for figures" in scene
    assert "a program sent its figures; it waits for release" in scene
    assert "approved  by Ada: On the roofs of Lisbon, 212 hives" in scene
    assert "is finished already" in scene


def test_without_a_terminal_it_is_plain_text(shown: str) -> None:
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 100
    assert not [line for line in shown.splitlines() if line != line.rstrip()]


@pytest.mark.slow  # colour is seen where Bedrock is asked, too
@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_colour_unless_it_asks_for_none(tmp_path: Path, no_color: str) -> None:
    status, printed = run_in_a_terminal(tmp_path, NO_COLOR=no_color)

    assert status == 0
    assert (b"\x1b[" in printed) == (no_color == "")
    assert b"You are Ada." in printed


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "function"),
        (signal.SIGTERM, "function"),
        pytest.param(signal.SIGINT, "environment B", marks=pytest.mark.slow),
        *(
            pytest.param(number, moment, marks=pytest.mark.slow)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            for moment in ("a chat that remembers", "layer", "model", "1 you", "4 you")
        ),
    ],
)
def test_interrupted_it_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, moment: str
) -> None:
    with subprocess.Popen(
        [sys.executable, str(DEMO)],
        env=environ(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if moment in line:
                break
        process.send_signal(number)
        process.stdout.read()
        said = process.stderr.read()

    assert process.returncode == 128 + number
    assert said.strip() == "Interrupted; everything that was started has been ended."
    assert left_in(tmp_path) == []


def test_bedrock_without_credentials_says_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path, "--bedrock")

    assert done.returncode == 2
    assert "needs AWS credentials" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_in(tmp_path) == []


def test_bedrock_without_a_region_says_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path, "--bedrock", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="y")

    assert done.returncode == 2
    assert "--region" in done.stderr


def test_bedrock_asks_with_the_credentials_and_the_region_of_the_user(tmp_path: Path) -> None:
    """In a terminal, which gets colour."""
    from lambdallm.testing.model_server import ModelServer

    with ModelServer(["You are Ada."]) as model:
        status, printed = run_in_a_terminal(
            tmp_path,
            "--bedrock",
            "--region",
            "eu-west-3",
            AWS_ACCESS_KEY_ID="AKIDDEMO",
            AWS_SECRET_ACCESS_KEY="y",
            AWS_ENDPOINT_URL_BEDROCK_RUNTIME=model.url,
            NO_COLOR="",
        )
        signatures = [request.headers["authorization"] for request in model.requests]

    assert status == 0, printed.decode()
    assert len(signatures) == 5
    assert all("AKIDDEMO/" in text and "/eu-west-3/bedrock/" in text for text in signatures)
    assert b"Amazon Bedrock in eu-west-3" in printed
    assert b"\x1b[" in printed
    assert b"You are Ada." in printed


def test_what_the_function_says_when_it_fails_is_shown(tmp_path: Path) -> None:
    done = run(tmp_path, "--model", "nobody/nothing")

    assert done.returncode == 1
    assert "The function failed" in done.stderr
    assert "nobody" in done.stderr
    assert left_in(tmp_path) == []


def test_help_starts_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")

    assert done.returncode == 0
    assert "--bedrock" in done.stdout
