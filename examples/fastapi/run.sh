#!/bin/sh
# The function's handler is this file: the adapter's wrapper starts it in the runtime's place. So
# nobody else puts the layers on Python's path.
export PYTHONPATH="$PYTHONPATH:/opt/python:$LAMBDA_RUNTIME_DIR"
exec python3 -m uvicorn app:app --host 127.0.0.1 --port "${AWS_LWA_PORT:-8080}" --no-access-log
