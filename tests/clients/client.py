"""Calls a provider interface with the official Python SDKs, as told line by line.

Reads one JSON request a line from stdin, writes one JSON reply a line to stdout, in the order in which calls finish; `id` joins the two.
Ends when stdin ends. It judges nothing: the assertions are in the Rust harness.

Request: {id, sdk: "openai" | "anthropic", call: "chat" | "completions" | "responses" | "embeddings" | "messages", or what native.py
          and batches.py have, base_url, api_key, headers, params, max_retries, abort_after}
`params` go to the SDK's method as they are. `abort_after: N` closes a stream after N events.
Reply:   {id, text, usage, model, answer_id, tool_calls, finish, headers, events, usage_events, retries, error}
`usage` is what the SDK offers the application. `error` is {class, status, code, type, message}, and what was read before it is kept.
"""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import anthropic
import openai

import batches
import native

CALLS_AT_ONCE = 16
TIMEOUT_S = 60


def plain(value):
    """An SDK object as JSON, without the fields that were not on the wire."""
    return None if value is None else value.model_dump(mode="json", exclude_unset=True)


def ours(headers):
    return {name.lower(): value for name, value in headers.items() if name.lower().startswith("x-tollgate-")}


class Stopped(Exception):
    """The reader of a stream was told to leave."""


class Reply:
    def __init__(self, request):
        self.abort_after = request.get("abort_after")
        self.out = {
            "id": request["id"], "text": "", "usage": None, "model": None, "answer_id": None, "tool_calls": [],
            "finish": None, "headers": {}, "events": 0, "usage_events": 0, "retries": 0, "error": None,
        }

    def head(self, raw):
        self.out["headers"] = ours(raw.headers)
        self.out["retries"] = raw.retries_taken
        return raw.parse()

    def event(self):
        self.out["events"] += 1
        if self.abort_after is not None and self.out["events"] >= self.abort_after:
            raise Stopped

    def model(self, answer):
        self.out["model"] = answer.model
        self.out["answer_id"] = getattr(answer, "id", None)


def openai_client(request):
    return openai.OpenAI(
        base_url=request["base_url"], api_key=request["api_key"], default_headers=request.get("headers") or {},
        max_retries=request.get("max_retries", 0), timeout=TIMEOUT_S,
    )


def chat(request, reply):
    params, out = request["params"], reply.out
    answer = reply.head(openai_client(request).chat.completions.with_raw_response.create(**params))
    if not params.get("stream"):
        reply.model(answer)
        message = answer.choices[0].message
        out["text"], out["finish"], out["usage"] = message.content or "", answer.choices[0].finish_reason, plain(answer.usage)
        out["tool_calls"] = [{"name": c.function.name, "arguments": c.function.arguments} for c in message.tool_calls or []]
        return
    with answer:
        for chunk in answer:
            reply.model(chunk)
            if chunk.usage is not None:
                out["usage"] = plain(chunk.usage)
                out["usage_events"] += 1
            for choice in chunk.choices:
                out["text"] += choice.delta.content or ""
                out["finish"] = choice.finish_reason or out["finish"]
                for call in choice.delta.tool_calls or []:
                    while len(out["tool_calls"]) <= call.index:
                        out["tool_calls"].append({"name": "", "arguments": ""})
                    out["tool_calls"][call.index]["name"] += call.function.name or ""
                    out["tool_calls"][call.index]["arguments"] += call.function.arguments or ""
            reply.event()


def completions(request, reply):
    params, out = request["params"], reply.out
    answer = reply.head(openai_client(request).completions.with_raw_response.create(**params))
    if not params.get("stream"):
        reply.model(answer)
        out["text"], out["finish"], out["usage"] = answer.choices[0].text, answer.choices[0].finish_reason, plain(answer.usage)
        return
    with answer:
        for chunk in answer:
            reply.model(chunk)
            if chunk.usage is not None:
                out["usage"] = plain(chunk.usage)
                out["usage_events"] += 1
            for choice in chunk.choices:
                out["text"] += choice.text or ""
                out["finish"] = choice.finish_reason or out["finish"]
            reply.event()


