"""The stores that the contract is for, as its fixture names them."""

import pytest

STORES = ["memory", "sqlite", "ministack", "moto", "s3", "redis", "redis_cluster"]

SLOW_OVER_MOTO = pytest.mark.parametrize(
    "store",
    [pytest.param(each, marks=[pytest.mark.slow] * (each == "moto")) for each in STORES],
    indirect=True,
)
"""For tests that write much: moto copies all that it holds; ministack stands for DynamoDB, too."""
