"""A newer book from a bucket: signed, newer, whole, or not used; and never waited for."""

import json
from pathlib import Path
from threading import Barrier, Thread

import boto3
import pytest

from fakes.clocks import HandClock
from fakes.waiting import until
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.ports import Used
from lambdallm_extension.price_book import Book, book as books
from lambdallm_extension.price_book.pricing import Pricing
from lambdallm_extension.price_book.refresh import AGAIN_MS, FRESH_MS, Refresh
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_wire.signed_books import sign
from lambdallm_wire.tokens import NO_USAGE

TEXT = (Path(books.__file__).parent / "prices.json").read_text()
KEY = "sixteen bytes or more"
NAME = "books-of-tests"


def edition(version, price=77):
    rows = [{"from": "", "prices": {"standard": {"input": price}}, "source": 0, "as_of": "d"}]
    models = f'"new.model":{json.dumps(rows, separators=(",", ":"))}'
    return f'{{"version":{version},"sources":[\n"s"\n],\n"models":{{\n{models}\n}}}}\n'.encode()


NEWER = 1_000


class Shelf:
    """A bucket, the refresh that looks into it, and what it has logged."""

    def __init__(self, endpoint):
        self.s3 = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        self.s3.create_bucket(Bucket=NAME)
        self.endpoint = endpoint
        self.lines = []
        self.clock = HandClock()
        self.clock.now_ms = SystemClock().epoch_ms()

    def put(self, body, key="prices/book.json"):
        self.s3.put_object(Bucket=NAME, Key=key, Body=body)

    def settings(self, **environ):
        settings = Settings.from_environ(
            {
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",
                "AWS_ENDPOINT_URL_S3": self.endpoint,
                "LAMBDALLM_PRICES": f"s3://{NAME}/prices/book.json",
                "LAMBDALLM_PRICES_KEY": KEY,
                **environ,
            }
        )
        return settings, CredentialSource(settings, self.clock)

    def open(self, resolve=lambda _reference, _deadline: KEY, **environ):
        settings, credentials = self.settings(**environ)
        return Refresh(
            settings, lambda: credentials, resolve, self.clock, Workers(), self.lines.append
        )

    def fetched(self, refresh):
        refresh.prepare()
        refresh.wait(30)
        return refresh.book()


@pytest.fixture
def shelf(moto):
    shelf = Shelf(moto)
    yield shelf
    shelf.s3.delete_object(Bucket=NAME, Key="prices/book.json")
    shelf.s3.close()


def test_a_newer_book_is_used_from_then_on(shelf):
    shelf.put(sign(edition(NEWER), KEY.encode()))
    refresh = shelf.open()

    assert refresh.book().version == json.loads(TEXT)["version"]
    book = shelf.fetched(refresh)

    assert book.version == NEWER
    assert book.rows("new.model")[0]["prices"] == {"standard": {"input": 77}}
    assert not shelf.lines


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (edition(NEWER), "signature"),
        (sign(edition(NEWER), b"another key of the length"), "signature"),
        (sign(edition(NEWER), KEY.encode())[:-3], "signature"),
        (sign(edition(NEWER), KEY.encode()) + b" ", "signature"),
        (b"", "signature"),
        (b"\xff\n\xff", "signature"),
        (sign(b"", KEY.encode()), "no price book"),
        (sign(b"{}", KEY.encode()), "no price book"),
        (sign(b'{"version":\xff', KEY.encode()), "utf-8"),
        (sign(edition(NEWER, price=0.5), KEY.encode()), "row"),
        (sign(edition(NEWER)[:-9], KEY.encode()), ""),
        (sign(edition(0), KEY.encode()), "version is 0"),
    ],
)
def test_what_cannot_be_trusted_changes_nothing_and_is_told_once(shelf, body, said):
    shelf.put(body)
    refresh = shelf.open()

    book = shelf.fetched(refresh)
    shelf.clock.now_ms += AGAIN_MS + 1
    shelf.fetched(refresh)

    assert book.version == json.loads(TEXT)["version"]
    (line,) = shelf.lines
    assert line.startswith("WARN The price book of LAMBDALLM_PRICES is not used")
    assert said in line
    assert KEY not in line


