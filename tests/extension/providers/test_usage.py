"""What APIs report as used, as disjoint counts: the traps of each."""

import pytest

from lambdallm_extension.providers.anthropic.messages import MessageReading, decode_usage
from lambdallm_extension.providers.openai import usage as openai_usage


def counts(uncached=0, output=0, read=0, five=0, hour=0) -> dict[str, int]:
    return {
        "uncached_input_tokens": uncached,
        "cache_read_tokens": read,
        "cache_write_5m_tokens": five,
        "cache_write_1h_tokens": hour,
        "output_tokens": output,
    }


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}, counts(10, 3)),
        ({"prompt_tokens": 8, "total_tokens": 8}, counts(8)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, counts()),
        (  # cached tokens are part of the prompt, reasoning is part of the output
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
                "completion_tokens_details": {"reasoning_tokens": 40},
            },
            counts(30, 50, read=60, five=10),
        ),
        (  # an explicit 0 beside another server's name for it
            {
                "prompt_tokens": 10,
                "completion_tokens": 1,
                "prompt_tokens_details": {"cached_tokens": 0},
                "prompt_cache_hit_tokens": 9,
            },
            counts(10, 1),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 4},
            counts(6, 1, read=4),
        ),
        (  # what is cached cannot be part of less
            {
                "prompt_tokens": 5,
                "completion_tokens": 1,
                "prompt_tokens_details": {"cached_tokens": 900},
            },
            counts(5, 1, read=900),
        ),
        (  # Grok's output without its reasoning, cached tokens inside the prompt
            {
                "prompt_tokens": 10_120,
                "completion_tokens": 1_499,
                "total_tokens": 14_428,
                "prompt_tokens_details": {"cached_tokens": 128},
                "completion_tokens_details": {"reasoning_tokens": 2_809},
            },
            counts(9_992, 4_308, read=128),
        ),
        (  # Gemini's, which does not say how much it thought
            {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623},
            counts(20, 603),
        ),
        (  # a total that counts something else
            {
                "prompt_tokens": 20,
                "completion_tokens": 10,
                "total_tokens": 999,
                "completion_tokens_details": {"reasoning_tokens": 4},
            },
            counts(20, 10),
        ),
        ({"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": None}, counts(7, 2)),
        (
            {
                "input_tokens": 100,
                "output_tokens": 9,
                "total_tokens": 109,
                "input_tokens_details": {
                    "cached_tokens": 40,
                    "cache_write_tokens": 20,
                    "cache_write_tokens_details": {"ttl_30m_tokens": 5, "ttl_12h_tokens": 15},
                },
            },
            counts(40, 9, read=40, five=5, hour=15),
        ),
    ],
)
def test_openai(reported: dict, expected: dict) -> None:
    assert openai_usage.decode_usage(reported) == expected


@pytest.mark.parametrize("value", [-1, "7", 1.5, True, [], {}, 10**40])
def test_what_is_no_count_is_an_error(value: object) -> None:
    with pytest.raises(ValueError, match="no count"):
        openai_usage.decode_usage({"prompt_tokens": value, "completion_tokens": 1})
    with pytest.raises(ValueError, match="no count"):
        decode_usage({"input_tokens": 1, "output_tokens": value})


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ({"input_tokens": 10, "output_tokens": 3}, counts(10, 3)),
        ({"input_tokens": 0, "output_tokens": 0}, counts()),
        (
            {
                "input_tokens": 1,
                "output_tokens": 2,
                "cache_read_input_tokens": 3,
                "cache_creation_input_tokens": 9,
                "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5},
            },
            counts(1, 2, read=3, five=4, hour=5),
        ),
        (
            {"input_tokens": 1, "output_tokens": 2, "cache_creation_input_tokens": 9},
            counts(1, 2, five=9),
        ),
        (  # a later sum beside the first split
            {
                "input_tokens": 1,
                "output_tokens": 2,
                "cache_creation_input_tokens": 12,
                "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5},
            },
            counts(1, 2, five=7, hour=5),
        ),
        (
            {"input_tokens": 1, "output_tokens": 2, "cache_creation": None},
            counts(1, 2),
        ),
    ],
)
def test_anthropic(reported: dict, expected: dict) -> None:
    assert decode_usage(reported) == expected


def test_anthropic_s_later_counts_take_the_place_of_earlier_ones_field_by_field() -> None:
    reading = MessageReading("anthropic", "m", "")
    begun = {"input_tokens": 25, "cache_read_input_tokens": 7, "output_tokens": 1}
    reading.take({"type": "message_start", "message": {"usage": begun}}, [])
    for output, read in ((5, None), (12, 0)):
        later = {"output_tokens": output, "input_tokens": None, "cache_read_input_tokens": read}
        reading.take({"type": "message_delta", "delta": {}, "usage": later}, [])
    reading.take({"type": "message_stop"}, [])

    assert reading.answer.spent() == (counts(25, 12), False)
    assert reading.answer.raw_usage == {
        "input_tokens": 25,
        "cache_read_input_tokens": 0,
        "output_tokens": 12,
    }
