"""Kinds of tokens: the parts are always the whole, and audio is audio where it has a price."""

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension.domain.token_kinds import counts
from lambdallm_extension.price_book import Rates

USAGE = {
    "uncached_input_tokens": 100,
    "cache_read_tokens": 50,
    "cache_write_5m_tokens": 3,
    "cache_write_1h_tokens": 2,
    "output_tokens": 20,
}
AUDIO = Rates(1, 1, 1, 1, 1, input_audio=9, output_audio=9, cache_read_audio=9)


def kinds(raw, rates=AUDIO):
    return {kind: tokens for kind, tokens in counts(USAGE, raw).by_kind(rates) if tokens}


TEXT = {"input": 100, "cache_read": 50, "cache_write_5m": 3, "cache_write_1h": 2, "output": 20}


@pytest.mark.parametrize(
    ("raw", "changed"),
    [
        (None, {}),
        ({"prompt_tokens_details": None}, {}),
        ({"prompt_tokens_details": {"audio_tokens": None}}, {}),
        ({"prompt_tokens_details": {"audio_tokens": "40"}}, {}),
        ({"prompt_tokens_details": {"audio_tokens": 40}}, {"input": 60, "input_audio": 40}),
        (
            {"completion_tokens_details": {"audio_tokens": 12}},
            {"output": 8, "output_audio": 12},
        ),
        (
            {
                "input_token_details": {
                    "audio_tokens": 40,
                    "cached_tokens_details": {"audio_tokens": 15},
                },
                "output_token_details": {"audio_tokens": 20},
            },
            {
                "input": 75, "input_audio": 25, "cache_read": 35, "cache_read_audio": 15,
                "output_audio": 20, "output": 0,
            },
        ),
    ],
)  # fmt: skip
def test_audio_is_told_apart(raw, changed):
    expected = {kind: tokens for kind, tokens in {**TEXT, **changed}.items() if tokens}

    assert kinds(raw) == expected
    assert kinds(raw, Rates(1, 1, 1, 1, 1)) == TEXT


details = st.dictionaries(
    st.sampled_from(["audio_tokens", "image_tokens", "cached_tokens_details", "text_tokens"]),
    st.one_of(st.integers(-5, 500), st.none(), st.text(), st.just({"audio_tokens": 7})),
)


@given(
    raw=st.dictionaries(
        st.sampled_from(["prompt_tokens_details", "input_token_details", "output_tokens_details"]),
        st.one_of(details, st.none(), st.integers()),
    ),
    rates=st.tuples(*[st.one_of(st.none(), st.integers(0, 9))] * 11),
)
def test_the_parts_are_the_whole_whatever_a_provider_says(raw, rates):
    parts = list(counts(USAGE, raw).by_kind(Rates(*rates)))

    assert sum(tokens for _, tokens in parts) == 175
    assert all(tokens >= 0 for _, tokens in parts)
    assert counts(USAGE, raw).input_tokens == 155
