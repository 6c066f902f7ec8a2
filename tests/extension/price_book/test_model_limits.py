"""What a model reads and writes at most: the larger of what is told, and only where it holds."""

import json

import pytest

import model_limits
from generate_price_book import BOOK
from lambdallm_extension.price_book import find, reservations

NOW_MS = 1_795_000_000_000


class Listed:
    """A catalogue with entries of a test's, all of them in the book under their own names."""

    def __init__(self, **entries):
        held = {name.replace("__", "."): entry for name, entry in entries.items()}
        self.listed = {key: {"litellm_provider": "openai", **one} for key, one in held.items()}
        self.entries = self.listed


class Windows:
    """A catalogue that knows windows."""

    def __init__(self, **windows):
        self._windows = windows

    def window(self, key):
        return self._windows.get(key, 0)


def limits(key, *entries, **windows):
    catalogues = tuple(Listed(**each) for each in entries)
    return model_limits.read([key], catalogues, Windows(**windows))


def entry(reads, writes, **more):
    return {"max_input_tokens": reads, "max_output_tokens": writes, **more}


@pytest.mark.parametrize(
    ("key", "model"),
    [
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5"),
        ("anthropic/claude-haiku-4-5", "claude-haiku-4-5"),
        ("vertex_ai/claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("us-gov-west-1/anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5"),
        ("openai/ft:gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai/gpt-5.4-2026-03-05", "gpt-5-4"),
        ("mantle/openai.gpt-5.4", "gpt-5-4"),
        ("openai/chatgpt-4o-latest", "gpt-4o"),
        ("amazon.nova-pro-v1:0", "nova-pro"),
        ("gemini/gemini-2.5-pro-preview-05-06", "gemini-2-5-pro"),
    ],
)
def test_a_model_is_known_under_all_its_names(key, model):
    assert model_limits.model_of(key) == model


def test_the_largest_of_all_names_and_catalogues_counts():
    told = {"gpt-9": entry(100_000, 4_000), "azure/gpt-9-2026-01-01": entry(90_000, 9_000)}

    found, _ = limits("gpt-9", told, {"gpt-9-latest": entry(50_000, 50)}, **{"gpt-9": 400_000})

    assert found == {"gpt-9": [400_000, 9_000]}


@pytest.mark.parametrize(
    ("window", "disputed"), [(0, False), (100_000, False), (104_000, False), (200_000, True),
                             (130_000, False)],
)  # fmt: skip
def test_windows_that_differ_are_told(window, disputed):
    _, disputes = limits("gpt-9", {"gpt-9": entry(100_000, 30_000)}, **{"gpt-9": window})

    assert disputes == ({"gpt-9": {"window": [100_000, window]}} if disputed else {})


@pytest.mark.parametrize(
    ("key", "told", "expected"),
    [
        ("qwen9", entry(32_000, 8_000), None),
        ("qwen9", entry(5_000_000, 8_000), [5_000_000, None]),
        ("qwen9", entry(32_000, 300_000), [None, 300_000]),
        ("gpt-oss-9b", entry(32_000, 8_000), None),
        ("claude-9", entry(200_000, 64_000, mode="chat"), [200_000, 64_000]),
        ("claude-9", entry(200_000, 64_000, input_cost_per_token_above_200k_tokens=1),
         [2_097_152, 64_000]),
        ("claude-9", entry(1_000_000, 64_000, input_cost_per_token_above_200k_tokens=1),
         [1_000_000, 64_000]),
        ("claude-9", entry(200_000, None), [200_000, None]),
        ("claude-9", {"max_tokens": 4_096}, [None, 4_096]),
        ("gpt-4", entry(8_192, 4_096), [8_192, 8_192]),
        ("nova-2-lite", entry(1_000_000, 64_000), [1_000_000, 131_072]),
        ("gemini-embedding-9", entry(8_192, None, mode="embedding"), None),
        ("gpt-realtime-9", entry(8_192, 4_096, mode="realtime"), None),
    ],
)  # fmt: skip
def test_a_limit_counts_where_it_is_the_vendors_own(key, told, expected):
    found, _ = limits(key, {key: told})

    assert found.get(key) == expected


def test_where_the_book_says_nothing_the_constants_hold():
    assert model_limits.INPUT_MAX == reservations.INPUT_TOKENS_MAX
    assert model_limits.OUTPUT_MAX == reservations.OUTPUT_TOKENS_MAX


def test_the_shipped_book_has_the_limits_of_todays_models():
    for model, reads, writes in (
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 200_000, 64_000),
        ("anthropic.claude-3-haiku-20240307-v1:0", 200_000, 4_096),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 2_097_152, 64_000),
        ("anthropic.claude-sonnet-4-6", 1_000_000, 128_000),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", 200_000, 128_000),
        ("openai/gpt-5-mini", 400_000, 128_000),
        ("openai/gpt-5-pro", 400_000, 272_000),
        ("gemini/gemini-4-argon", 1_048_576, 1_048_576),
        ("us.meta.llama4-scout-17b-instruct-v1:0", 10_000_000, None),
        ("deepseek.v3-v1:0", None, 163_840),
        ("openai/text-embedding-3-small", None, None),
    ):
        price = find(model, NOW_MS)
        assert (price.input_limit, price.output_limit) == (reads, writes), model


def test_all_profiles_of_a_model_have_its_limits():
    by_model = {}
    for key, rows in json.loads(BOOK.read_text())["models"].items():
        told = {tuple(row["limits"]) for row in rows if "limits" in row}
        by_model.setdefault(model_limits.model_of(key), set()).update(told)

    assert all(len(told) <= 1 for told in by_model.values())
