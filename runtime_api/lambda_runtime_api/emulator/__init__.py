"""A Lambda execution environment on one machine, with the standard library alone.

It serves the Runtime and Extensions APIs, starts real extensions from an unpacked layer and the
real `awslambdaric`, and goes through INIT, INVOKE and SHUTDOWN as Lambda does, failures included.

```python
with Environment(Path("function"), "app.handler", opt=Path("unpacked-layer")) as environment:
    assert environment.invoke({"name": "Ada"}).json() == "Hello Ada"
```

What it does as Lambda does, with the documented times:

* Init of 10 s; one that fails or lasts longer is repeated inside the invocation and its timeout.
* The caller is answered when the runtime has answered; extensions work on until they ask for the
  next event, or until the timeout, which then resets the environment all the same.
* A timeout, and the end of the runtime or of any extension (with any status), reset it: SIGTERM
  and 300 ms for the runtime, SHUTDOWN and 2,000 ms in all for extensions that asked for it, SIGKILL
  for the rest. The next invocation starts everything anew; `/tmp` stays as it was.
* On request processes are frozen between invocations, share a function's part of a CPU, have no
  more than its memory, end without a word, or are clones of a snapshot (`freeze`, `cpu_share`,
  `memory_limit`, `kill`, `snap_start`). `network.Relay` breaks their connections.
* Subscribers of the Telemetry API are told what happens and what is printed, in each of its three
  schemas, in batches as they asked for, again when they do not take one (`telemetry`).
* On request it is a Managed Instance (`managed_concurrency`): many invocations at once, from as
  many threads, SHUTDOWN alone for extensions, nothing frozen, no timeout that ends a process.

* Streamed responses reach the caller piece by piece (`invoke_stream`), with their error from the
  trailers, up to 200 MB; `invoke` collects them, up to 6 MB. `function_url` and `api_gateway` stand
  before an environment and speak HTTP to clients.

What it asks of the machine: shares and limits need Linux's control groups (version 1), writable,
and are refused without them; freezing is done by signals then.

What it does not do: isolate the file system (paths of the layer lie in `opt`, not in `/opt`) or the
network, serve the older Logs API, slow a stream down after 6 MB as Lambda does, bill. Where AWS's
own emulator can be asked, both are compared in `tests/e2e/test_agreement.py`,
`test_agreement_faults.py`, `test_managed_agreement.py` and `test_response_streams_agreement.py`;
`tests/e2e/agreement.py` names the differences.
"""

from lambda_runtime_api.emulator.environment import Environment
from lambda_runtime_api.emulator.logs import LogLine
from lambda_runtime_api.emulator.runtimes import RuntimeNotFoundError
from lambda_runtime_api.emulator.streams import Invocation, InvocationStream, StreamError

__all__ = [
    "Environment",
    "Invocation",
    "InvocationStream",
    "LogLine",
    "RuntimeNotFoundError",
    "StreamError",
]
