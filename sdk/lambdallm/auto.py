"""What the layer's exec wrapper does, for functions that have no wrapper.

    import lambdallm.auto  # before the clients of OpenAI, Anthropic or Bedrock are made

If a sidecar listens, the variables that these clients read point at it from now on, and what they
said before stands in `LAMBDALLM_UPSTREAM_…`, by which the embedded engine goes. Calls to 127.0.0.1
and localhost stay away from HTTP proxies: both are added to `NO_PROXY` and to `no_proxy`, because
clients read one of the two and ignore the other. `LAMBDALLM_DROP_IN` chooses the clients.
"""

import os

from lambdallm_wire import names

_LOCAL_HOSTS = ("127.0.0.1", "localhost")

_CONNECT_SECONDS = 0.05
"""A connection on the same machine takes microseconds; more than this is no sidecar."""

_FILE_MAX_BYTES = 512
_PORT_MAX = 65_535

_SERVICES = ("openai", "anthropic", "bedrock")

_environ = os.environ  # noqa: TID251 - it is what this module is there to change


def _with_local_hosts(hosts: str) -> str:
    for host in _LOCAL_HOSTS:
        if hosts != "*" and host not in hosts.split(","):  # a star alone means every host
            hosts = f"{hosts},{host}" if hosts else host
    return hosts


def _bypass_proxies() -> None:
    upper, lower = _environ.get("NO_PROXY"), _environ.get("no_proxy")
    _environ["NO_PROXY"] = _with_local_hosts(upper or lower or "")
    _environ["no_proxy"] = _with_local_hosts(lower or upper or "")


class _Directions:
    """Where a sidecar listens, and what clients bring."""

    def __init__(self, port: str, key: str) -> None:
        self.address = f"{names.HOST}:{port}"
        self._key = key

    def point(self, service: str) -> None:
        """Point the clients of a service there."""
        if service == "openai":
            self._direct("OPENAI_BASE_URL", "openai/v1")
            self._lend_key("OPENAI_API_KEY")
            self._introduce("OPENAI_CUSTOM_HEADERS")
        elif service == "anthropic":
            self._direct("ANTHROPIC_BASE_URL", "anthropic")
            self._lend_key("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
            self._introduce("ANTHROPIC_CUSTOM_HEADERS")
        else:
            self._direct("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "bedrock")
            self._direct("ANTHROPIC_BEDROCK_BASE_URL", "bedrock")

    def _direct(self, name: str, path: str) -> None:
        if not _environ.get(name, "").startswith(f"http://{self.address}/"):
            _set_aside(name, f"http://{self.address}/{path}")

    def _lend_key(self, name: str, *others: str) -> None:
        if not any(_environ.get(key) for key in (name, *others)):
            _set_aside(name, self._key)

    def _introduce(self, name: str) -> None:
        """Let a key that the function's code has bring our header with it."""
        was = _environ.get(name, "")
        if f"{names.TOKEN_HEADER}:" not in was:
            header = f"{names.TOKEN_HEADER}: {self._key}"
            _set_aside(name, f"{was}\n{header}" if was else header)


def _set_aside(name: str, value: str) -> None:
    _environ[f"{names.UPSTREAM_BEGINNING}{name}"] = _environ.get(name, "")
    _environ[name] = value


def _find(directory: str) -> _Directions | None:
    """Read what the sidecar has left, and make sure that it listens."""
    try:
        descriptor = os.open(f"{directory}/{names.CLIENTS_FILE}", os.O_RDONLY | os.O_NOFOLLOW)
        try:
            ours = os.fstat(descriptor).st_uid == os.geteuid()
            words = os.read(descriptor, _FILE_MAX_BYTES).decode("ascii", "replace").split()
        finally:
            os.close(descriptor)
        if not (ours and _is_whole(words)):
            return None
        if not os.path.exists(f"{directory}/{names.STARTING_FILE}"):  # noqa: PTH110 - pathlib is heavy
            _connect(int(words[0]))  # one that has not loaded since a reset would do so now
    except OSError:
        return None  # there is no sidecar: clients go where they always went
    return _Directions(*words)


def _is_whole(words: list[str]) -> bool:
    port, key = words if len(words) == len(("port", "key")) else ("", "")
    return (
        port.isdecimal()
        and 0 < int(port) <= _PORT_MAX
        and key.startswith(names.CLIENT_KEY_BEGINNING)
    )


def _connect(port: int) -> None:
    from _socket import AF_INET, SOCK_STREAM, socket

    probe = socket(AF_INET, SOCK_STREAM)
    try:
        probe.settimeout(_CONNECT_SECONDS)
        probe.connect((names.HOST, port))
    finally:
        probe.close()


def _leave_word(directory: str) -> None:
    """Let the launcher know that requests are to be passed on even when the sidecar is gone."""
    try:
        path = f"{directory}/{names.DIRECTED_FILE}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError:
        return  # a full disk: then clients have no way while the sidecar is gone


def _direct_clients() -> None:
    chosen = _environ.get(names.ENVIRONMENT_DROP_IN) or ",".join(_SERVICES)
    if chosen == "off" or _environ.get(names.ENVIRONMENT_SIDECAR) == "off":
        return
    directory = _environ.get(names.ENVIRONMENT_DIRECTORY) or names.DEFAULT_DIRECTORY
    directions = _find(directory)
    if directions is None:
        if _environ.get("AWS_LAMBDA_RUNTIME_API"):  # elsewhere nobody expects a sidecar
            _say_direct(directory, chosen)
        return
    _leave_word(directory)
    services = chosen.replace(",", " ").split()
    for service in services:
        if service in _SERVICES:
            directions.point(service)
        else:
            _complain(service)


def _say_direct(directory: str, chosen: str) -> None:
    os.write(
        2,
        f"lambdallm: no sidecar listens (it leaves word in {directory}): the clients of {chosen} "
        "go straight to their APIs, unmetered.\n".encode(),
    )


def _complain(service: str) -> None:
    os.write(
        1,
        f"lambdallm: {names.ENVIRONMENT_DROP_IN} knows off, {', '.join(_SERVICES[:-1])} and "
        f"{_SERVICES[-1]}, and no {service}.\n".encode(),
    )


_bypass_proxies()
_direct_clients()
