"""One conversation, kept by one of three: how much CPU each of its turns took in this process.

    $ python conversation.py ours|langgraph|earlier TURNS
    0.0021              CPU seconds of a turn's load and save, for each line that is read

A turn loads the conversation, adds a question and its answer, and saves it. Of lambdallm the engine
is in this process, so that all of it is counted.
"""

import operator
import sys
import time

QUESTION = "What was asked this time, in about a hundred characters: turn {}, and a few more words."
ANSWER = "What was answered this time, in three times as many characters. " * 5 + "Turn {}."


def ours():
    """Return what runs one turn of a handler with a session."""
    import lambdallm

    @lambdallm.handler(
        session=lambdallm.Session(
            session_id="bench", memory=lambdallm.MemoryStrategy.SLIDING_WINDOW
        )
    )
    def turn(event, context):
        session = context.session
        count = len(session.messages)
        session.add_message("user", event["question"])
        session.add_message("assistant", event["answer"])
        return count

    def run(number):
        turn({"question": QUESTION.format(number), "answer": ANSWER.format(number)}, None)

    return run


def langgraph():
    """Return what runs one turn of a graph of one node, checkpointed in its DynamoDB."""
    from typing import Annotated, TypedDict

    from langgraph.graph import START, StateGraph
    from langgraph_checkpoint_aws import DynamoDBSaver

    class State(TypedDict):
        messages: Annotated[list, operator.add]

    def answer(state):
        number = (len(state["messages"]) - 1) // 2
        return {"messages": [{"role": "assistant", "content": ANSWER.format(number)}]}

    graph = StateGraph(State)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    app = graph.compile(checkpointer=DynamoDBSaver("langgraph", region_name="us-east-1"))
    configuration = {"configurable": {"thread_id": "bench"}}

    def run(number):
        question = {"role": "user", "content": QUESTION.format(number)}
        app.invoke({"messages": [question]}, configuration)

    return run


def earlier():
    """Return what runs one turn of a session of the earlier package."""
    from lambdallm.state import MemoryStrategy, Session

    def run(number):
        session = Session(store="dynamodb", memory=MemoryStrategy.FULL_HISTORY)
        session.load("bench")
        session.add_message("user", QUESTION.format(number))
        session.add_message("assistant", ANSWER.format(number))
        session.save()

    return run


def main():
    """Run a turn for each line, and print what it took."""
    side, turns = sys.argv[1], int(sys.argv[2])
    run = {"ours": ours, "langgraph": langgraph, "earlier": earlier}[side]()
    for number in range(turns):
        sys.stdin.readline()
        started = time.process_time()
        run(number)
        print(time.process_time() - started, flush=True)


if __name__ == "__main__":
    main()
