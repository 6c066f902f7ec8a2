"""Functions that ministack runs in processes of their own, with this project and its tests."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from pathlib import Path
from uuid import uuid4

import boto3

TESTS = Path(__file__).resolve().parent.parent


def deploy(endpoint: str, code: str, variables: dict[str, str], timeout_seconds: int = 30) -> str:
    """Make a function, and return its ARN.

    Args:
        endpoint: Of ministack.
        code: Of its module, whose handler is `work`.
        variables: Of its environment, beside those of this process that are ours or AWS's.
        timeout_seconds: Of an invocation.
    """
    own = {
        name: value for name, value in os.environ.items() if name.startswith(("AWS_", "LAMBDALLM_"))
    }
    paths = [str(TESTS), *[path for path in sys.path if path]]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", f"import sys\nsys.path[:0] = {paths!r}\n{code}")
    client = boto3.client("lambda", endpoint_url=endpoint, region_name="us-east-1")
    made = client.create_function(
        FunctionName=f"work-{uuid4().hex}",
        Runtime=f"python3.{sys.version_info.minor}",
        Role="arn:aws:iam::000000000000:role/work",
        Handler="app.work",
        Code={"ZipFile": packed.getvalue()},
        Timeout=timeout_seconds,
        Environment={"Variables": {**own, "LAMBDALLM_SIDECAR": "off", **variables}},
    )
    client.close()
    return str(made["FunctionArn"])
