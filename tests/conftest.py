"""What all tests share."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from fakes import botocore_models
from fakes.ministack import serve_ministack
from fakes.moto_server import serve_moto
from fakes.thoroughness import WHOLE
from lambda_runtime_api.emulator import server

LONG = ("test_small_function.py", "test_soak.py")

settings.register_profile("whole", deadline=None, derandomize=True, max_examples=WHOLE)
settings.register_profile("short", settings.get_profile("whole"), max_examples=WHOLE * 2 // 5)


def pytest_configure(config: pytest.Config) -> None:
    """Take fewer examples of each property where slow tests are left out, too."""
    settings.load_profile("short" if "not slow" in config.option.markexpr else "whole")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Twice as many workers as there are CPUs: much of the time is waited for timeouts."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what is long and mostly waits; at the end nothing would run beside it."""
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_collection_finish() -> None:
    """Leave what was imported and collected, a million objects, out of every later collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def models_read_once() -> Iterator[None]:
    """Let botocore read each of its models once, and not for every session."""
    with botocore_models.read_once():
        yield


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Endpoint of a server of AWS's APIs in a child process, for tables and buckets of one's own.

    It starts in more than a second, so that all tests of a process share it.
    """
    with serve_ministack(tmp_path_factory.mktemp("ministack")) as url:
        yield url


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Endpoint of another one, in a thread of this process."""
    with serve_moto() as url:
        yield url


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens now, and that no other test is promised."""
    return server.free_port()
