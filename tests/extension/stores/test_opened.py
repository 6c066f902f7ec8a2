"""Each store is opened once, at its first use."""

import pytest

from fakes.clocks import HandClock
from lambdallm_extension import errors
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.domain.overhead import Overhead
from lambdallm_extension.settings import Settings
from lambdallm_extension.stores.opened import FURTHER_STORES_MAX, OpenedStores


def opened(**environ: str) -> OpenedStores:
    settings, clock = Settings.from_environ(environ), HandClock()
    return OpenedStores(settings, clock, lambda: CredentialSource(settings, clock), Overhead())


def test_each_url_has_one_store() -> None:
    stores = opened(LAMBDALLM_STORE="memory:")
    assert (stores.has_own, stores.all()) == (False, [])

    own = stores.store()

    assert stores.store() is stores.store("memory:") is own
    assert stores.has_own
    assert stores.all() == [own]


def test_one_that_cannot_be_is_not_kept() -> None:
    stores = opened(LAMBDALLM_STORE="floppy:")

    with pytest.raises(errors.SettingError, match="LAMBDALLM_STORE"):
        stores.store()
    assert stores.all() == []


def test_there_are_only_so_many(tmp_path: object) -> None:
    stores = opened(LAMBDALLM_STORE="memory:")
    for number in range(FURTHER_STORES_MAX):
        stores.store(f"sqlite:///{tmp_path}/{number}.db")

    with pytest.raises(errors.SettingError, match="More than 16 stores"):
        stores.store(f"sqlite:///{tmp_path}/more.db")
    assert stores.store() in stores.all()  # its own has a place in any case


def test_forgotten_ones_are_opened_anew() -> None:
    stores = opened(LAMBDALLM_STORE="memory:")
    own = stores.store()

    stores.forget()

    assert not stores.has_own
    assert stores.store() is not own
