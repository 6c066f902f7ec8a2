"""Build the layer, and publish it.

    dist/lambdallm-layer.zip     attach it to functions
    dist/lambdallm-opt.tar       the same files under opt/, for container images
    dist/lambdallm-redis-layer.zip    with --redis: redis-py, for functions that keep state there

    /opt/extensions/lambdallm    launcher, the only file there: Lambda executes every file
    /opt/lambdallm/              sidecar, exec-wrapper, manifest.json; never on the function's path
    /opt/python/                 what the function imports; the contract's modules stand beside
                                 the sidecar, once for both

The same sources and the same Pythons make the same bytes. Each Python found compiles unchecked
bytecode: /opt is read-only, so a Python whose bytecode is missing compiles at every cold start.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

import redis_package

ROOT = Path(__file__).resolve().parents[1]
LAYER = ROOT / "layer"

SUPPORTED = ("3.10", "3.11", "3.12", "3.13", "3.14")
"""Lambda's Python runtimes (Lambda developer guide, "Lambda runtimes", 2026-11)."""

ZIPPED_BYTES_MAX = 2_500_000
"""What the layer may cost a function's download, bytecode of five Pythons included."""

_COMPILER = """
import ast, importlib.util, json, marshal, os, sys

def without_docstrings(tree):
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            if isinstance(first.value.value, str):
                node.body[:1] = [] if node.body[1:] else [ast.copy_location(ast.Pass(), first)]
    return tree

UNCHECKED_HASH = 1
for source, run_time_path, target in json.load(sys.stdin):
    with open(source, "rb") as file:
        content = file.read()
    tree = without_docstrings(ast.parse(content, run_time_path))
    code = compile(tree, run_time_path, "exec", dont_inherit=True)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        file.write(importlib.util.MAGIC_NUMBER + UNCHECKED_HASH.to_bytes(4, "little"))
        file.write(importlib.util.source_hash(content) + marshal.dumps(code))
"""

_PACKAGES = {
    "lambdallm": ROOT / "sdk",
    "lambdallm_extension": ROOT / "extension",
    "lambdallm_wire": ROOT / "runtime_api",
    "lambda_runtime_api": ROOT / "runtime_api",
}

_SHARED = ("lambdallm_wire", "lambda_runtime_api")
_SHARED_INIT = b'''"""They stand in the layer's own folder, once for function and sidecar."""

__path__ = [__file__.rpartition("/python/")[0] + "/lambdallm/" + __name__]
'''
"""Not the other way round: what other layers bring to /opt/python must not reach the sidecar."""

_LEFT_OUT = ("lambda_runtime_api/emulator", "lambdallm/testing")
"""Tools of developers' machines."""


class Python(NamedTuple):
    """An interpreter that compiles for its version."""

    version: str
    tag: str
    full_version: str
    path: str


class Member(NamedTuple):
    """One file of the layer; `path` begins below /opt."""

    path: str
    content: bytes
    executable: bool = False


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="build_layer.py",
        description="Build the lambdallm layer, and publish it.",
        epilog="example: ./build.sh layer --output /tmp/layer",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build_command = commands.add_parser("build", help="write the zip and the tar")
    publish_command = commands.add_parser(
        "publish", help="publish the zip as a layer version of the current AWS account"
    )
    for command in (build_command, publish_command):
        command.add_argument("--output", type=Path, default=ROOT / "dist", help="folder (dist/)")
        command.add_argument(
            "--python", action="append", help="compile with this one only (repeatable)"
        )
        command.add_argument(
            "--redis", action="store_true", help="the layer with redis-py, to attach beside it"
        )
    publish_command.add_argument("--name", help="layer name (lambdallm, or lambdallm-redis)")
    publish_command.add_argument("--region", help="AWS region (the session's own)")
    publish_command.add_argument(
        "--dry-run", action="store_true", help="build and check, publish nothing"
    )
    options = parser.parse_args(arguments)
    pythons = find_pythons(options.python)
    make = build_redis if options.redis else build
    archive = make(options.output, pythons)
    if options.command == "publish":
        options.name = options.name or archive.stem.removesuffix("-layer")
        return publish(archive, pythons, options)
    return 0


