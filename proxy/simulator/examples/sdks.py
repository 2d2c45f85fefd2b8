"""Calls every route of the simulator with the official SDKs, whole and streamed, and checks what they make of the usage.

    cargo run -p tollgate-simulator --example simulate -- 127.0.0.1:9801 &
    pip install openai 'anthropic[vertex,bedrock]' google-genai boto3 mistralai
    python proxy/simulator/examples/sdks.py http://127.0.0.1:9801

Prints a line a check and ends with 1 if any failed. Last run with openai 3.57.0, anthropic 2.14.0, google-genai 3.6.1, boto3 1.44.8,
mistralai 3.7.0.
"""

import json
import sys
from importlib.metadata import version

import anthropic
import boto3
import google.auth.credentials
import openai
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError
from google import genai
from google.genai import errors, types
from mistralai.client import Mistral

BASE = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:9801"
ASKED = "input=1000; cache_read=600; output=80; reasoning=30"
USER = [{"role": "user", "content": "hello"}]
failures = []


def check(name, held, seen=None):
    print("ok  " if held else "FAIL", name, "" if held else seen)
    if not held:
        failures.append(name)


def simulate(directives):
    return {"x-simulate": directives}


def refused(name, kind, call):
    """The SDK must make an exception of its own of the error."""
    try:
        call()
        check(name, False, "no exception")
    except kind as error:
        check(name, True, error)


def chat(name, client):
    whole = client.chat.completions.create(model="gpt-4o", messages=USER)
    usage = whole.usage
    seen = (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, usage.completion_tokens, usage.total_tokens)
    check(f"{name} chat", seen == (1000, 600, 80, 1080), usage)
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=USER, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    check(f"{name} chat stream", text == whole.choices[0].message.content and chunks[-1].usage == usage, chunks[-1])


def responses(name, client):
    whole = client.responses.create(model="gpt-5", input="hello")
    check(f"{name} responses", whole.usage.output_tokens_details.reasoning_tokens == 30, whole.usage)
    with client.responses.stream(model="gpt-5", input="hello") as stream:
        check(f"{name} responses stream", stream.get_final_response().usage == whole.usage)


def media(name, client):
    image = client.images.generate(model="gpt-image-1", prompt="a cat", quality="high")
    check(f"{name} image", image.usage.output_tokens_details.image_tokens == 4160, image.usage)
    events = list(client.images.generate(model="gpt-image-1", prompt="a cat", stream=True, partial_images=2))
    check(f"{name} image stream", len(events) == 3 and events[-1].usage.total_tokens == 1058, events[-1].usage)
    speech = client.audio.speech.create(model="tts-1", voice="alloy", input="hello").read()
    check(f"{name} speech", speech[:2] == b"\xff\xfb", speech[:2])
    file = ("a.wav", bytes(40_000))
    heard = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=file)
    check(f"{name} transcription", heard.usage.input_token_details.audio_tokens == 30, heard.usage)
    timed = client.audio.transcriptions.create(model="whisper-1", file=file, response_format="verbose_json")
    check(f"{name} transcription by the second", timed.usage.seconds == 3, timed.usage)
    events = list(client.audio.transcriptions.create(model="gpt-4o-transcribe", file=file, stream=True))
    check(f"{name} transcription stream", events[-1].usage.total_tokens == heard.usage.total_tokens == 78, events[-1])


