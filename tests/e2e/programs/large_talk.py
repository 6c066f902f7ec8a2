"""A handler whose messages are as large as the event says, and that says what it remembers."""

import hashlib

from lambdallm import MemoryStrategy, Session, handler


def text_of(number, size):
    """So many bytes that no other turn has."""
    word = f"turn {number}, ü€😀; "
    return (word * (size // len(word.encode()) + 1)).encode()[:size].decode("utf-8", "ignore")


@handler(session=Session(store="dynamodb", memory=MemoryStrategy.FULL_HISTORY))
def talk(event, context):
    session = context.session
    before = [each.content for each in session.messages]
    session.add_message("user", text_of(event["number"], event["question_bytes"]))
    session.add_message("assistant", text_of(-event["number"], event["answer_bytes"]))
    return {
        "turns": len(before),
        "bytes": sum(len(each.encode()) for each in before),
        "sha256": hashlib.sha256("\0".join(before).encode()).hexdigest(),
    }
