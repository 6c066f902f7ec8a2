"""The layer and the table of the end-to-end tests, for examples."""

from e2e.conftest import dynamodb, layer

__all__ = ["dynamodb", "layer"]
