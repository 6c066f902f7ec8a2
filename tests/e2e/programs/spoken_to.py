"""A chat function that can also do without its session, and that looks at the body itself."""

from lambdallm import Session, handler


@handler(session=Session(store="dynamodb", ttl_hours=24))
def chat_handler(event, context):
    if event.get("rawPath") == "/own":
        return {"own": "code"}
    context.session.add_message("user", event["body"]["message"])
    reply = context.invoke(context.session.format_history())
    context.session.add_message("assistant", reply)
    return {"reply": reply}


def noisy(event, context):
    print("x" * event["bytes"])  # noqa: T201 - one line of a log
    return "said"