def responses(request, reply):
    params, out = request["params"], reply.out

    def whole(answer):
        reply.model(answer)
        out["text"], out["finish"], out["usage"] = answer.output_text, answer.status, plain(answer.usage)
        calls = [item for item in answer.output if item.type == "function_call"]
        out["tool_calls"] = [{"name": item.name, "arguments": item.arguments} for item in calls]

    answer = reply.head(openai_client(request).responses.with_raw_response.create(**params))
    if not params.get("stream"):
        whole(answer)
        return
    streamed = ""
    with answer:
        for event in answer:
            if event.type == "response.output_text.delta":
                streamed += event.delta
                out["text"] = streamed
            elif event.type == "response.failed":  # the SDK hands it over and raises nothing
                failure = event.response.error
                out["error"] = {"class": event.type, "status": None, "code": failure.code, "type": None, "message": failure.message}
            elif event.type in ("response.completed", "response.incomplete"):
                out["usage_events"] += event.response.usage is not None
                whole(event.response)
                if out["text"] != streamed:
                    raise ValueError(f"the deltas say {streamed!r}, the last event says {out['text']!r}")
            reply.event()


def embeddings(request, reply):
    answer = reply.head(openai_client(request).embeddings.with_raw_response.create(**request["params"]))
    reply.model(answer)
    reply.out["text"] = json.dumps([item.embedding for item in answer.data])
    reply.out["usage"] = plain(answer.usage)


def messages(request, reply):
    client = anthropic.Anthropic(
        base_url=request["base_url"], api_key=request["api_key"], default_headers=request.get("headers") or {},
        max_retries=request.get("max_retries", 0), timeout=TIMEOUT_S,
    )
    params, out = dict(request["params"]), reply.out

    def whole(answer):
        reply.model(answer)
        out["text"] = "".join(block.text for block in answer.content if block.type == "text")
        out["finish"], out["usage"] = answer.stop_reason, plain(answer.usage)
        calls = [block for block in answer.content if block.type == "tool_use"]
        out["tool_calls"] = [{"name": block.name, "arguments": json.dumps(block.input)} for block in calls]

    if not params.pop("stream", False):
        whole(reply.head(client.messages.with_raw_response.create(**params)))
        return
    with client.messages.stream(**params) as stream:
        out["headers"] = ours(stream.response.headers)
        for event in stream:
            if event.type == "text":
                out["text"] += event.text
            out["usage_events"] += event.type in ("message_start", "message_delta")
            reply.event()
        whole(stream.get_final_message())


CALLS = {
    ("openai", "chat"): chat,
    ("openai", "completions"): completions,
    ("openai", "responses"): responses,
    ("openai", "embeddings"): embeddings,
    ("anthropic", "messages"): messages,
    **batches.CALLS,
    **native.CALLS,
}

stdout_lock = threading.Lock()


def serve(line):
    request = json.loads(line)
    reply = Reply(request)
    try:
        CALLS[request["sdk"], request["call"]](request, reply)
    except Stopped:
        reply.out["finish"] = "aborted"
    except Exception as error:  # every failure is a reply: the harness says whether it was expected
        body = getattr(error, "body", None)
        inner = body.get("error", body) if isinstance(body, dict) else {}
        inner = inner if isinstance(inner, dict) else {}
        reply.out["error"] = {
            "class": type(error).__name__, "status": getattr(error, "status_code", None),
            "code": inner.get("code"), "type": inner.get("type"), "message": str(error),
        }
        response = getattr(error, "response", None)
        if hasattr(response, "headers"):
            reply.out["headers"] = ours(response.headers)
    with stdout_lock:
        sys.stdout.write(json.dumps(reply.out) + "\n")
        sys.stdout.flush()


with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
    for line in sys.stdin:
        if line.strip():
            pool.submit(serve, line)
