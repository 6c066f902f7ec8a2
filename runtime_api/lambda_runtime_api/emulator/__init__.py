"""A Lambda execution environment on one machine, with the standard library alone.

It serves the Runtime and Extensions APIs, starts real extensions from an unpacked layer and the
real `awslambdaric`, and goes through INIT, INVOKE and SHUTDOWN as Lambda does, failures included.

```python
with Environment(Path("function"), "app.handler", opt=Path("unpacked-layer")) as environment:
    assert environment.invoke({"name": "Ada"}).json() == "Hello Ada"
```

On request it freezes processes between invocations, gives them a function's share of a CPU and its
memory, and ends them without a word (`freeze`, `cpu_share`, `memory_limit`, `kill`).

What it does not do: isolate the file system (paths of the layer lie in `opt`, not in `/opt`),
deliver telemetry, stream responses.
"""

from lambda_runtime_api.emulator.environment import Environment
from lambda_runtime_api.emulator.lifecycle import Invocation
from lambda_runtime_api.emulator.logs import LogLine
from lambda_runtime_api.emulator.runtimes import RuntimeNotFoundError

__all__ = ["Environment", "Invocation", "LogLine", "RuntimeNotFoundError"]
