"""The ways in which `faults.model_function` asks models, and which model each of them asks."""

MODELS = {
    "context.chat": "openai/gpt-4.1",
    "context.stream": "anthropic/claude-sonnet-4-5",
    "context.stream, broken off": "anthropic/claude-haiku-4-5",
    "context.stream of Bedrock": "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
    "context.embed": "openai/text-embedding-3-small",
    "openai": "gpt-4.1-mini",
    "openai stream": "gpt-4.1-nano",
    "openai stream, broken off": "gpt-4o",
    "anthropic": "claude-opus-4-1",
    "anthropic stream": "claude-opus-4-5",
    "anthropic stream, broken off": "claude-3-5-haiku-latest",
    "boto3": "anthropic.claude-3-sonnet-20240229-v1:0",
    "boto3 stream": "amazon.nova-lite-v1:0",
    "boto3 stream, broken off": "amazon.nova-micro-v1:0",
    "context.embed of many": "openai/text-embedding-ada-002",
}
"""Each way asks a model of its own, so that records tell which of them they are of."""

WHOLE, BROKEN_OFF = "whole", "broken off"
"""How a call ended that was no failure."""

FILL = "context.embed of many"
"""Asked at the beginning: it fills what remembers vectors, which stays full."""

TEXT = " ".join(f"This is the sentence number {number}." for number in range(1, 16))
"""What the models of OpenAI and Anthropic say, in 90 pieces."""
