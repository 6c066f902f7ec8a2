"""What Lambda bills for an invocation: a request, memory × time, and storage above 512 MB.

    request + billed ms × (memory MB × price + (storage MB − 512) × price of storage) / 1,024,000

Prices of a request, of a GB-second by architecture, on demand and with provisioned concurrency,
and of storage, by region; first tier, without free tier, savings plans and private prices. Not in
it: what is billed by the hour (provisioned concurrency itself), SnapStart's cache and restores,
streamed bytes, and whoever invokes (API Gateway, queues).
Sources: AWS's price list of Lambda as its calculator has it, read 2026-11; il-central-1 and
me-central-1 from a third party's copy of it; us-east-1 also as the price list of 2026-09-19 has it.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

ON_DEMAND = "on-demand"
PROVISIONED = "provisioned-concurrency"
UNPRICED = "unpriced"
"""No source has it; or China, where it is billed in another currency."""

STORAGE_FREE_MB = 512
STORAGE_MAX_MB = 10_240
STORAGE_MEASURED_FREE_MB = 600
"""A file system of 512 MB has some 540, depending on how it was made."""

_MS_MB_OF_A_GB_SECOND = 1_024_000


HOME = "us-east-1"
"""Whose prices stand for those of a region that is not in the table."""

REGIONS: dict[str, tuple[int, int, int | None, int | None, int]] = {
    "us-east-1": (200_000, 16_666_700, 13_333_400, 9_722_200, 30_900),
    "us-east-2": (200_000, 16_666_700, 13_333_400, 9_722_200, 30_900),
    "us-west-2": (200_000, 16_666_700, 13_333_400, 9_722_200, 30_900),
    "us-west-1": (200_000, 16_666_700, 13_333_400, 11_443_000, 37_000),
    "af-south-1": (270_000, 22_100_000, 17_680_000, 12_900_000, 40_400),
    "ap-east-1": (280_000, 22_920_000, 18_300_000, 13_335_800, 40_700),
    "ap-south-1": (200_000, 16_666_700, 13_333_400, 10_496_600, 35_200),
    "ap-northeast-1": (200_000, 16_666_700, 13_333_400, 12_561_500, 37_000),
    "ap-northeast-2": (200_000, 16_666_700, 13_333_400, 11_959_200, 35_200),
    "ap-northeast-3": (200_000, 16_666_700, 13_333_400, 12_561_500, 37_000),
    "ap-southeast-1": (200_000, 16_666_700, 13_333_400, 12_131_300, 37_000),
    "ap-southeast-2": (200_000, 16_666_700, 13_333_400, 12_217_300, 37_000),
    "ap-southeast-4": (200_000, 16_666_700, 13_333_400, 12_217_300, 37_000),
    "ap-southeast-5": (180_000, 15_000_000, 12_000_000, 10_918_100, 33_300),
    "ca-central-1": (200_000, 16_666_700, 13_333_400, 10_840_700, 34_000),
    "eu-central-1": (200_000, 16_666_700, 13_333_400, 11_701_100, 36_700),
    "eu-central-2": (220_000, 18_333_400, 14_666_700, 12_871_200, 44_100),
    "eu-north-1": (200_000, 16_666_700, 13_333_400, 10_324_500, 32_300),
    "eu-south-1": (230_000, 19_517_200, 15_613_800, 11_382_700, 35_700),
    "eu-west-1": (200_000, 16_666_700, 13_333_400, 10_840_700, 34_000),
    "eu-west-2": (200_000, 16_666_700, 13_333_400, 11_270_900, 35_800),
    "eu-west-3": (200_000, 16_666_700, 13_333_400, 11_356_900, 35_800),
    "il-central-1": (210_000, 17_500_000, None, None, 40_800),
    "me-central-1": (250_000, 20_666_700, 16_533_400, None, 37_400),
    "me-south-1": (250_000, 20_666_700, 16_533_400, 11_925_100, 37_400),
    "sa-east-1": (200_000, 16_666_700, 13_333_400, 15_486_700, 58_600),
}
"""In pico-USD: a request; a GB-second of x86_64, of arm64, of x86_64 with provisioned concurrency,
and of storage; None where no source has it. Regions that are not here have us-east-1's prices on
demand, as far as is known. Plain tuples: a class for them would be made at every start."""

ARM_PROVISIONED = (7_777_800, 9_722_200)
"""What arm64 costs with provisioned concurrency, of what x86_64 does: both in us-east-1."""


class Compute(NamedTuple):
    """What an invocation costs.

    Attributes:
        pico_usd: None where nobody knows a price.
        basis: What kind of price it is: `on-demand`, `provisioned-concurrency` (its hours are not
            in it) or `unpriced`.
        region: Whose prices these are; not the function's own where that is not in the table.
    """

    pico_usd: int | None
    basis: str
    region: str


class Place(NamedTuple):
    """What decides the price of every invocation of one environment.

    Attributes:
        region: The function's.
        machine: As the kernel calls it: `x86_64`, `aarch64`.
        initialization: `AWS_LAMBDA_INITIALIZATION_TYPE`.
        storage_mb: What `/tmp` may hold.
    """

    region: str
    machine: str = "x86_64"
    initialization: str = ON_DEMAND
    storage_mb: int = STORAGE_FREE_MB


def price(place: Place, billed_ms: int, memory_mb: int) -> Compute:
    """Return what an invocation costs, rounded once, to whole pico-USD."""
    if place.region.startswith("cn-"):
        return Compute(None, UNPRICED, place.region)
    region = place.region if place.region in REGIONS else HOME
    request, x86_64, arm64, provisioned_x86_64, storage = REGIONS[region]
    provisioned = place.initialization == PROVISIONED
    on_arm = place.machine in ("aarch64", "arm64")
    second = arm64 if on_arm else x86_64
    if provisioned:
        second = provisioned_x86_64
        if on_arm and second is not None:
            second = second * ARM_PROVISIONED[0] // ARM_PROVISIONED[1]
    if second is None:
        return Compute(None, UNPRICED, region)
    rate = memory_mb * second + (place.storage_mb - STORAGE_FREE_MB) * storage
    half = _MS_MB_OF_A_GB_SECOND // 2
    time = (billed_ms * rate + half) // _MS_MB_OF_A_GB_SECOND
    return Compute(request + time, PROVISIONED if provisioned else ON_DEMAND, region)


def storage_mb(size_mb: int) -> int:
    """Return what is configured of a file system of this size: `/tmp`, as it was measured.

    A little too much, by what a file system needs for itself: up to a twentieth of what is above
    512 MB. More than Lambda has is the disk of a machine that emulates it.
    """
    if STORAGE_MEASURED_FREE_MB < size_mb <= STORAGE_MAX_MB * 11 // 10:
        return min(size_mb, STORAGE_MAX_MB)
    return STORAGE_FREE_MB