def build(output: Path, pythons: list[Python]) -> Path:
    """Write both archives into a folder, say what is in them, and return the zip's path.

    Raises:
        SystemExit: The folder cannot be made, or not written.
    """
    members = collect()
    members += compile_members(members, pythons)
    members.append(manifest(members, pythons))
    members.sort()
    archive = output / "lambdallm-layer.zip"
    _write({archive: to_zip(members), output / "lambdallm-opt.tar": to_tar(members)})
    _tell(members, pythons)
    if archive.stat().st_size > ZIPPED_BYTES_MAX:
        print(f"too large: the zip is meant to stay below {ZIPPED_BYTES_MAX:,} bytes")
    return archive


def build_redis(output: Path, pythons: list[Python]) -> Path:
    """Write the layer with redis-py into a folder, and return its path.

    Raises:
        SystemExit: The folder cannot be written, or the package cannot be had.
    """
    members = [Member(path, content) for path, content in redis_package.read_files()]
    members += compile_members(members, pythons)
    members.sort()
    archive = output / redis_package.ARCHIVE
    _write({archive: to_zip(members)})
    _tell(members, pythons)
    return archive


def _write(files: dict[Path, bytes]) -> None:
    for path, content in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            message = f"{path.parent} cannot be written ({error.strerror}); name one with --output."
            raise SystemExit(message) from None
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path}  {path.stat().st_size:,} bytes  sha256 {digest}")


def _tell(members: list[Member], pythons: list[Python]) -> None:
    unzipped = sum(len(member.content) for member in members)
    print(f"unzipped  {unzipped:,} bytes in {len(members)} files")
    print("bytecode  " + ", ".join(f"{each.version} ({each.full_version})" for each in pythons))
    gap = missing(pythons)
    if gap:
        print(f"missing   {', '.join(gap)}: functions on these would compile at every cold start")


def missing(pythons: list[Python]) -> list[str]:
    """Return the supported versions that have no bytecode."""
    return [version for version in SUPPORTED if version not in {each.version for each in pythons}]


def collect() -> list[Member]:
    """Read everything that is shipped as it is."""
    members = [
        Member("extensions/lambdallm", (LAYER / "extensions/lambdallm").read_bytes(), True),
        Member("lambdallm/exec-wrapper", (LAYER / "exec-wrapper").read_bytes(), True),
        Member("lambdallm/main.py", (LAYER / "main.py").read_bytes()),
        Member("lambdallm/LICENSE", (ROOT / "LICENSE").read_bytes()),
    ]
    for package in ("lambdallm_extension", *_SHARED):
        members += _package("lambdallm", package)
    members += _package("python", "lambdallm")
    members += [Member(f"python/{package}/__init__.py", _SHARED_INIT) for package in _SHARED]
    return members


def _package(folder: str, package: str) -> list[Member]:
    base = _PACKAGES[package]
    members = []
    for path in sorted((base / package).rglob("*")):
        name = path.relative_to(base).as_posix()
        shipped = path.suffix in {".py", ".json"} and "__pycache__" not in path.parts
        if shipped and not name.startswith(_LEFT_OUT):
            members.append(Member(f"{folder}/{name}", path.read_bytes()))
    return members


