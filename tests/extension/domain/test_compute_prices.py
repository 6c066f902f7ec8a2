"""What Lambda bills: exact, rounded once, and of the right region."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension.domain import compute_prices
from lambdallm_extension.domain.compute_prices import Compute, Place, price, storage_mb


def test_an_example_to_the_last_digit() -> None:
    # 0.0000002 + 1.837 s x 0.5 GB x 0.0000133334, which is 0.0000124467279.
    assert price(Place("us-east-1", "aarch64"), 1_837, 512) == Compute(
        12_446_728, "on-demand", "us-east-1"
    )


@pytest.mark.parametrize(
    ("place", "usd"),
    [
        (Place("us-east-1"), "0.0000168667"),
        (Place("eu-south-1"), "0.0000197472"),
        (Place("af-south-1", "arm64"), "0.00001795"),
        (Place("us-east-1", initialization="provisioned-concurrency"), "0.0000099222"),
        (Place("us-east-1", "aarch64", "provisioned-concurrency"), "0.0000079778"),
        (Place("us-east-1", initialization="snap-start"), "0.0000168667"),
        (Place("us-east-1", storage_mb=512 + 1_024), "0.0000168976"),
    ],
)
def test_a_gigabyte_for_a_second(place: Place, usd: str) -> None:
    assert price(place, 1_000, 1_024).pico_usd == Decimal(usd).scaleb(12)


def test_a_region_that_nobody_knows_has_another_one_s_price_and_says_so() -> None:
    here = price(Place("mars-north-1"), 100, 128)

    assert here == price(Place("us-east-1"), 100, 128)
    assert here.region == "us-east-1"
    assert price(Place("eu-west-1"), 100, 128).region == "eu-west-1"


def test_another_currency_is_no_price() -> None:
    assert price(Place("cn-north-1"), 100, 128).pico_usd is None


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_no_source_has_is_no_price(machine: str) -> None:
    provisioned = Place("me-central-1", machine, "provisioned-concurrency")

    assert price(provisioned, 100, 128).pico_usd is None
    assert price(Place("me-central-1", machine), 100, 128).pico_usd
    assert (price(Place("il-central-1", machine), 100, 128).pico_usd is None) is (
        machine == "aarch64"
    )


@pytest.mark.parametrize("region", compute_prices.REGIONS)
def test_a_price_is_one_of_lambda_s(region: str) -> None:
    request, x86_64, arm64, provisioned, storage = compute_prices.REGIONS[region]

    assert 180_000 <= request <= 280_000
    assert arm64 is None or arm64 / x86_64 == pytest.approx(0.8, abs=0.002)
    assert 15_000_000 <= x86_64 <= 23_000_000
    assert provisioned is None or 0.55 < provisioned / x86_64 < 0.95
    assert 30_000 <= storage <= 60_000


@given(st.integers(0, 900_000), st.integers(128, 10_240), st.integers(512, 10_240))
def test_it_is_rounded_once(billed_ms: int, memory_mb: int, storage: int) -> None:
    exact = Decimal(200_000) + Decimal(billed_ms) / 1_000 * (
        Decimal(memory_mb) / 1_024 * 16_666_700 + Decimal(storage - 512) / 1_024 * 30_900
    )
    told = price(Place("us-east-1", storage_mb=storage), billed_ms, memory_mb).pico_usd

    assert told is not None
    assert abs(told - exact) <= Decimal("0.5")


@pytest.mark.parametrize(
    ("measured", "configured"),
    [(0, 512), (525, 512), (538, 512), (1_024, 1_024), (10_240, 10_240), (10_750, 10_240),
     (500_000, 512)],
)  # fmt: skip
def test_storage_is_what_is_configured_of_the_folder(measured: int, configured: int) -> None:
    assert storage_mb(measured) == configured
