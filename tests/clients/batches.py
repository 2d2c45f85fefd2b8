"""Batches with the official SDKs: a call each for submitting one, looking at it, and fetching its results.

`text` of the reply is JSON: of a submission and a look {id, status, files}, of a fetch the results as the SDK offers them.
"""

import json

import anthropic
import openai

TIMEOUT_S = 60


def settings(request):
    return {
        "base_url": request["base_url"], "api_key": request["api_key"], "default_headers": request.get("headers") or {},
        "max_retries": request.get("max_retries", 0), "timeout": TIMEOUT_S,
    }


def openai_submits(request, reply):
    client, params = openai.OpenAI(**settings(request)), request["params"]
    lines = "\n".join(map(json.dumps, params["lines"])).encode()
    file = client.files.create(file=("in.jsonl", lines), purpose="batch")
    raw = client.batches.with_raw_response.create(input_file_id=file.id, endpoint=params["endpoint"], completion_window="24h")
    openai_batch(reply, reply.head(raw))


def openai_looks(request, reply):
    raw = openai.OpenAI(**settings(request)).batches.with_raw_response.retrieve(request["params"]["id"])
    openai_batch(reply, reply.head(raw))


def openai_batch(reply, batch):
    files = [file for file in (batch.output_file_id, batch.error_file_id) if file]
    reply.out["text"] = json.dumps({"id": batch.id, "status": batch.status, "files": files})


def openai_fetches(request, reply):
    client = openai.OpenAI(**settings(request))
    text = client.files.content(request["params"]["id"]).text
    reply.out["text"] = json.dumps([json.loads(line) for line in text.splitlines()])


def anthropic_submits(request, reply):
    client = anthropic.Anthropic(**settings(request))
    anthropic_batch(reply, reply.head(client.messages.batches.with_raw_response.create(requests=request["params"]["requests"])))


def anthropic_looks(request, reply):
    client = anthropic.Anthropic(**settings(request))
    anthropic_batch(reply, reply.head(client.messages.batches.with_raw_response.retrieve(request["params"]["id"])))


def anthropic_batch(reply, batch):
    reply.out["text"] = json.dumps({"id": batch.id, "status": batch.processing_status, "files": [batch.results_url]})


def anthropic_fetches(request, reply):
    # Kept until the results are read: a client that is gone closes what it reads from.
    client = anthropic.Anthropic(**settings(request))
    results = client.messages.batches.results(request["params"]["id"])
    reply.out["text"] = json.dumps([result.model_dump(mode="json", exclude_unset=True) for result in results])


CALLS = {
    ("openai", "batch_submit"): openai_submits,
    ("openai", "batch_look"): openai_looks,
    ("openai", "batch_fetch"): openai_fetches,
    ("anthropic", "batch_submit"): anthropic_submits,
    ("anthropic", "batch_look"): anthropic_looks,
    ("anthropic", "batch_fetch"): anthropic_fetches,
}
