"""Endpoints for clients that never heard of lambdallm: OpenAI's, Anthropic's and Bedrock's APIs."""
