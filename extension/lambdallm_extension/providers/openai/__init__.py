"""OpenAI's APIs, and those of the servers that speak as it does."""
