"""The `lambdallm` command of a developer's machine."""
