"""Every code block of README.md is run: Python by `test_examples.py`, commands by CI."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def test_there_is_one_example_and_one_block_of_commands() -> None:
    assert sorted(language for language, _ in BLOCKS) == ["python", "sh"]


def test_the_commands_are_those_that_ci_runs() -> None:
    (commands,) = (block.splitlines() for language, block in BLOCKS if language == "sh")
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()

    assert commands
    assert set(commands) <= set(ci)


def test_every_file_that_it_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_it_stays_short_enough_to_read() -> None:
    assert len(README.splitlines()) < 100


def test_each_promise_has_its_rows_in_reliability() -> None:
    reliability = (ROOT / "RELIABILITY.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[\w/.]+)`", reliability))

    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []
