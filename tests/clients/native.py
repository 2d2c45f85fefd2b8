"""Calls providers by their own SDKs; see client.py, which has what these share. An SDK is imported when it is first called: some take seconds.

`params` are those of the SDK's method; `stream` chooses the method that streams where the SDK has two. `project` and `location` are of Vertex AI's client,
`api_version` of Azure's.
"""

import base64
import json
from contextlib import closing

TIMEOUT_S = 60


class Refused(Exception):
    """An SDK's error in the words that client.py tells of."""

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status_code = status
        self.body = {"error": {"code": code}}


def plain(value):
    return None if value is None else value.model_dump(mode="json", exclude_none=True)


def ours(headers):
    return {name.lower(): value for name, value in headers.items() if name.lower().startswith("x-tollgate-")}


# === Google ===


def google_client(request, params):
    from google import genai
    from google.genai import types
    from google.oauth2 import credentials

    options = types.HttpOptions(base_url=request["base_url"], headers=request.get("headers") or {}, timeout=TIMEOUT_S * 1000)
    if "project" not in params:
        return genai.Client(api_key=request["api_key"], http_options=options)
    token = credentials.Credentials(token=request["api_key"])
    return genai.Client(
        vertexai=True, project=params.pop("project"), location=params.pop("location"), credentials=token, http_options=options
    )


def generate(request, reply):
    from google.genai import errors

    params, out = dict(request["params"]), reply.out
    client = google_client(request, params)  # held: it closes when it is dropped

    def take(answer):
        out["text"] += answer.text or ""
        out["model"] = answer.model_version
        if answer.usage_metadata is not None:
            out["usage"] = plain(answer.usage_metadata)
            out["usage_events"] += 1
        finish = answer.candidates[0].finish_reason
        out["finish"] = finish.value if finish else out["finish"]
        out["headers"] = ours(answer.sdk_http_response.headers) or out["headers"]

    try:
        if not params.pop("stream", False):
            take(client.models.generate_content(**params))
            return
        for chunk in client.models.generate_content_stream(**params):
            take(chunk)
            reply.event()
    except errors.APIError as error:
        raise Refused(error.code, error.status, str(error)) from error
    finally:
        client.close()


# === AWS ===


def bedrock_client(request):
    import boto3
    from botocore.config import Config

    config = Config(retries={"max_attempts": 0}, read_timeout=TIMEOUT_S)
    client = boto3.client(
        "bedrock-runtime", region_name="us-east-1", endpoint_url=request["base_url"], config=config,
        aws_access_key_id=request["api_key"], aws_secret_access_key="whatever-the-application-has", aws_session_token=None,
    )
    headers = request.get("headers") or {}
    client.meta.events.register("before-call.*", lambda params, **_: params["headers"].update(headers))
    return client


def refusing(call):
    def called(request, reply):
        from botocore.exceptions import ClientError

        try:
            call(request, reply)
        except ClientError as error:
            reply.out["headers"] = ours(error.response["ResponseMetadata"]["HTTPHeaders"])
            told = error.response["Error"]
            raise Refused(error.response["ResponseMetadata"]["HTTPStatusCode"], told["Code"], told["Message"]) from error

    return called


@refusing
def converse(request, reply):
    params, out = dict(request["params"]), reply.out
    stream = params.pop("stream", False)
    client = bedrock_client(request)
    answer = client.converse_stream(**params) if stream else client.converse(**params)
    out["headers"] = ours(answer["ResponseMetadata"]["HTTPHeaders"])
    if not stream:
        out["text"] = "".join(block["text"] for block in answer["output"]["message"]["content"])
        out["finish"], out["usage"] = answer["stopReason"], answer["usage"]
        return
    with closing(answer["stream"]) as events:
        for event in events:
            out["text"] += event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
            out["finish"] = event.get("messageStop", {}).get("stopReason", out["finish"])
            if "metadata" in event:
                out["usage"] = event["metadata"]["usage"]
                out["usage_events"] += 1
            reply.event()


