"""A Lambda execution environment on one machine, with the standard library alone.

It serves the Runtime and Extensions APIs, starts real extensions from an unpacked layer and the
real `awslambdaric`, and goes through INIT, INVOKE and SHUTDOWN as Lambda does, failures included.

```python
with Environment(Path("function"), "app.handler", opt=Path("unpacked-layer")) as environment:
    assert environment.invoke({"name": "Ada"}).json() == "Hello Ada"
```

What it does not do: freeze processes between invocations, enforce memory or CPU, isolate the file
system (paths of the layer lie in `opt`, not in `/opt`), deliver telemetry, stream responses.
"""

from lambda_runtime_api.emulator.environment import Environment
from lambda_runtime_api.emulator.lifecycle import Invocation
from lambda_runtime_api.emulator.logs import LogLine
from lambda_runtime_api.emulator.runtimes import RuntimeNotFoundError

__all__ = ["Environment", "Invocation", "LogLine", "RuntimeNotFoundError"]