def batches(name, client):
    line = {"method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4o", "messages": USER}}
    lines = [{"custom_id": str(at), **line} for at in range(3)]
    file = client.files.create(file=("in.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
    directives = simulate(f"polls=2; id={name}; {ASKED}")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", extra_headers=directives)
    states = [batch.status]
    while batch.status not in ("completed", "failed"):
        batch = client.batches.retrieve(batch.id)
        states.append(batch.status)
    check(f"{name} batch", states == ["validating", "in_progress", "in_progress", "completed"] and batch.usage.total_tokens == 3240, batch)
    output = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    check(f"{name} batch output", [line["response"]["body"]["usage"]["total_tokens"] for line in output] == [1080] * 3, output)


def openai_and_azure():
    asked = {"api_key": "k", "max_retries": 0, "default_headers": simulate(ASKED)}
    plain = {"api_key": "k", "max_retries": 0}
    at = {"azure_endpoint": f"{BASE}/azure", "api_version": "2025-04-01-preview"}
    for name, client, unasked in [
        ("openai", openai.OpenAI(base_url=f"{BASE}/openai/v1", **asked), openai.OpenAI(base_url=f"{BASE}/openai/v1", **plain)),
        ("azure", openai.AzureOpenAI(**at, **asked), openai.AzureOpenAI(**at, **plain)),
        ("azure-v1", openai.OpenAI(base_url=f"{BASE}/azure/openai/v1", **asked), openai.OpenAI(base_url=f"{BASE}/azure/openai/v1", **plain)),
    ]:
        chat(name, client)
        responses(name, client)
        check(f"{name} embeddings", len(client.embeddings.create(model="text-embedding-3-small", input=["a", "b"]).data) == 2)
        check(f"{name} models", len(client.models.list().data) > 5)
        media(name, unasked)
        batches(name, unasked)
        limited = client.with_options(default_headers=simulate("status=429"))
        refused(f"{name} 429", openai.RateLimitError, lambda: limited.chat.completions.create(model="m", messages=USER))
    stream = openai.AzureOpenAI(**at, **plain).chat.completions.create(model="gpt-4o", messages=USER, stream=True)
    first = next(iter(stream))
    check("azure filters the prompt first", first.choices == [] and first.usage is None and first.prompt_filter_results, first)


def messages(name, client, model):
    whole = client.messages.create(model=model, max_tokens=100, messages=USER)
    usage = whole.usage
    check(f"{name} messages", (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (400, 600, 80), usage)
    with client.messages.stream(model=model, max_tokens=100, messages=USER) as stream:
        final = stream.get_final_message()
    check(f"{name} messages stream", final.content[0].text == whole.content[0].text and final.usage.output_tokens == 80, final.usage)
    limited = client.with_options(default_headers=simulate("status=429"), max_retries=0)
    refused(f"{name} 429", anthropic.RateLimitError, lambda: limited.messages.create(model=model, max_tokens=1, messages=USER))


def anthropic_everywhere():
    asked = {"default_headers": simulate(ASKED)}
    client = anthropic.Anthropic(base_url=f"{BASE}/anthropic", api_key="k", **asked)
    messages("anthropic", client, "claude-sonnet-5-5")
    counted = client.messages.count_tokens(model="claude-sonnet-5-5", messages=USER)
    check("anthropic count_tokens", counted.input_tokens == 2, counted)
    params = {"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": USER}
    batch = client.messages.batches.create(requests=[{"custom_id": "a", "params": params}], extra_headers=simulate(f"polls=1; {ASKED}"))
    while batch.processing_status != "ended":
        batch = client.messages.batches.retrieve(batch.id)
    usage = [line.result.message.usage for line in client.messages.batches.results(batch.id)]
    check("anthropic batch", [(each.input_tokens, each.service_tier) for each in usage] == [(400, "batch")], usage)
    vertex = anthropic.AnthropicVertex(project_id="p", region="global", access_token="t", base_url=f"{BASE}/vertex/v1", **asked)
    messages("vertex", vertex, "claude-sonnet-4-5@20250929")
    keys = {"aws_access_key": "a", "aws_secret_key": "s", "aws_region": "us-east-1"}
    bedrock = anthropic.AnthropicBedrock(base_url=f"{BASE}/bedrock", **keys, **asked)
    messages("bedrock", bedrock, "us.anthropic.claude-sonnet-4-5-20250929-v1:0")


class Token(google.auth.credentials.Credentials):
    """A token that never expires."""

    token = "t"
    expired = False

    def __init__(self):
        super().__init__()
        self.token = "t"

    def refresh(self, request):
        del request


def google_everywhere():
    directives = "input=1000; cache_read=600; audio_in=50; tool_input=100; output=80; reasoning=30"
    model = "gemini-2.5-flash"
    for prefix, versions, login in [
        ("gemini", ("v1", "v1beta"), {"api_key": "k"}),
        ("vertex", ("v1", "v1beta1"), {"vertexai": True, "project": "p", "location": "global", "credentials": Token()}),
    ]:
        for api in versions:
            name = f"{prefix} {api}"
            options = {"base_url": f"{BASE}/{prefix}", "api_version": api}
            client = genai.Client(http_options=types.HttpOptions(**options, headers=simulate(directives)), **login)
            whole = client.models.generate_content(model=model, contents="hello")
            usage = whole.usage_metadata
            seen = (usage.prompt_token_count, usage.cached_content_token_count, usage.tool_use_prompt_token_count)
            check(f"{name} input", seen == (900, 600, 100), usage)
            seen = (usage.candidates_token_count, usage.thoughts_token_count, usage.total_token_count)
            check(f"{name} output", seen == (50, 30, 1080), usage)
            chunks = list(client.models.generate_content_stream(model=model, contents="hello"))
            text = "".join(chunk.text or "" for chunk in chunks)
            check(f"{name} stream", text == whole.text and chunks[-1].usage_metadata == usage, chunks[-1].usage_metadata)
            check(f"{name} count", client.models.count_tokens(model=model, contents="hello").total_tokens == 1000)
            for embedder, contents in [("gemini-embedding-001", ["a", "b"]), ("gemini-embedding-001", ["a"]), ("text-embedding-005", ["a"])]:
                embedded = client.models.embed_content(model=embedder, contents=contents, config={"output_dimensionality": 8})
                sizes = [len(each.values) for each in embedded.embeddings]
                check(f"{name} {len(contents)} of {embedder}", sizes == [8] * len(contents), sizes)
            check(f"{name} models", len(list(client.models.list())) == 7)
            limited = genai.Client(http_options=types.HttpOptions(**options, headers=simulate("status=429")), **login)
            refused(f"{name} 429", errors.ClientError, lambda: limited.models.generate_content(model=model, contents="x"))


def bedrock():
    def client(directives):
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "s", "region_name": "us-east-1"}
        config = Config(retries={"max_attempts": 0})
        made = boto3.client("bedrock-runtime", endpoint_url=f"{BASE}/bedrock", config=config, **keys)
        made.meta.events.register("before-send.*", lambda request, **_: request.headers.__setitem__("x-simulate", directives))
        return made

    model, hello = "anthropic.claude-3-5-sonnet-20241022-v2:0", [{"role": "user", "content": [{"text": "hello"}]}]
    runtime = client("input=1000; cache_read=600; cache_write_5m=100; cache_write_1h=50; output=80")
    usage = runtime.converse(modelId=model, messages=hello)["usage"]
    seen = (usage["inputTokens"], usage["cacheReadInputTokens"], usage["cacheWriteInputTokens"], usage["totalTokens"])
    check("bedrock converse", seen == (250, 600, 150, 1080), usage)
    events = list(runtime.converse_stream(modelId=model, messages=hello)["stream"])
    check("bedrock converse stream", events[-1]["metadata"]["usage"] == usage, events[-1])
    runtime = client("input=9")
    claude = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, "messages": USER}
    for model_id, body in [
        (model, claude),
        ("us.amazon.nova-pro-v1:0", {"messages": hello}),
        ("amazon.titan-text-express-v1", {"inputText": "hello"}),
        ("meta.llama3-8b-instruct-v1:0", {"prompt": "hello"}),
        ("mistral.mistral-large-2402-v1:0", {"prompt": "hello"}),
    ]:
        invocation = {"modelId": model_id, "body": json.dumps(body)}
        headers = runtime.invoke_model(**invocation)["ResponseMetadata"]["HTTPHeaders"]
        check(f"bedrock invoke {model_id}", headers["x-amzn-bedrock-input-token-count"] == "9", headers)
        chunks = [json.loads(event["chunk"]["bytes"]) for event in runtime.invoke_model_with_response_stream(**invocation)["body"]]
        check(f"bedrock invoke stream {model_id}", chunks[-1]["amazon-bedrock-invocationMetrics"]["inputTokenCount"] == 9, chunks[-1])
    embedded = runtime.invoke_model(modelId="amazon.titan-embed-text-v2:0", body=json.dumps({"inputText": "hello"}))
    check("bedrock embeddings", json.loads(embedded["body"].read())["inputTextTokenCount"] == 9)
    refused("bedrock 429", ClientError, lambda: client("status=429").converse(modelId=model, messages=hello))
    failing = client("error_after=3").converse_stream(modelId=model, messages=hello)["stream"]
    refused("bedrock exception in a stream", EventStreamError, lambda: list(failing))


def mistral():
    client = Mistral(api_key="k", server_url=f"{BASE}/mistral")
    call = {"model": "mistral-small-latest", "messages": USER, "http_headers": simulate("input=1000; cache_read=600; output=80")}
    usage = client.chat.complete(**call).usage
    check("mistral chat", (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1000, 80, 1080), usage)
    events = list(client.chat.stream(**call))
    check("mistral chat stream", events[-1].data.usage == usage, events[-1].data.usage)
    check("mistral embeddings", client.embeddings.create(model="mistral-embed", inputs=["a", "b"]).usage.prompt_tokens == 2)
    document = {"type": "document_url", "document_url": "https://example.com/a.pdf"}
    pages = client.ocr.process(model="mistral-ocr-latest", document=document, http_headers=simulate("pages=7"))
    check("mistral ocr", pages.usage_info.pages_processed == 7, pages.usage_info)


for package in ("openai", "anthropic", "google-genai", "boto3", "mistralai"):
    print(package, version(package))
for part in (openai_and_azure, anthropic_everywhere, google_everywhere, bedrock, mistral):
    part()
print(f"{len(failures)} failed", *failures)
sys.exit(1 if failures else 0)
