"""The layer, built as a user builds it, and unpacked as AWS unpacks it."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fakes.shared_builds import made_once

if TYPE_CHECKING:
    from types import ModuleType

BUILDER = Path(__file__).resolve().parents[2] / "layer" / "build_layer.py"


@pytest.fixture(scope="session")
def builder() -> ModuleType:
    """The builder as a module; it lies outside of every package."""
    spec = importlib.util.spec_from_file_location("build_layer", BUILDER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def archive(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip with the bytecode of the running Python; the tar lies beside it."""

    def build(folder: Path) -> None:
        builder.build(folder, builder.find_pythons([sys.executable]))

    (path,) = made_once(tmp_path_factory, "dist", build).glob("*.zip")
    return path


@pytest.fixture(scope="session")
def opt(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What becomes `/opt`. Copy it before changing it."""

    def unpack(folder: Path) -> None:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                Path(opened.extract(entry, folder)).chmod(entry.external_attr >> 16 & 0o777)

    return made_once(tmp_path_factory, "opt", unpack)
