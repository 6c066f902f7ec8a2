"""A chat that remembers: the conversation lies in the store, what it cost in the logs."""

from lambdallm import Session, handler


@handler(session=Session(store="dynamodb", ttl_hours=24))
def chat_handler(event, context):
    session = context.session  # auto-loaded
    session.add_message("user", event["body"]["message"])
    response = context.invoke(session.format_history())
    session.add_message("assistant", response)  # auto-saved
    return {"statusCode": 200, "body": {"reply": response}}
