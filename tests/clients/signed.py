"""An application of AWS's as any is: boto3 with an access key in its environment, and nothing of the gateway's but the endpoint.

Takes one argument, JSON: `model`, and what goes wrong on the way, `clock_s` (what the clock is ahead), `tamper` (the body is changed after it was signed),
or `echo` (the simulator tells what it was sent). Prints a line of JSON per call: `call`, `call_id`, `tokens`, `text`, or `status`, `code` and `message` of an error.
"""

import json
import sys
from datetime import timedelta

import boto3
import botocore.auth
from botocore.exceptions import ClientError

MESSAGES = [{"role": "user", "content": [{"text": "hello"}]}]
CLAUDE = json.dumps({
    "anthropic_version": "bedrock-2023-05-31", "max_tokens": 100,
    "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
})


def set_clock(ahead_s):
    true_time = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda *args, **kwargs: true_time(*args, **kwargs) + timedelta(seconds=ahead_s)


def tampered(request, **_):
    changed = request.body.replace(b"hello", b"hullo")
    assert changed != request.body
    request.body = changed


def converse(client, model):
    answer = client.converse(modelId=model, messages=MESSAGES)
    text = "".join(block["text"] for block in answer["output"]["message"]["content"])
    return answer, answer["usage"]["totalTokens"], text


def converse_stream(client, model):
    answer = client.converse_stream(modelId=model, messages=MESSAGES)
    told = [event["metadata"]["usage"]["totalTokens"] for event in answer["stream"] if "metadata" in event]
    return answer, told[-1], ""


def invoke_model(client, model):
    answer = client.invoke_model(modelId=model, body=CLAUDE)
    usage = json.loads(answer["body"].read())["usage"]
    return answer, usage["input_tokens"] + usage["output_tokens"], ""


def invoke_model_with_response_stream(client, model):
    answer = client.invoke_model_with_response_stream(modelId=model, body=CLAUDE)
    chunks = [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]
    counts = next(chunk["amazon-bedrock-invocationMetrics"] for chunk in reversed(chunks) if "amazon-bedrock-invocationMetrics" in chunk)
    return answer, counts["inputTokenCount"] + counts["outputTokenCount"], ""


def main(order):
    if "clock_s" in order:
        set_clock(order["clock_s"])
    client = boto3.client("bedrock-runtime")
    if order.get("tamper"):
        client.meta.events.register("before-send.*", tampered)
    if order.get("echo"):
        client.meta.events.register("before-call.*", lambda params, **_: params["headers"].update({"x-simulate": "echo=1"}))
    calls = [converse] if order.get("echo") else [converse, converse_stream, invoke_model, invoke_model_with_response_stream]
    for call in calls:
        out = {"call": call.__name__}
        try:
            answer, out["tokens"], out["text"] = call(client, order["model"])
        except ClientError as error:
            answer = error.response
            out["status"] = answer["ResponseMetadata"]["HTTPStatusCode"]
            out["code"], out["message"] = answer["Error"]["Code"], answer["Error"]["Message"]
        out["call_id"] = answer["ResponseMetadata"]["HTTPHeaders"]["x-tollgate-call-id"]
        print(json.dumps(out), flush=True)


main(json.loads(sys.argv[1]))
