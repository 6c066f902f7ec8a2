"""A chat whose answers appear as they are written: the page and its API behind one Function URL."""

import json
from pathlib import Path

from lambdallm import InvalidRequestError, Session, sse, stream_handler

PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
PAGE_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}


@stream_handler(
    via="function-url",
    session=Session(store="dynamodb", ttl_hours=168),
    on_disconnect="finish",  # who has lost the connection finds the whole answer afterwards
    error_event=True,
)
def chat_handler(event, context):
    request = event["requestContext"]["http"]
    if request["method"] == "POST":
        return {"statusCode": 200, "body": answer(message_of(event), context)}
    if request["path"] == "/conversation":
        said = [each.to_dict() for each in context.session.messages]
        kept = {"content-type": "application/json", "cache-control": "no-store"}
        return {"statusCode": 200, "headers": kept, "body": json.dumps(said)}
    return {"statusCode": 200, "headers": PAGE_HEADERS, "body": PAGE}


def message_of(event):
    body = event.get("body")
    if isinstance(body, dict) and isinstance(body.get("message"), str) and body["message"].strip():
        return body["message"]
    raise InvalidRequestError('The body has to be {"message": "…"}.')


def answer(message, context):
    session = context.session
    session.add_message("user", message, id=context.event_identity)
    yield sse(event="begun")  # nobody has to wonder whether the message has arrived
    stream = context.stream(session.format_history())
    for piece in stream:
        yield sse(piece)
    cost = {
        "usd": None if context.unpriced_calls else context.total_cost,
        "tokens": stream.response.usage["output_tokens"],
    }
    session.add_message("assistant", stream.text, **cost)
    yield sse(cost, event="cost")
