"""The chat page as its user has it, and what is behind it, for tests."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from examples.browser import find_chromium, open_page
from examples.deployed import Fleet, read_function
from examples.spoken_model import MODEL_ID, SpokenModel
from lambda_runtime_api.emulator.network import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.conftest import Service
    from examples.browser import Page
    from lambda_runtime_api.emulator import Environment

TEMPLATE = Path(__file__).parents[2] / "examples/sse_chat/template.yaml"

ENVIRONMENTS = 2
"""One that answers, and one for who asks meanwhile what has become of the answer."""

WORDS = "[...document.querySelectorAll('.assistant .words')].at(-1)?.textContent"
NOTE = "[...document.querySelectorAll('.assistant .note')].at(-1)?"
STATUS = "document.getElementById('status').textContent"

BUSY = "!document.getElementById('stop').hidden"
WAITING = "JSON.parse(localStorage['chat.waiting.' + JSON.parse(sessionStorage['chat.session'])])"
"""What is not answered in this tab's conversation."""

CONTRAST = """
(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = channels(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const ratio = (node) => {
    const [a, b] = [channels(getComputedStyle(node).color), ground(node)].map(light);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const seen = [...document.querySelectorAll("h1, p, button:not(:disabled), textarea")]
    .filter((node) => node.checkVisibility() && (node.value ?? node.innerText));
  return seen.map((node) => [ratio(node), node.innerText]).filter(([found]) => found < 4.5);
})()
"""
"""Texts that lack contrast to what lies behind them.

Source: WCAG 2.2, "Contrast (minimum)" and "relative luminance": 4.5 to 1.
"""

PLACES = """
["header", "form", ".user .words", ".assistant .words"].map((name) => {
  const text = document.createRange();
  text.selectNodeContents(document.querySelector(name));
  const { x, y } = text.getClientRects()[0];
  return [name, Math.round(x), Math.round(y)];
})
"""
"""Where everything begins that must not jump."""


class Behind:
    """What is behind the page."""

    def __init__(self, model: SpokenModel, environments: list[Environment], url: str) -> None:
        self.model = model
        self.environments = environments
        self.url = url

    def costs_in_the_books(self) -> list[int]:
        """What the engine has reported for each invocation that spent something, in pico-USD."""
        for environment in self.environments:
            environment.wait_until_idle()
        reports = [
            json.loads(line.text)
            for environment in self.environments
            for line in environment.logs
            if '"_aws"' in line.text and '"workId"' in line.text
        ]
        return [round(each["CostUSD"] * 1e12) for each in reports if each["CostUSD"]]


class Chat:
    """The page, as its user has it."""

    def __init__(self, page: Page, relay: Relay) -> None:
        self.page = page
        self.relay = relay
        page.open(relay.url)
        page.wait_for("document.activeElement.id === 'message'")

    def beside(self) -> Chat:
        """Open it in a further tab."""
        return Chat(self.page.another(), self.relay)

    def show(self) -> None:
        """Bring its tab before the others, and point at the box."""
        self.page.show()
        self.page.wait_for("document.hasFocus()")
        self.page.evaluate("document.getElementById('message').focus()")

    def ask(self, text: str) -> None:
        self.page.insert(text)
        self.page.press("Enter")

    def wait_for_text(self, text: str) -> None:
        self.page.wait_for(f"{WORDS} === {json.dumps(text)}")

    def wait_for_status(self, beginning: str) -> None:
        self.page.wait_for(f"{STATUS}.startsWith({json.dumps(beginning)})")

    def wait_for_cost(self) -> float:
        """Of the last answer, in USD; the page has it when the answer is whole."""
        return float(self.page.wait_for(f"{NOTE}.dataset.usd"))

    def wait_for_looks(self, count: int) -> None:
        """Wait until the page has read the conversation so often, once of them at its opening."""
        self.page.wait_for(
            "performance.getEntriesByType('resource')"
            f".filter((each) => each.name.endsWith('/conversation')).length >= {count}"
        )

    def conversation(self) -> list[str]:
        return self.page.texts(".words")


@pytest.fixture
def behind(request: pytest.FixtureRequest, dynamodb: Service, layer: Path) -> Iterator[Behind]:
    """The function behind its URL; the parameter says whether that hangs up with its client."""
    function = read_function(TEMPLATE, {"Table": dynamodb.table, "ModelId": MODEL_ID})
    with SpokenModel() as model, contextlib.ExitStack() as stack:
        endpoints = {
            "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model.url,
        }
        environments = [
            stack.enter_context(function.start(layer, **endpoints)) for _ in range(ENVIRONMENTS)
        ]
        interrupts = getattr(request, "param", False)
        url = function.open_url(Fleet(*environments), interrupts=interrupts)
        yield Behind(model, environments, stack.enter_context(url).url)


@pytest.fixture(scope="session")
def chromium() -> str:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is on the PATH (on Debian, the package chromium)")
    return program


@pytest.fixture
def chat(chromium: str, behind: Behind) -> Iterator[Chat]:
    with Relay(behind.url) as relay, open_page(chromium) as page:
        yield Chat(page, relay)
