"""The layer with redis-py: what is in it, and that it is the same every time."""

import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from fakes.shared_builds import made_once


@pytest.fixture(scope="module")
def redis_archive(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(folder: Path) -> None:
        builder.build_redis(folder, builder.find_pythons([sys.executable]))

    (archive,) = made_once(tmp_path_factory, "redis-layer", build).iterdir()
    return archive


def test_it_is_the_sidecars_alone(redis_archive: Path) -> None:
    names = zipfile.ZipFile(redis_archive).namelist()

    packages = {name.split("/")[2] for name in names if ".dist-info" not in name}
    assert all(name.startswith("lambdallm/lib/") for name in names)
    assert packages == {"redis", "async_timeout"}
    assert "lambdallm/lib/redis/__init__.py" in names
    tag = sys.implementation.cache_tag
    assert f"lambdallm/lib/redis/__pycache__/__init__.{tag}.pyc" in names
    assert len([name for name in names if name.endswith("/LICENSE")]) == 2


@pytest.mark.slow  # five seconds, for what the layer's own builder does the same way
def test_two_builds_are_the_same_bytes(
    builder: ModuleType, redis_archive: Path, tmp_path: Path
) -> None:
    again = builder.build_redis(tmp_path, builder.find_pythons([sys.executable]))

    assert again.read_bytes() == redis_archive.read_bytes()


def test_another_package_than_the_one_that_was_looked_at_is_refused(
    builder: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(builder.redis_package.WHEELS, "redis==8.1.0", "0" * 64)

    with pytest.raises(SystemExit, match=r"(?s)cannot be downloaded.*(HASH|hash)"):
        builder.build_redis(tmp_path, [])


def test_beside_the_layer_every_python_of_the_sidecar_finds_it(
    builder: ModuleType, opt: Path, redis_archive: Path, tmp_path: Path
) -> None:
    both = tmp_path / "opt"
    zipfile.ZipFile(redis_archive).extractall(both)
    for folder in ("lambdallm_extension", "lambdallm_wire", "lambda_runtime_api"):
        (both / "lambdallm" / folder).symlink_to(opt / "lambdallm" / folder)
    code = (
        f"import sys; sys.path.insert(0, {str(both / 'lambdallm')!r})\n"
        "from lambdallm_extension.settings import Settings, SystemClock\n"
        "from lambdallm_extension.aws.credentials import CredentialSource\n"
        "from lambdallm_extension.stores import open_store\n"
        "settings = Settings.from_environ({'LAMBDALLM_STORE': 'redis://host'})\n"
        "open_store(settings, SystemClock(), CredentialSource(settings, SystemClock()))\n"
        "print(sys.modules['redis'].__file__, *sys.path, sep='\\n')\n"
    )
    for python in builder.find_pythons():
        done = subprocess.run(
            [python.path, "-I", "-S", "-B", "-c", code], capture_output=True, text=True, check=True
        )
        found, *paths = done.stdout.splitlines()
        assert found == str(both / "lambdallm/lib/redis/__init__.py"), python.version
        assert not [path for path in paths if path.endswith("/lib")], "it is not for the function"
