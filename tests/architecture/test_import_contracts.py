"""Each way of importing across the house breaks one contract, and says which by name."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("sdk", "extension", "runtime_api")

PROGRAMS = "Programs above, APIs below"
SEAM = "Only lambdallm._embedded loads the engine into the function's process"
COMMAND_LINE = "The command line starts the sidecar as a process, never as an import"
STANDARD_LIBRARY = "Standard library only, whatever is shipped"
SIDECAR = "Sidecar: adapters outside, decisions inside"
SDK = "SDK: what users name above, what talks below"
STORES = "Stores do not know each other"
PROVIDERS = "Providers do not know each other"
CYCLES = "No import cycles"

CONTRACTS = {
    PROGRAMS, SEAM, COMMAND_LINE, STANDARD_LIBRARY, SIDECAR, SDK, STORES, PROVIDERS, CYCLES
}  # fmt: skip

VERDICT = r"^(.+) (KEPT|BROKEN)(?= \(|$)"

WIRE = "runtime_api/lambdallm_wire"
RUNTIME_API = "runtime_api/lambda_runtime_api"
EXTENSION = "extension/lambdallm_extension"
PROVIDER = f"{EXTENSION}/providers"

FORBIDDEN = [
    (f"{EXTENSION}/services/chat.py", "import lambdallm", PROGRAMS),
    (f"{WIRE}/codec.py", "import lambda_runtime_api.http1", PROGRAMS),
    (f"{WIRE}/codec.py", "import lambdallm_extension.errors", PROGRAMS),
    (f"{RUNTIME_API}/events.py", "import lambdallm_extension.errors", PROGRAMS),
    ("sdk/lambdallm/_context.py", "import lambdallm_cli", PROGRAMS),
    ("sdk/lambdallm/_context.py", "import lambdallm_extension.engine", SEAM),
    ("sdk/lambdallm/_embedded.py", "import lambdallm_extension.stores.memory", SEAM),
    ("sdk/lambdallm_cli/commands.py", "import lambdallm_extension.engine", COMMAND_LINE),
    (f"{EXTENSION}/aws/client.py", "import urllib3", STANDARD_LIBRARY),
    (f"{WIRE}/codec.py", "import yaml", STANDARD_LIBRARY),
    ("sdk/lambdallm/_sidecar.py", "import requests", STANDARD_LIBRARY),
    (f"{EXTENSION}/domain/retry.py", "import lambdallm_extension.stores.memory", SIDECAR),
    (f"{EXTENSION}/services/chat.py", "import lambdallm_extension.server.http", SIDECAR),
    (f"{EXTENSION}/telemetry/emf.py", "import lambdallm_extension.stores.sqlite", SIDECAR),
    ("sdk/lambdallm/_settings.py", "import lambdallm._handler", SDK),
    (f"{EXTENSION}/stores/memory.py", "import lambdallm_extension.stores.sqlite", STORES),
    (f"{PROVIDER}/scripted.py", "import lambdallm_extension.providers.bedrock", PROVIDERS),
    (f"{RUNTIME_API}/heads.py", "import lambda_runtime_api.http1", CYCLES),
    (f"{EXTENSION}/services/tasks.py", "import lambdallm_extension.services.sessions", CYCLES),
]  # fmt: skip


def copy_packages(destination: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", destination)
    for folder in SOURCES:
        shutil.copytree(
            ROOT / folder, destination / folder, ignore=shutil.ignore_patterns("__pycache__")
        )


def check_contracts(tree: Path) -> tuple[dict[str, bool], str]:
    """Return which contracts are kept, and what lint-imports printed."""
    paths = [*(str(tree / folder) for folder in SOURCES), str(ROOT / "tests")]
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as main; main()",
            "--no-cache",
            "--no-logo",
        ],
        cwd=tree,
        env={"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = {
        name: verdict == "KEPT" for name, verdict in re.findall(VERDICT, run.stdout, re.MULTILINE)
    }
    return verdicts, run.stdout + run.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    copy_packages(tmp_path)
    return tmp_path


def test_every_contract_holds(tree: Path) -> None:
    verdicts, output = check_contracts(tree)

    assert verdicts == dict.fromkeys(CONTRACTS, True), output


FIRST = {
    contract: (importer, statement, contract) for importer, statement, contract in FORBIDDEN[::-1]
}
"""Of each contract, which every run plants; the others come with the slow tests."""


@pytest.mark.parametrize(
    ("importer", "statement", "contract"),
    [
        case if case in FIRST.values() else pytest.param(*case, marks=pytest.mark.slow)
        for case in FORBIDDEN
    ],
)
def test_a_forbidden_import_breaks_one_contract(
    tree: Path, importer: str, statement: str, contract: str
) -> None:
    module = tree / importer
    module.write_text(f"{module.read_text()}\n{statement}\n")

    verdicts, output = check_contracts(tree)

    broken = {name for name, kept in verdicts.items() if not kept}
    assert broken == {contract}, output
    assert verdicts.keys() == CONTRACTS


@pytest.mark.parametrize(
    ("module", "contract"),
    [(f"{EXTENSION}/leftover.py", SIDECAR), ("sdk/lambdallm/_leftover.py", SDK)],
)
def test_a_new_module_without_a_layer_breaks_one_contract(
    tree: Path, module: str, contract: str
) -> None:
    (tree / module).write_text('"""Belongs nowhere."""\n')

    verdicts, output = check_contracts(tree)

    assert {name for name, kept in verdicts.items() if not kept} == {contract}, output
