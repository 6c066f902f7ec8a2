"""Which store a URL opens, and what wrong ones are told."""

import subprocess
import sys

import pytest

from lambdallm_extension.errors import SettingError
from lambdallm_extension.ports import Item, Key, Put

KEY = Key("p", "s")
LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "f"}


@pytest.mark.parametrize("url", ["memory:", "sqlite:///file.db", "sqlite:///sub/file.db", ""])
def test_a_url_opens_a_store_that_remembers(open_at, tmp_path, monkeypatch, deadline_ms, url):
    monkeypatch.chdir(tmp_path)
    store = open_at(url)

    store.put_if(Put(Item(KEY, {"a": 1})), deadline_ms=deadline_ms)

    assert store.get(KEY, deadline_ms=deadline_ms).attributes == {"a": 1}
    files = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.db")]
    assert files == {"memory:": [], "": [".lambdallm/lambdallm.db"]}.get(url, [url[10:]])


def test_four_slashes_are_an_absolute_path(open_at, tmp_path, monkeypatch, deadline_ms):
    monkeypatch.chdir("/")
    open_at(f"sqlite:///{tmp_path}/a.db").get(KEY, deadline_ms=deadline_ms)

    assert (tmp_path / "a.db").exists()


def test_a_region_in_the_url_goes_before_the_environments(open_at, ministack, deadline_ms):
    # The server keeps its tables by region, and this one is in us-east-1.
    url = "dynamodb://lambdallm-contract?region=us-east-1"
    environ = {"AWS_ENDPOINT_URL": ministack, "AWS_REGION": "eu-west-3"}

    assert open_at(url, **environ).get(KEY, deadline_ms=deadline_ms) is None


@pytest.mark.parametrize(
    "url",
    [
        "redis:host",
        "memcached://host",
        "memory",
        "memory:x",
        "sqlite:file.db",
        "sqlite://file.db",
        "sqlite:///",
        "dynamodb:table",
        "dynamodb://",
        "dynamodb://ab",
        "dynamodb://my table",
        "dynamodb://table/x",
        "dynamodb://table?profile=x",
        "dynamodb://table?region=",
    ],
)
def test_what_is_no_store_is_told_the_forms(open_at, url):
    with pytest.raises(SettingError) as caught:
        open_at(url)

    for word in ("LAMBDALLM_STORE", url, "dynamodb://TABLE", "sqlite:///PATH", "memory:"):
        assert word in caught.value.detail


def test_in_lambda_nobody_gets_a_store_without_asking(open_at):
    with pytest.raises(SettingError) as caught:
        open_at("", **LAMBDA)

    assert "LAMBDALLM_STORE=dynamodb://TABLE" in caught.value.detail
    assert "memory: only if you mean it" in caught.value.detail


def loaded_by(code: str) -> set[str]:
    """Names of the modules that a fresh process has loaded after `code`."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}\n"
         "print(*sorted(sys.modules))"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return set(done.stdout.split())


@pytest.mark.parametrize("url", ["dynamodb://table", "sqlite:///x.db", "memory:"])
def test_opening_a_store_loads_that_store_and_nothing_heavy(url):
    modules = loaded_by(
        "from lambdallm_extension.settings import Settings, SystemClock\n"
        "from lambdallm_extension.aws.credentials import CredentialSource\n"
        "from lambdallm_extension.stores import open_store\n"
        f"settings = Settings.from_environ({{'LAMBDALLM_STORE': {url!r}}})\n"
        "open_store(settings, SystemClock(), CredentialSource(settings, SystemClock()))"
    )

    stores = {"dynamodb", "sqlite", "memory"} & {
        name.removeprefix("lambdallm_extension.stores.") for name in modules
    }
    assert stores == {url.partition(":")[0]}
    heavy = {"ssl", "http.client", "urllib.parse", "urllib.request", "asyncio", "logging",
             "dataclasses", "inspect", "configparser", "email", "datetime", "boto3"}  # fmt: skip
    # sqlite3 and pathlib bring these; the store is the developer's, who does not count them.
    assert modules & heavy <= ({"datetime", "urllib.parse"} if "sqlite" in url else set())
