"""Which Redis a URL names, and that no password is shown."""

import subprocess
import sys
from pathlib import Path

import pytest

from lambdallm_extension.errors import SettingError
from lambdallm_extension.settings import Settings
from lambdallm_extension.startup import started
from lambdallm_extension.stores.redis_urls import Target, parse_url

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("redis://host", Target("host", 6379)),
        ("redis://host:7000/2", Target("host", 7000, db=2)),
        ("redis://[::1]:7000", Target("::1", 7000)),
        ("redis://:p%40ss@host", Target("host", 6379, password="p@ss")),
        ("redis://me:p%3A%2F@host/0", Target("host", 6379, username="me", password="p:/")),
        ("rediss://host?ca=/a/ca.pem", Target("host", 6379, tls=True, ca="/a/ca.pem")),
        ("redis://host?prefix=chat:eu", Target("host", 6379, prefix="chat:eu")),
    ],
)
def test_a_url_is_taken_apart(url, target):
    assert parse_url(url, url) == target


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://u:secret@",
        "redis://u:secret@host:port",
        "redis://u:secret@host:70000",
        "redis://u:secret@host/one",
        "redis://u:secret@host/1/2",
        "redis://u:secret@host?prefix=",
        "redis://u:secret@host?prefix={x}",
        "redis://u:secret@host?prefix=a&prefix=b",
        "redis://u:secret@host?ssl_cert_reqs=none",
        "redis://u:secret@host?ca=/a",
        "redis://u:sec#ret@host",
        "redis://u:secret?x@host:port",
        "redis//u:secret@host",
        "redis:u:secret@host",
    ],
)
def test_what_is_none_is_told_the_form_and_no_password(open_at, url):
    with pytest.raises(SettingError) as caught:
        open_at(url)

    assert "LAMBDALLM_STORE" in caught.value.detail
    assert "redis://" in caught.value.detail
    assert "secret" not in caught.value.detail
    assert "sec#ret" not in caught.value.detail


@pytest.mark.parametrize(
    "url", ["redis://u:secret@host/1", "rediss://:secret@host", "redis://u:sec/ret@host?prefix=x"]
)
def test_the_line_of_a_cold_start_shows_no_password(url):
    line = started(Settings.from_environ({"LAMBDALLM_STORE": url}), store=True)

    assert "ret" not in line.split("store=")[1].split()[0]
    assert "@" not in line
    assert "host" in line


def open_alone(url: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Open a store in a process that has our packages and these folders alone."""
    folders = [*map(str, paths), str(ROOT / "extension"), str(ROOT / "runtime_api")]
    code = (
        f"import sys; sys.path += {folders!r}\n"
        "from lambdallm_extension.settings import Settings, SystemClock\n"
        "from lambdallm_extension.stores import open_store\n"
        f"settings = Settings.from_environ({{'LAMBDALLM_STORE': {url!r}}})\n"
        "before = list(sys.path)\n"
        "try:\n    open_store(settings, SystemClock(), None)\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
        "assert sys.path == before\n"
        "print('redis' in sys.modules)\n"
    )
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )


def test_without_the_package_it_is_told_where_to_get_it():
    said = open_alone("redis://u:secret@host").stdout

    assert said.startswith("SettingError")
    assert "./build.sh layer --redis" in said
    assert "pip install redis" in said
    assert "secret" not in said


def test_a_package_that_is_broken_is_another_error(tmp_path):
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "__init__.py").write_text("import nothing_that_is_there")

    assert open_alone("redis://host", tmp_path).stdout.startswith("ModuleNotFoundError")


def test_a_package_that_is_too_old_is_named(tmp_path):
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "__init__.py").write_text("__version__ = '5.1.9'")
    (tmp_path / "redis" / "exceptions.py").touch()
    (tmp_path / "redis" / "crc.py").write_text("key_slot = None")

    assert "SettingError redis 5.1.9 is too old" in open_alone("redis://host", tmp_path).stdout


@pytest.mark.parametrize("url", ["memory:", "dynamodb://table", "sqlite:///x.db"])
def test_other_stores_load_nothing_of_it(url):
    import redis

    found = Path(redis.__file__).parents[1]

    assert open_alone(url, found).stdout.strip() == "False"
