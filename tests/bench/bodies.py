"""What the clients send and the upstreams answer, and what a call costs: all of it fixed."""

import json
from decimal import Decimal

PATH = "/openai/v1/chat/completions"
KEY = "sk-tollgate-bench-0123456789abcdef"
PROVIDER_KEY = "sk-provider-bench-0123456789abcdef"
MODEL = "gpt-4o-mini"
# The providers answer an alias by its dated snapshot, so finding the price takes the step that removes the date.
SNAPSHOT = "gpt-4o-mini-2024-07-18"

INPUT, CACHED, OUTPUT = 212, 128, 100
# Prices per million tokens of gateway.yaml: uncached input, cache reads, output.
COST = (Decimal(INPUT - CACHED) * Decimal("0.15") + Decimal(CACHED) * Decimal("0.075") + Decimal(OUTPUT) * Decimal("0.60")) / 1_000_000

CHUNKS = 100
# Makes the simulator report the same tokens as the constant answers below.
SIMULATED_USAGE = f"input={INPUT}; cache_read={CACHED}; output={OUTPUT}"

_WORDS = (
    'The ledger holds one row for every call: who asked, which model answered, and what it cost.\n'
    'A row is written before the last byte of its answer leaves, so "answered" and "recorded" mean the same.\n'
)


def _prose(length):
    return (_WORDS * (length // len(_WORDS) + 1))[:length]


def request(size, stream=False):
    """A chat completion request of exactly `size` bytes."""
    body = {"model": MODEL, "temperature": 0.2, "max_tokens": 256}
    if stream:
        # Asked for by the client, so that every proxy has the same bytes to forward.
        body |= {"stream": True, "stream_options": {"include_usage": True}}

    def encoded(prompt):
        messages = [{"role": "system", "content": "You are a concise assistant."}, {"role": "user", "content": prompt}]
        return json.dumps(body | {"messages": messages}, separators=(",", ":")).encode()

    return _padded(encoded, size)


def _padded(encoded, size):
    """Finds the text with which `encoded(text)` has `size` bytes: escapes make it longer than the text is."""
    length = size - len(encoded(""))
    while len(encoded(_prose(length))) > size:
        length -= 1
    body = encoded(_prose(length) + "." * (size - len(encoded(_prose(length)))))
    assert len(body) == size, (len(body), size)
    return body


def _usage():
    return {
        "prompt_tokens": INPUT,
        "completion_tokens": OUTPUT,
        "total_tokens": INPUT + OUTPUT,
        "prompt_tokens_details": {"cached_tokens": CACHED, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    }


def _envelope(kind):
    return {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "object": kind,
        "created": 1764547200,
        "model": SNAPSHOT,
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
    }


def completion(size):
    """A chat completion of exactly `size` bytes."""

    def encoded(text):
        message = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return json.dumps(_envelope("chat.completion") | {"choices": [choice], "usage": _usage()}, separators=(",", ":")).encode()

    return _padded(encoded, size)


def budgets(count=1000):
    """As many budgets, none of which is ever spent; the last five are for every call of gateway.yaml's key."""
    each = "apiVersion: tollgate/v1\nkind: Budget\nmetadata: {{name: {}}}\nspec: {{when: \"{}\", per: [{}], limit: {}, window: {}}}\n"
    ours = [
        ("user-day", "team = 'growth'", "user_id", "1000000 USD", "day"),
        ("user-month", "team = 'growth'", "user_id", "1000000 USD", "month"),
        ("user-tokens", "team = 'growth' AND provider_name = 'openai'", "user_id", "{tokens: 1000000000000}", "month"),
        ("user-calls", "team = 'growth'", "user_id", "{calls: 1000000000}", "24h"),
        ("team-month", "true", "team", "1000000 USD", "month"),
    ]
    others = [(f"other-{n:03}", f"team = 'other-{n:03}'", "user_id", "1000000 USD", "month") for n in range(count - len(ours))]
    return "---\n".join(each.format(*budget) for budget in others + ours)


def stream():
    """A streamed chat completion of CHUNKS content chunks, as one text."""

    def event(choices, usage=None):
        chunk = _envelope("chat.completion.chunk") | {"choices": choices, "usage": usage}
        return "data: " + json.dumps(chunk, separators=(",", ":")) + "\n\n"

    def delta(content, finish=None):
        return [{"index": 0, "delta": content, "logprobs": None, "finish_reason": finish}]

    events = [event(delta({"role": "assistant", "content": "", "refusal": None}))]
    events += [event(delta({"content": f" word{n}"})) for n in range(CHUNKS)]
    events += [event(delta({}, "stop")), event([], _usage()), "data: [DONE]\n\n"]
    return "".join(events).encode()
