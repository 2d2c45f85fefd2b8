// Calls a provider interface with the official JavaScript SDKs, as told line by line. The protocol is that of client.py.
// The packages are imported from the folder named by the first argument, which is not beside this file.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.argv[2]}/x.js`));
const { default: OpenAI } = await import(pathToFileURL(require.resolve("openai")));
const { default: Anthropic } = await import(pathToFileURL(require.resolve("@anthropic-ai/sdk")));

const TIMEOUT_MS = 60_000;

class Stopped extends Error {}

class Reply {
  constructor(request) {
    this.abortAfter = request.abort_after ?? null;
    this.out = {
      id: request.id, text: "", usage: null, model: null, answer_id: null, tool_calls: [],
      finish: null, headers: {}, events: 0, usage_events: 0, retries: 0, error: null,
    };
  }

  head(response) {
    this.out.headers = ours(response.headers);
  }

  event() {
    this.out.events += 1;
    if (this.abortAfter !== null && this.out.events >= this.abortAfter) throw new Stopped();
  }

  model(answer) {
    this.out.model = answer.model;
    this.out.answer_id = answer.id ?? null;
  }
}

const ours = (headers) => Object.fromEntries([...headers].filter(([name]) => name.startsWith("x-tollgate-")));

const options = (request) => ({
  baseURL: request.base_url, apiKey: request.api_key, defaultHeaders: request.headers ?? {},
  maxRetries: request.max_retries ?? 0, timeout: TIMEOUT_MS,
});

async function chat(request, reply) {
  const { params } = request, { out } = reply;
  const { data, response } = await new OpenAI(options(request)).chat.completions.create(params).withResponse();
  reply.head(response);
  if (!params.stream) {
    reply.model(data);
    const [{ message, finish_reason }] = data.choices;
    Object.assign(out, { text: message.content ?? "", finish: finish_reason, usage: data.usage ?? null });
    out.tool_calls = (message.tool_calls ?? []).map(({ function: f }) => ({ name: f.name, arguments: f.arguments }));
    return;
  }
  for await (const chunk of data) {
    reply.model(chunk);
    if (chunk.usage) {
      out.usage = chunk.usage;
      out.usage_events += 1;
    }
    for (const { delta, finish_reason } of chunk.choices) {
      out.text += delta.content ?? "";
      out.finish = finish_reason ?? out.finish;
      for (const { index, function: f } of delta.tool_calls ?? []) {
        const call = (out.tool_calls[index] ??= { name: "", arguments: "" });
        call.name += f.name ?? "";
        call.arguments += f.arguments ?? "";
      }
    }
    reply.event();
  }
}

async function completions(request, reply) {
  const { params } = request, { out } = reply;
  const { data, response } = await new OpenAI(options(request)).completions.create(params).withResponse();
  reply.head(response);
  if (!params.stream) {
    reply.model(data);
    Object.assign(out, { text: data.choices[0].text, finish: data.choices[0].finish_reason, usage: data.usage ?? null });
    return;
  }
  for await (const chunk of data) {
    reply.model(chunk);
    if (chunk.usage) {
      out.usage = chunk.usage;
      out.usage_events += 1;
    }
    for (const choice of chunk.choices) {
      out.text += choice.text ?? "";
      out.finish = choice.finish_reason ?? out.finish;
    }
    reply.event();
  }
}

async function responses(request, reply) {
  const { params } = request, { out } = reply;
  const whole = (answer) => {
    reply.model(answer);
    const parts = answer.output.flatMap((item) => (item.type === "message" ? item.content : []));
    out.text = parts.map((part) => (part.type === "output_text" ? part.text : "")).join("");
    Object.assign(out, { finish: answer.status, usage: answer.usage ?? null });
    const calls = answer.output.filter((item) => item.type === "function_call");
    out.tool_calls = calls.map((item) => ({ name: item.name, arguments: item.arguments }));
  };
  const { data, response } = await new OpenAI(options(request)).responses.create(params).withResponse();
  reply.head(response);
  if (!params.stream) return whole(data);
  let streamed = "";
  for await (const event of data) {
    if (event.type === "response.output_text.delta") {
      streamed += event.delta;
      out.text = streamed;
    } else if (event.type === "response.failed") {
      // The SDK hands it over and raises nothing.
      const { code, message } = event.response.error;
      out.error = { class: event.type, status: null, code, type: null, message };
    } else if (["response.completed", "response.incomplete"].includes(event.type)) {
      out.usage_events += event.response.usage ? 1 : 0;
      whole(event.response);
      if (out.text !== streamed) throw new Error(`the deltas say "${streamed}", the last event says "${out.text}"`);
    }
    reply.event();
  }
}

async function embeddings(request, reply) {
  const { data, response } = await new OpenAI(options(request)).embeddings.create(request.params).withResponse();
  reply.head(response);
  reply.model(data);
  reply.out.text = JSON.stringify(data.data.map((item) => item.embedding));
  reply.out.usage = data.usage ?? null;
}

async function messages(request, reply) {
  const { stream: streamed, ...params } = request.params, { out } = reply;
  const client = new Anthropic(options(request));
  const whole = (answer) => {
    reply.model(answer);
    out.text = answer.content.map((block) => (block.type === "text" ? block.text : "")).join("");
    Object.assign(out, { finish: answer.stop_reason, usage: answer.usage });
    const calls = answer.content.filter((block) => block.type === "tool_use");
    out.tool_calls = calls.map((block) => ({ name: block.name, arguments: JSON.stringify(block.input) }));
  };
  if (!streamed) {
    const { data, response } = await client.messages.create(params).withResponse();
    reply.head(response);
    return whole(data);
  }
  const stream = client.messages.stream(params);
  const opened = stream.withResponse().then(({ response }) => reply.head(response), () => {});
  try {
    for await (const event of stream) {
      if (event.type === "content_block_delta" && event.delta.type === "text_delta") out.text += event.delta.text;
      out.usage_events += event.type === "message_start" || event.type === "message_delta" ? 1 : 0;
      reply.event();
    }
  } catch (error) {
    stream.abort();
    throw error;
  } finally {
    await opened;
  }
  whole(await stream.finalMessage());
}

const CALLS = {
  "openai chat": chat, "openai completions": completions, "openai responses": responses,
  "openai embeddings": embeddings, "anthropic messages": messages,
};

async function serve(line) {
  const request = JSON.parse(line);
  const reply = new Reply(request);
  try {
    await CALLS[`${request.sdk} ${request.call}`](request, reply);
  } catch (error) {
    if (error instanceof Stopped) {
      reply.out.finish = "aborted";
    } else {
      const inner = error.error?.error ?? error.error ?? {};
      reply.out.error = {
        class: error.constructor.name, status: error.status ?? null,
        code: inner.code ?? null, type: inner.type ?? null, message: String(error.message),
      };
      if (error.headers) reply.out.headers = ours(error.headers);
    }
  }
  process.stdout.write(JSON.stringify(reply.out) + "\n");
}

for await (const line of createInterface({ input: process.stdin })) if (line.trim()) void serve(line);
