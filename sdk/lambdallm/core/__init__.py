"""The earlier package's import paths for what now lives in `lambdallm` itself."""
