"""The sidecar: an external Lambda Extension that asks the models, keeps the state and the books.

Pure decisions stand in `domain`, use cases in `services`, and what touches the world in the
adapters (`server`, `providers`, `stores`, `telemetry`), which meet in `engine`. Two hosts run
the same engine: the extension's process (`__main__`, `lifecycle`), and the SDK's `_embedded`.
"""

VERSION = "0.1.0"
"""Version of the distribution; a test holds it against pyproject.toml."""
