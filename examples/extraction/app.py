"""Invoices as records: a text comes in, a checked record goes out."""

from dataclasses import asdict, dataclass
from datetime import date
from typing import Annotated, Literal

from lambdallm import Prompt, handler


@dataclass
class Line:
    what: str
    amount: float


@dataclass
class Invoice:
    """An invoice, as it was billed."""

    number: Annotated[str, "As printed, with its letters."]
    issued: date
    currency: Literal["EUR", "USD", "GBP"]
    lines: list[Line]
    total: float

    def __post_init__(self):
        if round(sum(line.amount for line in self.lines) - self.total, 2) != 0:
            raise ValueError("total is not the sum of the lines' amounts")


READ = Prompt(
    "Read this invoice:\n\n{text}",
    input_schema={"text": str},
    output_schema=Invoice,
    max_tokens=1_500,
    name="invoice",
    version="1.0.0",
)


@handler(input_schema={"text": str})
def extract(event, context):
    invoice = READ.invoke(text=event["body"]["text"])
    record = {**asdict(invoice), "issued": invoice.issued.isoformat()}
    return {"statusCode": 200, "body": {"invoice": record, "cost_usd": context.total_cost}}
