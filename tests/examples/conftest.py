"""The layer and the table of the end-to-end tests, and the chat's page, for examples."""

from e2e.conftest import dynamodb, layer
from examples.chat_page import behind, chat, chromium

__all__ = ["behind", "chat", "chromium", "dynamodb", "layer"]
