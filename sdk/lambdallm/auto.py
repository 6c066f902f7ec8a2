"""What the layer's exec wrapper does, for functions that have no wrapper.

    import lambdallm.auto  # before the clients that read proxies from the environment

Calls to the sidecar stay away from HTTP proxies: 127.0.0.1 and localhost are added to `NO_PROXY`
and to `no_proxy`, because clients read one of the two and ignore the other. The SDK itself speaks
to its sidecar over a plain socket and needs neither.
"""

import os

_LOCAL_HOSTS = ("127.0.0.1", "localhost")

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


_bypass_proxies()
