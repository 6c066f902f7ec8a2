"""Packages of others, put into a folder as an installer puts them into a layer."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def install(folder: Path, *names: str) -> None:
    """Copy distributions, and all that they need, from the Python of the tests, with its bytecode.

    Raises:
        PackageNotFoundError: One of those named is missing, which the dev group installs.
    """
    waiting, done = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name in names:
                raise
            continue  # an extra, or for another platform
        for file in distribution.files or ():
            source = file.locate()
            if ".." not in file.parts and source.is_file():
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)  # bytecode names the time of its source
        waiting += [
            re.match(r"[\w.-]+", requirement)[0]
            for requirement in distribution.requires or ()
            if "extra ==" not in requirement
        ]
