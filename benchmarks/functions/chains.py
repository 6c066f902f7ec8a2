"""One chain of steps that answer at once, run by one of two: how long each run took, and its CPU.

`handler` runs it with lambdallm, in a function beside its sidecar, whose CPU counts too. As a
program it is the same graph of LangGraph, with its DynamoDB saver:

    $ python chains.py         for each line `{"steps": 3, "name": "r", "count": 5}` that is read
    [[0.021, 0.019, 0.0], …]   seconds of each run: wall clock, our CPU, the sidecar's
"""

import json
import os
import sys
import time

QUESTION = "What was asked, in about a hundred characters, as people do when they want to know."
ANSWER = "What was answered, in three times as many characters. " * 5
"""Of each step; the model that says it takes no time."""

REFUSAL = "The last step fails, so that there is something to resume."

CHAINS = {}


def sidecar_cpu(pid):
    """Return the CPU seconds that the sidecar has used; the pid comes with the event."""
    return time.clock_gettime(~pid << 3 | 2) if pid else 0.0


def now(sidecar=None):
    """Return wall clock, our CPU and the sidecar's, in seconds."""
    return time.perf_counter(), time.process_time(), sidecar_cpu(sidecar)


def proceed(values):
    """Let the last step be done, or fail, so that there is something to resume."""
    if CHAINS.get("fails"):
        raise RuntimeError(REFUSAL)
    return True


def chain_of(steps):
    """Return a chain of so many questions, each about the answer before."""
    from lambdallm import Chain, Step

    if steps not in CHAINS:
        prompts = ["{input}"] + [f"{{s{number:02d}.output}}" for number in range(steps - 1)]
        conditions = [None] * (steps - 1) + [proceed]
        asked = zip(prompts, conditions, strict=True)
        parts = [
            Step(f"s{number:02d}", prompt=prompt, condition=condition)
            for number, (prompt, condition) in enumerate(asked)
        ]
        CHAINS[steps] = Chain("bench", parts)
    return CHAINS[steps]


class Context:
    """Lambda's context for a unit of work of its own inside one invocation."""

    def __init__(self, context, name):
        self.aws_request_id = f"{context.aws_request_id}-{name}"
        self.get_remaining_time_in_millis = context.get_remaining_time_in_millis
        for each in ("function_name", "function_version", "memory_limit_in_mb"):
            setattr(self, each, getattr(context, each))


def handler(event, context):
    """Make `count` runs, each a unit of work, and return what was seen of them, in seconds."""
    import lambdallm

    def run(event, context):
        result = chain_of(event["steps"]).run(context, input=QUESTION, run_id=event["run_id"])
        if result.status != ("failed" if event.get("fails") else "completed"):
            message = f"{result}: {result.error}"
            raise RuntimeError(message)
        return result.status

    handled = lambdallm.handler(run)
    CHAINS["fails"] = event.get("fails")
    seen = []
    for number in range(event.get("count", 1)):
        run_id = f"{event['name']}-{number}"
        before = now(event.get("sidecar"))
        handled({**event, "run_id": run_id}, Context(context, run_id))
        after = now(event.get("sidecar"))
        seen.append([b - a for a, b in zip(before, after, strict=True)])
    return {"seen": seen}


def graph_of(steps):
    """Return the same as a graph of so many nodes, whose state has each node's answer.

    Both ask a model that their own packages bring for tests.
    """
    from typing import TypedDict

    from langchain_core.language_models import FakeListChatModel
    from langgraph.graph import START, StateGraph
    from langgraph_checkpoint_aws import DynamoDBSaver

    names = [f"s{number:02d}" for number in range(steps)]
    builder = StateGraph(TypedDict("State", dict.fromkeys(["input", *names], str)))

    def node(name, before):
        def answer(state):
            if name == names[-1] and CHAINS.get("fails"):
                raise RuntimeError(REFUSAL)
            return {name: CHAINS["model"].invoke(state[before]).content}

        return answer

    for before, name in zip(["input", *names], names, strict=False):
        builder.add_node(f"n{name}", node(name, before))
        builder.add_edge(START if before == "input" else f"n{before}", f"n{name}")
    if "saver" not in CHAINS:
        CHAINS["model"] = FakeListChatModel(responses=[ANSWER])
        CHAINS["saver"] = DynamoDBSaver("langgraph", region_name=os.environ["AWS_REGION"])
    return builder.compile(checkpointer=CHAINS["saver"])


def run_graph(asked):
    """Make `count` runs; what a step has done is stored before the next one begins, as ours."""
    steps, fails = asked["steps"], asked.get("fails", False)
    if steps not in CHAINS:
        CHAINS[steps] = graph_of(steps)
    CHAINS["fails"] = fails
    seen = []
    for number in range(asked.get("count", 1)):
        config = {"configurable": {"thread_id": f"{asked['name']}-{number}"}, "recursion_limit": 99}
        question = None if asked.get("resumes") else {"input": QUESTION}
        before = now()
        try:
            CHAINS[steps].invoke(question, config, durability="sync")
        except RuntimeError as error:
            if not fails or str(error) != REFUSAL:
                raise
        after = now()
        seen.append([b - a for a, b in zip(before, after, strict=True)])
    return seen


def main():
    """Do what each line asks for."""
    for line in sys.stdin:
        print(json.dumps(run_graph(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
