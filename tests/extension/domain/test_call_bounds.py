"""The most that a request can use, of the bodies of every API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension.domain.call_bounds import (
    CLIENT_TOOL_TOKENS,
    COMPACTIONS,
    IMAGE_TOKENS,
    MINI_IMAGE_TOKENS,
    RESEARCHES,
    ROUND_TOKENS,
    TOOL_USES,
    bound_of,
)

PNG = "iVBORw0KGgo" + "A" * 100_000
TEXT = [{"role": "user", "content": "Hello"}]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=20,
)


def content(*blocks: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


@pytest.mark.parametrize(
    ("body", "output", "answers"),
    [
        ({"messages": TEXT, "max_tokens": 100}, 100, 1),
        ({"messages": TEXT, "max_completion_tokens": 100, "n": 3}, 300, 3),
        ({"input": "Hello", "max_output_tokens": 70}, 70, 1),
        ({"messages": TEXT, "inferenceConfig": {"maxTokens": 9}}, 9, 1),
        ({"inputText": "x", "textGenerationConfig": {"maxTokenCount": 8}}, 8, 1),
        ({"prompt": "x", "max_gen_len": 7}, 7, 1),
        ({"prompt": "x", "max_tokens_to_sample": 6}, 6, 1),
        ({"contents": [], "generationConfig": {"maxOutputTokens": 5, "candidateCount": 2}}, 10, 2),
        ({"message": "x", "max_tokens": 5, "num_generations": 4}, 20, 4),
        ({"messages": TEXT, "max_tokens": 10, "max_completion_tokens": 50}, 50, 1),
        ({"messages": TEXT, "max_tokens": "10"}, None, 1),
        ({"messages": TEXT, "max_tokens": -1, "n": True}, None, 1),
        ({"messages": TEXT, "max_tokens": 10, "n": 2.5}, 30, 3),
        ({"messages": TEXT, "max_tokens": 10, "n": "4"}, 40, 4),
        ({"messages": TEXT, "max_tokens": 10, "n": None}, 10, 1),
        ({"messages": TEXT, "max_tokens": 10, "max_completion_tokens": "9000"}, None, 1),
        ({"messages": TEXT, "max_tokens": 10, "max_completion_tokens": None}, 10, 1),
        (
            {
                "messages": TEXT,
                "inferenceConfig": {"maxTokens": 9},
                "additionalModelRequestFields": {"max_tokens": 90},
            },
            90,
            1,
        ),
    ],
)
def test_what_a_request_says_of_its_answers(
    body: dict[str, Any], output: int | None, answers: int
) -> None:
    bound = bound_of(body)

    assert (bound.output_tokens, bound.answers) == (output, answers)
    assert bound.unbounded == ""


@pytest.mark.parametrize(
    "body",
    [
        {"messages": content({"type": "image_url", "image_url": {"url": "https://x/y.png"}})},
        {"messages": content({"type": "image", "source": {"type": "url", "url": "https://x/y"}})},
        {"messages": content({"type": "image", "source": {"type": "file", "file_id": "f"}})},
        {"messages": content({"image": {"source": {"s3Location": {"uri": "s3:"}}}})},
        {"messages": content({"document": {"format": "pdf", "source": {"bytes": "JVBERi0"}}})},
        {"messages": content({"type": "document", "source": {"type": "base64",
                              "media_type": "application/pdf", "data": "JVBERi0"}})},
        {"messages": content({"type": "file", "file": {"file_id": "f"}})},
        {"messages": content({"type": "file", "file": {"file_data": "data:application/pdf;"}})},
        {"messages": content({"type": "input_audio", "input_audio": {"data": "UklGR"}})},
        {"messages": content({"video": {"format": "mp4", "source": {"bytes": "AAAA"}}})},
        {"input": [{"type": "input_file", "file_url": "https://x"}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": "Hello", "previous_response_id": "resp_1"},
        {"input": "Hello", "conversation": "conv_1"},
        {"prompt": {"id": "pmpt_1", "variables": {}}},
        {"messages": [], "promptVariables": {"x": {"text": "y"}}},
        {"messages": TEXT, "mcp_servers": [{"url": "https://x"}]},
        {"messages": TEXT, "container": "c"},
        {"contents": [{"parts": [{"fileData": {"fileUri": "gs://x"}}]}]},
        {"input": [{"id": "msg_1"}]},
        {"input": [{"type": "compaction", "encrypted_content": "x"}]},
        {"messages": content({"type": "image_url", "image_url": "data:application/pdf;base64,"})},
        {"messages": content({"type": "image_url", "image_url": "DATA:application/pdf;base64,"})},
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]},
        {"input": [{"type": "web_search_call", "id": "ws_1", "status": "completed"}]},
        {"input": [{"type": "file_search_call", "id": "fs_1", "queries": ["x"]}]},
        {"contents": [{"parts": [{"inlineData": {"mimeType": "application/pdf", "data": "JV"}}]}]},
        {"contents": [{"parts": [{"inline_data": {"mime_type": "video/mp4", "data": "AA"}}]}]},
        {"contents": [], "cachedContent": "cachedContents/1"},
        {"message": "x", "connectors": [{"id": "web-search"}]},
        {"messages": TEXT, "data_sources": [{"type": "azure_search"}]},
        {"inputPrompt": "x", "mediaSource": {"s3Location": {"uri": "s3://b/k"}}},
        [],
        None,
    ],
    ids=lambda body: json.dumps(body)[:60],
)  # fmt: skip
def test_what_is_not_in_the_request_is_not_bounded_by_it(body: Any) -> None:
    bound = bound_of(body)

    assert bound.input_tokens is None
    assert bound.unbounded


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PNG}},
        {"type": "image_url", "image_url": "data:image/png;base64," + PNG},
        {"type": "input_image", "image_url": "data:image/png;base64," + PNG},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"image": {"format": "png", "source": {"bytes": PNG}}},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
    ],
)
def test_a_picture_counts_as_its_api_counts_it(part: Any) -> None:
    tokens = bound_of({"messages": content(part)}).input_tokens

    assert tokens is not None
    assert IMAGE_TOKENS <= tokens < IMAGE_TOKENS + ROUND_TOKENS + 1_000


@pytest.mark.parametrize(
    "part",
    [
        {"toolUse": {"name": "f", "input": {"image": {"source": {"bytes": PNG}}}}},
        {"type": "tool_use", "input": {"type": "image", "source": {"data": PNG}}},
        {"toolResult": {"content": [{"json": {"image_url": {"url": "data:" + PNG}}}]}},
        {"type": "text", "text": "data:image/png;base64," + PNG},
    ],
)
def test_text_that_looks_like_a_picture_is_text(part: Any) -> None:
    tokens = bound_of({"messages": content(part)}).input_tokens

    assert tokens is not None
    assert tokens >= len(PNG)


def test_plain_documents_are_text() -> None:
    part = {"document": {"format": "md", "name": "n", "source": {"bytes": "x" * 5_000}}}

    assert (bound_of({"messages": content(part)}).input_tokens or 0) >= 5_000


def test_tools_on_the_apis_side_have_a_cap() -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
             {"type": "web_search_preview"}, {"type": "function", "function": {}},
             {"name": "mine", "input_schema": {}}]  # fmt: skip

    assert bound_of({"messages": TEXT, "tools": tools}).tool_uses == 3 + TOOL_USES


@pytest.mark.parametrize(
    ("body", "uses"),
    [
        ({"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}, TOOL_USES),
        ({"tools": [{"google_search": {}}]}, TOOL_USES),
        ({"web_search_options": {}}, TOOL_USES),
        ({"model": "gpt-4o-search-preview"}, 1),
        ({"model": "o3-deep-research"}, RESEARCHES),
        ({"tools": [{"type": "web_search"}], "max_tool_calls": 40}, 40),
        ({"tools": [{"type": "web_search"}], "max_tool_calls": 2}, TOOL_USES),
        ({"max_tool_calls": 40}, 0),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, COMPACTIONS),
        ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, 0),
        ({"toolConfig": {"tools": [{"toolSpec": {"name": "f"}}, {"cachePoint": {}}]}}, 0),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, 0),
        ({"tools": [{"functionDeclarations": [{"name": "f"}]}]}, 0),
    ],
    ids=str,
)
def test_tools_are_told_apart_by_who_carries_them_out(body: dict[str, Any], uses: int) -> None:
    assert bound_of({"messages": TEXT, **body}).tool_uses == uses


def test_a_tool_that_the_function_carries_out_is_told_to_the_model() -> None:
    tools = [{"type": "bash_20250124", "name": "bash"}, {"type": "computer_20251124"}]

    assert (bound_of({"tools": tools}).input_tokens or 0) >= 2 * CLIENT_TOOL_TOKENS


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"tools": [{"type": "image_generation"}]}, "image_generation"),
        ({"tools": [{"type": "advisor_20260301", "model": "claude-opus-4-8"}]}, "advisor"),
        ({"fallbacks": [{"model": "claude-opus-4-8"}]}, "other models"),
        ({"performanceConfig": {"latency": "optimized"}}, "latency"),
        ({"performanceConfig": {"latency": "standard"}}, ""),
        ({"inputImage": PNG, "inputText": "x"}, "pictures"),
        ({"singleEmbeddingParams": {"video": {}}}, "pictures"),
        ({"singleEmbeddingParams": {"text": {"value": "image"}}}, ""),
        ({"inputText": "x"}, ""),
        ({"tools": [{"type": "function", "name": "f", "model": "x"}]}, ""),
        ({"inputImage": "", "singleEmbeddingParams": 5, "fallbacks": []}, ""),
        ({"additional_fields": {"fallbacks": [{"model": "claude-opus-4-8"}]}}, "other models"),
        ({"additional_fields": {"performanceConfig": {"latency": "optimized"}}}, "latency"),
        ({"additional_fields": 5}, ""),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_billed_by_other_prices_is_said(body: dict[str, Any], said: str) -> None:
    unpriced = bound_of(body).unpriced

    assert said in unpriced
    assert bool(said) == bool(unpriced)


@pytest.mark.parametrize(
    ("effort", "output"), [("", 9), ("none", 9), ("medium", 9), ("high", None), ("xhigh", None)]
)
def test_a_limit_that_is_left_out_on_the_way_bounds_nothing(
    effort: str, output: int | None
) -> None:
    body = {"messages": TEXT, "max_tokens": 9, "reasoning": {"effort": effort}}

    assert bound_of(body, "bedrock/us.amazon.nova-2-lite-v1:0").output_tokens == output
    assert bound_of(body, "openai/gpt-5").output_tokens == 9


def test_a_text_counts_as_what_it_is_folded_into() -> None:
    """Eighteen letters in one; some tokenizers write them out before they count."""
    folded = bound_of({"messages": [{"role": "user", "content": "\ufdfa" * 100}]}).input_tokens

    assert (folded or 0) >= 100 * 33


def test_data_counts_as_it_is_written_as_json() -> None:
    values = {"name": ["a"] * 1_000, "control": "\u0001" * 1_000, "accents": "é" * 1_000}
    block = {"type": "tool_use", "id": "t", "name": "f", "input": values}
    written = len(json.dumps(values))

    assert (bound_of({"messages": content(block)}).input_tokens or 0) >= written


def test_a_text_that_is_cut_into_sentences_to_be_cited_counts_more() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "A. " * 1_000}
    part = {"type": "document", "source": source}

    plain = bound_of({"messages": content(part)}).input_tokens or 0
    cited = bound_of({"messages": content({**part, "citations": {"enabled": True}})}).input_tokens

    assert plain < 4_000 + ROUND_TOKENS
    assert (cited or 0) >= 8 * 3_000


def test_a_picture_in_its_original_size_counts_more() -> None:
    part = {"type": "input_image", "detail": "original", "image_url": "data:image/png;base64,AAAA"}

    assert (bound_of({"input": content(part)}).input_tokens or 0) >= MINI_IMAGE_TOKENS


@pytest.mark.parametrize("kind", [["string", "null"], {}, 5])
def test_a_type_that_is_no_text_says_nothing(kind: Any) -> None:
    assert bound_of({"messages": [{"role": "user", "type": kind}]}).input_tokens


@given(json_values)
def test_no_text_has_more_tokens_than_its_bound(value: Any) -> None:
    bound = bound_of({"messages": value})
    size = len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))

    assert bound.input_tokens is None or bound.input_tokens >= min(size // 6, size)


@given(json_values)
def test_no_data_is_longer_than_its_bound(value: Any) -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"value": value}}

    assert (bound_of({"messages": content(block)}).input_tokens or 0) >= len(json.dumps(value))


def test_a_body_of_any_depth_is_walked() -> None:
    deep: Any = "x"
    for _ in range(50_000):
        deep = [deep]

    assert bound_of({"messages": deep}).input_tokens


SHAPES = ("title", "document", "image", "video", "file", "container", "conversation", "file_id")


@pytest.mark.parametrize("name", SHAPES)
def test_a_schemas_fields_are_text_whatever_they_are_called(name: str) -> None:
    inner = {"type": name, "description": '"\n\x01' * 500}
    schema = {"type": "object", "properties": {name: inner, "n": {name: inner}}}
    body = {"messages": TEXT, "max_tokens": 9, "output_schema": schema}
    plain = {**body, "output_schema": json.loads(json.dumps(schema).replace(name, "x" * len(name)))}

    bound = bound_of(body)

    assert (bound.unbounded, bound.unpriced, bound.tool_uses) == ("", "", 0)
    assert bound.input_tokens == bound_of(plain).input_tokens
    assert (bound.input_tokens or 0) > len(json.dumps(schema)) + len("Hello")


def test_a_document_beside_a_schema_is_as_long_as_it_is() -> None:
    part = {"document": {"format": "pdf", "source": {"bytes": "AAAA"}}}

    assert bound_of({"messages": content(part), "output_schema": {}}).unbounded
