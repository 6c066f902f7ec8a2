"""What the tree promises: short files, telling names, one version."""

import ast
import re
import sys
from pathlib import Path

import pytest

import lambdallm
import lambdallm_extension

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PACKAGES = ("sdk", "extension", "runtime_api")
FOLDERS = (*PACKAGES, "layer", "examples", "benchmarks", "docs", "tests")

LINES_MAX = 400

SAY_NOTHING = {
    "utils", "util", "helpers", "helper", "common", "core", "base", "misc", "manager", "managers",
    "data", "info",
}  # fmt: skip

NAMED_BY_THE_EARLIER_PACKAGE = {
    "sdk/lambdallm/core",
    "sdk/lambdallm/providers/base.py",
    "sdk/lambdallm/middleware/base.py",
}
"""Programs import these; each only says again what stands elsewhere under a telling name."""


def python_files(*folders: str) -> list[Path]:
    return [
        path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "__pycache__" not in path.parts
    ]


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files(*FOLDERS)
    }

    assert len(lengths) > len(PACKAGES)
    long = {path: lines for path, lines in lengths.items() if lines > LINES_MAX}
    assert not long


def test_modules_say_what_they_hold() -> None:
    named = {
        path.relative_to(ROOT).as_posix()
        for folder in PACKAGES
        for path in (ROOT / folder).rglob("*")
        if path.stem.strip("_") in SAY_NOTHING and (path.suffix == ".py" or path.is_dir())
    }

    assert named - {path for path in named if path.endswith("__pycache__")} == (
        NAMED_BY_THE_EARLIER_PACKAGE & named
    )


def test_no_class_is_a_manager_or_a_helper() -> None:
    names = {
        node.name
        for path in python_files(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }

    assert names
    assert not {name for name in names if name.endswith(("Manager", "Helper", "Utils", "Info"))}


def test_tests_pass_fakes_in_instead_of_patching() -> None:
    patching = [
        path.relative_to(ROOT).as_posix()
        for path in python_files("tests")
        if re.search(r"^\s*(from|import) unittest", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]

    outside = [path for path in patching if not path.startswith("tests/compatibility/")]
    assert not outside, "only the earlier package's users patch; pass a fake in"


@pytest.mark.parametrize("version", [lambdallm_extension.VERSION, lambdallm.__version__])
def test_both_programs_carry_the_version_of_the_distribution(version: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert version == project["version"]


def test_the_distribution_needs_nothing_and_ships_types() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["dependencies"] == []
    assert "Typing :: Typed" in project["classifiers"]
    packages = [
        path.parent for folder in PACKAGES for path in (ROOT / folder).glob("*/__init__.py")
    ]
    assert all((package / "py.typed").is_file() for package in packages)
    wheel = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'"{package.relative_to(ROOT).as_posix()}"' in wheel for package in packages)


def test_documents_point_at_files_that_exist() -> None:
    for document in sorted(ROOT.glob("*.md")):
        links = re.findall(
            r"\]\((?!https?:|#|mailto:)([^)#]+)", document.read_text(encoding="utf-8")
        )
        missing = [link for link in links if not (ROOT / link).exists()]
        assert not missing, f"{document.name}: {missing}"


def test_every_variable_that_is_read_is_in_the_settings_page() -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    sources = [
        *python_files(*PACKAGES),
        *(ROOT / "layer" / name for name in ("extensions/lambdallm", "exec-wrapper", "main.py")),
    ]
    read = {
        name
        for path in sources
        for name in re.findall(r"LAMBDALLM_[A-Z_]+[A-Z]", path.read_text(encoding="utf-8"))
    }

    assert len(read) > 5
    told_by_the_launcher = {"LAMBDALLM_EXTENSION_IDENTIFIER"}
    assert sorted(name for name in read - told_by_the_launcher if f"`{name}`" not in page) == []
