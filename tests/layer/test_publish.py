"""What AWS is told when a layer is published; an account of moto's stands for AWS."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
import pytest

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

REGION = "eu-west-1"
NAME = f"lambdallm-{uuid4().hex}"


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.fixture
def aws(no_credentials: None, monkeypatch: pytest.MonkeyPatch, moto: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


def publish(builder: ModuleType, archive: Path, *, dry_run: bool = False) -> int:
    pythons = [builder.Python(version, "cpython", version, "") for version in builder.SUPPORTED]
    options = Namespace(name=NAME, region=REGION, dry_run=dry_run)
    status: int = builder.publish(archive, pythons, options)
    return status


@pytest.mark.usefixtures("aws")
def test_the_layer_is_published_for_every_runtime(
    builder: ModuleType, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = publish(builder, archive)

    arn = capsys.readouterr().out.strip()
    (version,) = boto3.client("lambda", region_name=REGION).list_layer_versions(LayerName=NAME)[
        "LayerVersions"
    ]
    assert status == 0
    assert version["LayerVersionArn"] == arn
    assert version["CompatibleRuntimes"] == [f"python{name}" for name in builder.SUPPORTED]
    assert set(version["CompatibleArchitectures"]) == {"x86_64", "arm64"}
    assert version["LicenseInfo"] == "MIT"


@pytest.mark.usefixtures("aws")
def test_a_dry_run_publishes_nothing(builder: ModuleType, archive: Path) -> None:
    aws = boto3.client("lambda", region_name=REGION)
    before = aws.list_layer_versions(LayerName=NAME)["LayerVersions"]

    assert publish(builder, archive, dry_run=True) == 0

    assert aws.list_layer_versions(LayerName=NAME)["LayerVersions"] == before


@pytest.mark.usefixtures("no_credentials")
def test_without_credentials_it_says_so(
    builder: ModuleType, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(builder, archive) == 3
    assert "no AWS credentials" in capsys.readouterr().err
