"""redis-py for the sidecar, as a layer of its own: whoever keeps state in Redis attaches it.

    /opt/lambdallm/lib/redis/            the package as it is published, with bytecode
    /opt/lambdallm/lib/async_timeout/    which it imports before Python 3.11.3
    /opt/lambdallm/lib/….dist-info/      whose they are, and their licences

It lies on no path of the function's: the sidecar looks there for LAMBDALLM_STORE=redis://… alone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEELS = {
    "redis==8.1.0": "a4fe1aac3d3b3cc791d4b3d5931c5a956045dc951ee74d1c913ee3ac4d2ee9fb",
    "async-timeout==5.0.1": "39e3809566ff85354557ec2398b55e096c8364bacac9405a7a1fa429e77fe76c",
}
"""Each with the SHA-256 of its wheel, the same for every Python and processor.

Source: PyPI, 2026-11.
"""

ARCHIVE = "lambdallm-redis-layer.zip"

FOLDER = "lambdallm/lib"


def read_files() -> list[tuple[str, bytes]]:
    """Download the wheels, check them, and return their files by their paths below /opt.

    Raises:
        SystemExit: One cannot be had, or is another one.
    """
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch, "wanted.txt")
        wanted.write_text(
            "".join(f"{wheel} --hash=sha256:{digest}\n" for wheel, digest in WHEELS.items())
        )
        command = (
            sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download",
            "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes",
            "--dest", scratch, "--requirement", str(wanted),
        )  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip()[-1000:]
            message = f"{', '.join(WHEELS)} cannot be downloaded:\n{said}"
            raise SystemExit(message)
        files = []
        for path in sorted(Path(scratch).glob("*.whl")):
            with zipfile.ZipFile(path) as wheel:
                files += [
                    (f"{FOLDER}/{name}", wheel.read(name))
                    for name in sorted(wheel.namelist())
                    if _is_shipped(name)
                ]
        return files


def _is_shipped(name: str) -> bool:
    folder, _, rest = name.partition("/")
    if folder.endswith(".dist-info"):
        return rest in ("METADATA", "LICENSE") or rest.startswith("licenses/")
    return name.endswith((".py", ".typed"))
