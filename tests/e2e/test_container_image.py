"""The example images, as far as a machine without Docker goes.

A parser of Dockerfiles reads them, what they copy is copied into a root of its own, and AWS's
emulator starts there what they name. Their base images are not fetched: the runtime is the one of
the other tests.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dockerfile_parse import DockerfileParser

from e2e.chats import lines_with, post, reply_of

if TYPE_CHECKING:
    from e2e.conftest import Start

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES = REPOSITORY / "examples/container_image"
TASK_ROOT = "/var/task"
"""Of AWS's base images (Lambda developer guide, "Deploy Python functions with images", 2026-10)."""


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `docker build` is given: the repository after `./build.sh layer`."""
    folder = tmp_path_factory.mktemp("context")
    subprocess.run(
        [sys.executable, "layer/build_layer.py", "build", "--output", str(folder / "dist"),
         "--python", sys.executable],
        cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    shutil.copytree(
        REPOSITORY / "examples",
        folder / "examples",
        ignore=shutil.ignore_patterns("__pycache__", ".lambdallm"),
    )
    return folder


class Image:
    """What a Dockerfile says, done in a folder."""

    def __init__(self, dockerfile: Path, context: Path, root: Path) -> None:
        parser = DockerfileParser(fileobj=io.BytesIO(dockerfile.read_bytes()))
        self.root = root
        self.base = parser.baseimage
        self.environ: dict[str, str] = {}
        self.entry_point: list[str] = []
        self.command: list[str] = []
        self._context = context
        self._directory = TASK_ROOT
        for step in parser.structure:
            self._do(step["instruction"], step["value"])

    def _do(self, instruction: str, value: str) -> None:
        value = value.replace("${LAMBDA_TASK_ROOT}", TASK_ROOT)
        if instruction in ("ADD", "COPY"):
            source, target = value.split()
            path = self.root / self._inside(target)
            if instruction == "ADD" and source.endswith(".tar"):
                shutil.unpack_archive(self._context / source, path)
            else:
                path.mkdir(parents=True, exist_ok=True)
                shutil.copy(self._context / source, path)
        elif instruction == "ENV":
            name, _, text = value.partition("=")
            self.environ[name] = text
        elif instruction == "WORKDIR":
            self._directory = value
        elif instruction == "ENTRYPOINT":
            self.entry_point = json.loads(value)
        elif instruction == "CMD":
            self.command = json.loads(value)
        else:
            assert instruction in ("COMMENT", "FROM") or value == (
                "pip install --no-cache-dir awslambdaric"
            ), f"{instruction} {value}"

    def _inside(self, target: str) -> str:
        return str(Path("/", self._directory, target)).lstrip("/")


def converse(host: Start, image: Image, variables: dict[str, str], **options: Any) -> None:
    (handler,) = image.command
    session = f"image-{host.name}-{image.base.partition(':')[0].replace('/', '.')}"
    with host(
        image.root / TASK_ROOT.lstrip("/"),
        handler,
        opt=image.root / "opt",
        variables={**variables, **image.environ},
        timeout_seconds=20,
        **options,
    ) as environment:
        assert reply_of(environment.invoke(post(session, "one"))) == "You said 1 things."
        assert reply_of(environment.invoke(post(session, "two"))) == "You said 2 things."
        assert len(lines_with(environment, '"CostUSD"')) == 2
        assert not lines_with(environment, "embedded engine serves")


def test_on_the_base_image_of_aws(
    host: Start, context: Path, chat_variables: dict[str, str], tmp_path: Path
) -> None:
    image = Image(IMAGES / "Dockerfile", context, tmp_path / "root")

    assert image.base == "public.ecr.aws/lambda/python:3.13"
    assert [path.name for path in (image.root / "opt/extensions").iterdir()] == ["lambdallm"]
    converse(host, image, chat_variables)


def test_on_any_base_image(
    host: Start, context: Path, chat_variables: dict[str, str], tmp_path: Path
) -> None:
    """Its entry point is the runtime client itself; the machine's runtime folder has that."""
    image = Image(IMAGES / "Dockerfile.any-base", context, tmp_path / "root")
    start = " ".join([*image.entry_point, *image.command])
    bootstrap = image.root / "var/task/bootstrap"
    bootstrap.write_text(
        f'#!/bin/sh\nexport PYTHONPATH="$PYTHONPATH:$LAMBDA_RUNTIME_DIR"\nexec {start}\n'
    )
    bootstrap.chmod(0o755)
    if host.name == "emulator":  # its /opt is a folder elsewhere
        image.environ["PYTHONPATH"] = str(image.root / "opt/python")
    dead = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")

    converse(host, image, {**chat_variables, **dead})
