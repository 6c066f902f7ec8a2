"""What may stand under `cost` in `lambdallm.yaml`: prices of one's own, and budgets."""

from __future__ import annotations

from lambdallm_wire import cost_headers
from lambdallm_wire.configuration_kinds import INTEGER, TEXT, USD, USD_PER_MILLION, Setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

REACTIONS: Final = ("block", "downgrade", "warn")

COST_SETTINGS: Final = (
    Setting(
        "cost.prices.*.input",
        USD_PER_MILLION,
        "What a model's input costs, in the place of the price book; NAME is `provider/model`, an "
        "id of Bedrock's, or an ARN, in quotes.",
        least=0,
        example="'0.25'",
    ),
    Setting("cost.prices.*.output", USD_PER_MILLION, "Its output.", least=0, example="'2.00'"),
    *(
        Setting(
            f"cost.prices.*.{kind}",
            USD_PER_MILLION,
            meaning,
            least=0,
            default="unknown",
            example=example,
        )
        for kind, meaning, example in (
            ("cache_read", "What is read from its cache.", "'0.025'"),
            ("cache_write_5m", "What is written to it for five minutes.", "'0.3125'"),
            ("cache_write_1h", "What is written to it for longer.", "'0.5'"),
        )
    ),
    *(
        Setting(
            f"cost.prices.*.max_{kind}_tokens",
            INTEGER,
            f"What it {does} at most, which is reserved where a request does not say less.",
            least=1,
            default="what the price book says",
            example=example,
        )
        for kind, does, example in (("input", "reads", "131072"), ("output", "writes", "16384"))
    ),
    Setting(
        "cost.prices.*.like",
        TEXT,
        "In the place of all these: a model of the price book whose price it has.",
        example="us.anthropic.claude-haiku-5-5",
    ),
    Setting("cost.budget.daily", USD, "USD a day, in all.", least=0, example="50.0"),
    Setting(
        "cost.budget.monthly",
        USD,
        "USD a month, in all.",
        least=0,
        example="1000.0",
    ),
    Setting(
        "cost.on_budget_exceeded",
        TEXT,
        "What happens then: calls are refused; or from 80 percent on `cost.downgrade_to` is asked, "
        "and at the limit they are refused; or the log says so.",
        choices=REACTIONS,
        default="block",
        example="downgrade",
    ),
    Setting(
        "cost.downgrade_to",
        TEXT,
        "The cheaper model, or its alias, that is asked in the place of others.",
        example="bedrock/us.amazon.nova-micro-v1:0",
    ),
    Setting(
        "cost.time_zone",
        TEXT,
        "Where days, weeks and months of budgets begin.",
        default="UTC",
        example="Europe/Berlin",
    ),
    Setting(
        "cost.budgets.*.limit",
        USD,
        "USD in each window, of each id of the scope; NAME is what it is called.",
        least=0,
        example="5.00",
    ),
    Setting(
        "cost.budgets.*.scope",
        TEXT,
        "What it is of: `organisation`, `tenant`, `user`, `function`, `model`, `session`, or "
        "`tag:NAME` of `context.tag(NAME=…)`.",
        default="organisation",
        example="user",
    ),
    Setting(
        "cost.budgets.*.id",
        TEXT,
        "The one user, model, … that it is of; else each has a limit of its own.",
        example="bedrock/us.anthropic.claude-opus-4-6-v1",
    ),
    Setting(
        "cost.budgets.*.window",
        TEXT,
        "How long a limit holds; `all` is for ever.",
        choices=("day", "week", "month", "all"),
        default="day",
        example="month",
    ),
    Setting(
        "cost.budgets.*.on_exceeded",
        TEXT,
        "As `cost.on_budget_exceeded`, of this one.",
        choices=REACTIONS,
        default="block",
        example="warn",
    ),
    Setting(
        "cost.budgets.*.time_zone", TEXT, "Of this one.", default="UTC", example="America/New_York"
    ),
    Setting(
        "cost.budgets.*.outage_allowance",
        USD,
        "USD that each environment may spend in a window while the store cannot be asked.",
        least=0,
        default="0",
        example="0.50",
    ),
    Setting(
        "cost.unpriced",
        TEXT,
        "Calls of models without a known price, under a budget that blocks.",
        choices=("block", "allow"),
        default="block",
        example="allow",
    ),
    Setting(
        "cost.unbounded",
        TEXT,
        "Calls whose input is not in the request (files, addresses, earlier answers), under such a "
        "budget: as much as a model reads is reserved, or they are refused.",
        choices=("reserve", "block"),
        default="reserve",
        example="block",
    ),
    Setting(
        "cost.unmetered",
        TEXT,
        "Requests of unmodified clients whose answers nobody reads for their usage, under such a "
        "budget.",
        choices=("block", "allow"),
        default="block",
        example="allow",
    ),
    Setting(
        "cost.headers",
        TEXT,
        "Whose answers say what they have cost (`x-lambdallm-cost-usd`): those to unmodified "
        "`clients`, which can also ask for it; HTTP `responses` of handlers, which whoever asked "
        "the function reads; or `both`.",
        choices=cost_headers.CHOICES,
        default="neither",
        example="clients",
    ),
)
"""Every key of `cost` but those of routing."""