def compile_members(members: list[Member], pythons: list[Python]) -> list[Member]:
    """Compile every module with every Python, to bytecode that is never checked against it.

    Without docstrings, which are a third of it, and are read into memory at every start. The
    sources beside it have them.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for member in members:
            path = Path(scratch, "source", member.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(member.content)
        sources = [member.path for member in members if member.path.endswith(".py")]
        jobs = {python: [(each, _target(each, python)) for each in sources] for python in pythons}
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # each of which waits for a Python
            list(threads.map(lambda each: _compile(each, Path(scratch), jobs[each]), pythons))
        targets = [target for pairs in jobs.values() for _, target in pairs]
        return [Member(each, Path(scratch, "compiled", each).read_bytes()) for each in targets]


def _target(source: str, python: Python) -> str:
    folder, _, name = source.rpartition("/")
    return f"{folder}/__pycache__/{name[:-3]}.{python.tag}.pyc"


def _compile(python: Python, scratch: Path, jobs: list[tuple[str, str]]) -> None:
    lines = [
        (str(scratch / "source" / source), f"/opt/{source}", str(scratch / "compiled" / target))
        for source, target in jobs
    ]
    subprocess.run(
        # Not -I, which ignores the hash seed; columns would be a fifth of the bytecode.
        [python.path, "-s", "-S", "-B", "-X", "no_debug_ranges", "-c", _COMPILER],
        input=json.dumps(lines),
        text=True,
        check=True,
        cwd=scratch,
        env={"PYTHONHASHSEED": "0", "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")},
    )


def manifest(members: list[Member], pythons: list[Python]) -> Member:
    """Describe the layer: its version, its Pythons, a hash of each source."""
    content = {
        "version": _version(),
        "pythons": {each.version: each.full_version for each in pythons},
        "files": {
            member.path: hashlib.sha256(member.content).hexdigest()
            for member in sorted(members)
            if not member.path.endswith(".pyc")
        },
    }
    return Member("lambdallm/manifest.json", json.dumps(content, indent=1).encode())


def _version() -> str:
    for line in (ROOT / "extension/lambdallm_extension/__init__.py").read_text().splitlines():
        if line.startswith("VERSION = "):
            return line.split('"')[1]
    raise ValueError("lambdallm_extension has no VERSION")


def to_zip(members: list[Member]) -> bytes:
    """Make the layer's zip, with one date and fixed modes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member in members:
            entry = zipfile.ZipInfo(member.path, (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, so that the modes count
            entry.external_attr = (0o100755 if member.executable else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.content, compresslevel=9)
    return buffer.getvalue()


def to_tar(members: list[Member]) -> bytes:
    """Make the tar for images: `ADD lambdallm-opt.tar /`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for member in members:
            entry = tarfile.TarInfo(f"opt/{member.path}")
            entry.size = len(member.content)
            entry.mode = 0o755 if member.executable else 0o644
            archive.addfile(entry, io.BytesIO(member.content))
    return buffer.getvalue()


def find_pythons(paths: list[str] | None = None) -> list[Python]:
    """Find one interpreter for each supported version.

    Args:
        paths: These alone; else the running one, those on PATH, pyenv's and uv's.
    """
    found: dict[str, Python] = {}
    for path in paths or _candidates():
        # Absolute, because it compiles elsewhere; not resolved, because a link may be a venv.
        python = _describe(str(Path.cwd() / (shutil.which(path) or path)))
        if python is None and paths:
            message = f"{path} is no Python that runs."
            raise SystemExit(message)
        if python is not None and python.version in SUPPORTED:
            found.setdefault(python.version, python)
    return [found[version] for version in SUPPORTED if version in found]


def _candidates() -> list[str]:
    names = [sys.executable, *(shutil.which(f"python{version}") for version in SUPPORTED)]
    pyenv = _output("pyenv", "root")
    if pyenv:
        names += [
            str(path) for path in sorted(Path(pyenv.strip()).glob("versions/3.*/bin/python3"))
        ]
    for line in _output("uv", "python", "list", "--only-installed").splitlines():
        names += line.split()[1:2]
    return [name for name in names if name]


def _describe(path: str) -> Python | None:
    """Ask an interpreter what it is; None when it does not run or is no release."""
    question = (
        "import platform, sys; v = sys.version_info;"
        'print(f"{v[0]}.{v[1]}", sys.implementation.cache_tag, platform.python_version(), v[3])'
    )
    parts = _output(path, "-I", "-S", "-c", question).split()
    if len(parts) != 4 or parts[3] != "final" or not parts[1].startswith("cpython"):  # noqa: PLR2004
        return None
    return Python(parts[0], parts[1], parts[2], path)


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def publish(archive: Path, pythons: list[Python], options: argparse.Namespace) -> int:
    """Publish a layer that has bytecode for every runtime; refuse any other."""
    gap = missing(pythons)
    if gap:
        print(
            f"Not published: no bytecode for Python {', '.join(gap)}. Install "
            "them (pyenv and uv are looked into) and build again.",
            file=sys.stderr,
        )
        return 1
    if options.dry_run:
        print(f"Would publish {archive} as layer {options.name!r}.")
        return 0
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        reply = boto3.client("lambda", region_name=options.region).publish_layer_version(
            LayerName=options.name,
            Description=f"lambdallm {_version()}",
            Content={"ZipFile": archive.read_bytes()},
            CompatibleRuntimes=[f"python{version}" for version in SUPPORTED],
            CompatibleArchitectures=["x86_64", "arm64"],
            LicenseInfo="MIT",
        )
    except NoCredentialsError:
        print("Not published: no AWS credentials were found.", file=sys.stderr)
        return 3
    except (BotoCoreError, ClientError) as error:
        print(f"Not published: {error}", file=sys.stderr)
        return 3
    print(reply["LayerVersionArn"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
