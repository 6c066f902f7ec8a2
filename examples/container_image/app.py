"""A chat for images without AWS's entry point, where no wrapper is started."""

import lambdallm.auto  # noqa: F401 - first: it keeps calls to localhost away from proxies
from lambdallm import Session, handler


@handler(session=Session(store="dynamodb", ttl_hours=24))
def chat_handler(event, context):
    session = context.session
    session.add_message("user", event["body"]["message"])
    response = context.invoke(session.format_history())
    session.add_message("assistant", response)
    return {"statusCode": 200, "body": {"reply": response}}
