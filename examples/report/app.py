"""A report that waits for somebody's figures and for a person's yes; the function ends meanwhile.

POST {"topic": …}                 begins: 202 with the run, and a token of the step that waits
POST {"token": …, "figures": …}   answers the callback, and the chain goes on
POST {"token": …, "approve": …}   says yes or no
GET  ?lambdallm-run=RUN           how it stands
"""

from lambdallm import Approval, Callback, Chain, Step, approve, complete_callback, handler, reject


def publish(values):
    return {"title": values["input"], "text": values["draft"], "by": values["release"]["by"]}


REPORT = Chain(
    "report",
    [
        Step("outline", prompt="Outline a report about {input}."),
        Callback("figures", message="Figures for: {outline.output}"),
        Step("draft", prompt="Write it: {outline.output} Figures: {figures.output}"),
        Approval("release", message="{draft.output}"),
        Step("publish", func=publish),
    ],
    timeout_strategy="checkpoint",
    max_total_cost=0.50,
)


@handler(timeout_strategy="checkpoint")
def report_handler(event, context):
    body = event["body"]
    if "figures" in body:
        result = REPORT.run(context, run_id=complete_callback(body["token"], body["figures"]))
    elif "approve" in body:
        say = approve if body["approve"] else reject
        result = REPORT.run(context, run_id=say(body["token"], by=body["by"]))
    else:
        result = REPORT.run(context, input=body["topic"])
    if result.waits:  # whoever is to answer gets the token: here, whoever has asked
        waits = {"run": result.run_id, "tokens": result.waits, "cost_usd": result.total_cost_usd}
        return {"statusCode": 202, "body": waits}
    return result
