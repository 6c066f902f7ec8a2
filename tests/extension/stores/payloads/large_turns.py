"""Turns too large for an item, for the tests of this folder."""

from lambdallm_extension.ports import Item, Put

BUCKET = "lambdallm-payloads"
TABLE_URL = "dynamodb://lambdallm-contract"
LARGE = "a large text, ü€😀 " * 5_000
DAY = 86_400


def turn(key, text=LARGE, expires_at=None):
    return Put(Item(key, {"schema": 1, "content": text}, expires_at))