@refusing
def invoke(request, reply):
    params, out = dict(request["params"]), reply.out
    stream, params["body"] = params.pop("stream", False), json.dumps(params["body"])
    client = bedrock_client(request)
    answer = client.invoke_model_with_response_stream(**params) if stream else client.invoke_model(**params)
    out["headers"] = ours(answer["ResponseMetadata"]["HTTPHeaders"])
    if not stream:
        body = json.loads(answer["body"].read())
        out["text"] = "".join(block["text"] for block in body["content"])
        out["finish"], out["usage"], out["model"] = body["stop_reason"], body["usage"], body["model"]
        return
    with closing(answer["body"]) as events:
        for event in events:
            chunk = json.loads(event["chunk"]["bytes"])
            out["text"] += chunk.get("delta", {}).get("text", "")
            out["model"] = chunk.get("message", {}).get("model", out["model"])
            out["usage"] = chunk.get("amazon-bedrock-invocationMetrics", out["usage"])
            reply.event()


# === Azure ===


def azure_chat(request, reply):
    import openai

    params, out = dict(request["params"]), reply.out
    client = openai.AzureOpenAI(
        azure_endpoint=request["base_url"], api_version=params.pop("api_version"), api_key=request["api_key"],
        default_headers=request.get("headers") or {}, max_retries=0, timeout=TIMEOUT_S,
    )
    answer = reply.head(client.chat.completions.with_raw_response.create(**params))
    if not params.get("stream"):
        reply.model(answer)
        out["text"], out["finish"], out["usage"] = answer.choices[0].message.content, answer.choices[0].finish_reason, plain(answer.usage)
        return
    with answer:
        for chunk in answer:
            out["model"] = chunk.model or out["model"]
            out["usage"] = plain(chunk.usage) or out["usage"]
            for choice in chunk.choices:
                out["text"] += choice.delta.content or ""
                out["finish"] = choice.finish_reason or out["finish"]
            reply.event()


# === Mistral ===


def mistral_chat(request, reply):
    from mistralai.client import Mistral
    from mistralai.client.errors import MistralError

    params, out = dict(request["params"]), reply.out
    client = Mistral(api_key=request["api_key"], server_url=request["base_url"], timeout_ms=TIMEOUT_S * 1000)
    headers = request.get("headers") or {}
    try:
        if not params.pop("stream", False):
            answer = client.chat.complete(**params, http_headers=headers)
            reply.model(answer)
            out["text"], out["finish"], out["usage"] = answer.choices[0].message.content, answer.choices[0].finish_reason, plain(answer.usage)
            return
        with client.chat.stream(**params, http_headers=headers) as events:
            for event in events:
                chunk = event.data
                reply.model(chunk)
                if chunk.usage is not None:
                    out["usage"] = plain(chunk.usage)
                    out["usage_events"] += 1
                for choice in chunk.choices:
                    out["text"] += choice.delta.content or ""
                    out["finish"] = choice.finish_reason or out["finish"]
                reply.event()
    except MistralError as error:
        body = json.loads(error.body)
        raise Refused(error.status_code, body.get("code"), body.get("message", error.body)) from error


# === OpenAI, what is not text ===


def openai_client(request):
    import openai

    return openai.OpenAI(
        base_url=request["base_url"], api_key=request["api_key"], default_headers=request.get("headers") or {}, max_retries=0, timeout=TIMEOUT_S
    )


def images(request, reply):
    answer = reply.head(openai_client(request).images.with_raw_response.generate(**request["params"]))
    reply.out["text"], reply.out["usage"] = answer.data[0].b64_json, plain(answer.usage)


def speech(request, reply):
    answer = openai_client(request).audio.speech.create(**request["params"])
    reply.out["headers"] = ours(answer.response.headers)
    reply.out["text"] = base64.b64encode(answer.content).decode()


def transcription(request, reply):
    params = dict(request["params"])
    file = ("speech.wav", base64.b64decode(params.pop("file")), "audio/wav")
    answer = reply.head(openai_client(request).audio.transcriptions.with_raw_response.create(file=file, **params))
    reply.out["text"], reply.out["usage"] = answer.text, plain(answer.usage)


CALLS = {
    ("google", "generate"): generate,
    ("bedrock", "converse"): converse,
    ("bedrock", "invoke"): invoke,
    ("azure", "chat"): azure_chat,
    ("mistral", "chat"): mistral_chat,
    ("openai", "images"): images,
    ("openai", "speech"): speech,
    ("openai", "transcription"): transcription,
}