def test_the_version_in_use_never_goes_back(shelf):
    shelf.put(sign(edition(NEWER), KEY.encode()))
    refresh = shelf.open()
    shelf.fetched(refresh)

    shelf.put(sign(edition(NEWER - 1), KEY.encode()))
    shelf.clock.now_ms += FRESH_MS + 1
    book = shelf.fetched(refresh)
    shelf.put(sign(edition(NEWER, price=99), KEY.encode()))
    shelf.clock.now_ms += FRESH_MS + 1
    same = shelf.fetched(refresh)

    assert book.version == same.version == NEWER
    assert same.rows("new.model")[0]["prices"]["standard"]["input"] == 77
    assert len(shelf.lines) == 1


def test_it_is_looked_for_again_after_an_hour_and_not_before(shelf):
    refresh = shelf.open()
    shelf.put(sign(edition(NEWER), KEY.encode()))
    shelf.fetched(refresh)
    shelf.put(sign(edition(NEWER + 1), KEY.encode()))

    shelf.clock.now_ms += FRESH_MS - 1
    assert shelf.fetched(refresh).version == NEWER
    shelf.clock.now_ms += 1
    assert shelf.fetched(refresh).version == NEWER + 1


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"LAMBDALLM_PRICES": "https://books.example/b"}, "s3://BUCKET"),
        ({"LAMBDALLM_PRICES": f"s3://{NAME}"}, "names no object"),
        ({"LAMBDALLM_PRICES": f"s3://{NAME}/none.json"}, "There is no s3://"),
        ({"LAMBDALLM_PRICES": "s3://nobodys-bucket/b"}, "(LAMBDALLM_PRICES)"),
        ({"LAMBDALLM_PRICES_KEY": ""}, "LAMBDALLM_PRICES_KEY is not set"),
    ],
)
def test_a_setting_that_is_wrong_is_told(shelf, environ, said):
    book = shelf.fetched(shelf.open(**environ))

    assert book.version == json.loads(TEXT)["version"]
    (line,) = shelf.lines
    assert said in line


def test_a_key_that_is_too_short_is_told(shelf):
    shelf.put(b"x\ny")

    shelf.fetched(shelf.open(resolve=lambda _reference, _deadline: "short"))

    assert "needs 16" in shelf.lines[0]


def test_a_bucket_that_is_not_reached_is_told_when_it_stays_so(shelf, free_port):
    refresh = shelf.open(AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{free_port}")

    shelf.fetched(refresh)
    assert not shelf.lines  # as after a freeze in the middle of it
    shelf.clock.now_ms += AGAIN_MS + 1
    shelf.fetched(refresh)

    assert len(shelf.lines) == 1
    assert refresh.book().version == json.loads(TEXT)["version"]


def test_nothing_is_asked_where_no_book_is_named(shelf):
    refresh = shelf.open(LAMBDALLM_PRICES="", AWS_ENDPOINT_URL_S3="http://127.0.0.1:1")

    assert isinstance(shelf.fetched(refresh), Book)
    until(lambda: not shelf.lines)


def test_threads_that_ask_at_once_fetch_it_once(shelf):
    shelf.put(sign(edition(NEWER), KEY.encode()))
    resolved = []
    gate = Barrier(9)

    def resolve(reference, _deadline):
        resolved.append(reference)
        return KEY

    refresh = shelf.open(resolve)

    def ask():
        gate.wait(20)
        refresh.prepare()

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.wait(20)
    for thread in threads:
        thread.join(20)
    refresh.wait(30)

    assert resolved == [KEY]
    assert refresh.book().version == NEWER


def test_calls_are_priced_by_it(shelf):
    shelf.put(sign(edition(NEWER), KEY.encode()))
    settings, credentials = shelf.settings()
    pricing = Pricing(
        settings, lambda: credentials, lambda *_: KEY, shelf.clock, Workers(), shelf.lines.append
    )
    usage = {**NO_USAGE, "uncached_input_tokens": 3}

    before = pricing.find("new.model", shelf.clock.now_ms)
    reply = pricing.quote("bedrock/new.model", usage, None, region="", tier="")

    assert before is None
    assert (reply["cost_pico_usd"], reply["version"]) == (3 * 77, NEWER)
    used = Used(usage)
    now_ms = shelf.clock.now_ms
    paid = pricing.cost_pico_usd("bedrock/new.model", "", used, epoch_ms=now_ms, region="")
    assert paid == 3 * 77
    assert pricing.find("new.model", now_ms).rates.input == 77  # though it was unknown before
