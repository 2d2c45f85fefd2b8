//! A call to make: which interface, what is said, what the simulator is told, and where it goes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::prices;
use super::sdk::Order;

/// One red pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";

/// The interfaces that the SDKs speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Chat,
    Completions,
    Responses,
    Embeddings,
    Messages,
}

impl Api {
    pub(crate) const ALL: [Self; 5] = [
        Self::Chat,
        Self::Completions,
        Self::Responses,
        Self::Embeddings,
        Self::Messages,
    ];

    /// Those that answer with text.
    pub(crate) const TEXT: [Self; 4] = [Self::Chat, Self::Completions, Self::Responses, Self::Messages];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
        }
    }

    /// The provider whose SDK it is, and the template whose prices it has.
    pub(crate) const fn provider(self) -> &'static str {
        match self {
            Self::Messages => "anthropic",
            _ => "openai",
        }
    }

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Embeddings => "/v1/embeddings",
            Self::Messages => "/v1/messages",
        }
    }

    /// `operation_name` in the row, in OpenTelemetry GenAI words.
    pub(crate) const fn operation(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses | Self::Messages => "chat",
            Self::Completions => "text_completion",
            Self::Embeddings => "embeddings",
        }
    }

    /// A model for which every meter that the interface can report has a price.
    pub(crate) const fn model(self) -> &'static str {
        match self {
            Self::Messages => prices::ANTHROPIC_MODEL,
            Self::Embeddings => prices::EMBEDDING_MODEL,
            _ => prices::OPENAI_MODEL,
        }
    }
}

/// Somewhere that speaks the interfaces: the root of its URL, and a key for it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) root: String,
    pub(crate) key: String,
    /// Headers that every call carries.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Target {
    pub(crate) fn new(root: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            root: root.into(),
            key: key.into(),
            headers: BTreeMap::new(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.to_owned(), value.into());
        self
    }

    /// The URL of an interface.
    pub(crate) fn url(&self, api: Api) -> String {
        format!("{}{}", self.root, api.path())
    }
}

/// What is said, besides plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    Text,
    /// Offers a tool, and asks for what it knows.
    Tools,
    /// Has an image in it.
    Image,
}

/// A call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) api: Api,
    pub(crate) params: Value,
    simulate: Vec<String>,
    retries: u32,
    abort_after: Option<u32>,
}

impl Call {
    /// A call with a text prompt, at the interface's model.
    pub(crate) fn new(api: Api) -> Self {
        Self::saying(api, Prompt::Text)
    }

    /// A call with the prompt; only chat, responses and messages know tools and images.
    pub(crate) fn saying(api: Api, prompt: Prompt) -> Self {
        let text = match prompt {
            Prompt::Text => "hello, what does a ledger keep?",
            Prompt::Tools => "what is the weather in Lisbon?",
            Prompt::Image => "what is in this picture?",
        };
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        let mut params = match (api, prompt) {
            (Api::Completions, _) => json!({"prompt": text}),
            (Api::Embeddings, _) => json!({"input": [text, "and a second one"]}),
            (Api::Chat, Prompt::Image) => json!({"messages": [{"role": "user", "content": [
                {"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}}]}]}),
            (Api::Responses, Prompt::Image) => json!({"input": [{"role": "user", "content": [
                {"type": "input_text", "text": text},
                {"type": "input_image", "detail": "auto", "image_url": format!("data:image/png;base64,{PNG}")}]}]}),
            (Api::Messages, Prompt::Image) => json!({"messages": [{"role": "user", "content": [
                {"type": "text", "text": text},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]}]}),
            (Api::Chat | Api::Messages, _) => json!({"messages": [{"role": "user", "content": text}]}),
            (Api::Responses, _) => json!({"input": text}),
        };
        if prompt == Prompt::Tools {
            params["tools"] = match api {
                Api::Chat => {
                    json!([{"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": schema}}])
                }
                Api::Responses => {
                    json!([{"type": "function", "name": "get_weather", "description": "Weather", "parameters": schema, "strict": false}])
                }
                _ => json!([{"name": "get_weather", "description": "Weather", "input_schema": schema}]),
            };
        }
        if api == Api::Messages {
            params["max_tokens"] = json!(1000);
        }
        params["model"] = json!(api.model());
        Self {
            api,
            params,
            simulate: Vec::new(),
            retries: 0,
            abort_after: None,
        }
    }

    pub(crate) fn model(mut self, model: &str) -> Self {
        self.params["model"] = json!(model);
        self
    }

    pub(crate) fn streamed(mut self) -> Self {
        self.params["stream"] = json!(true);
        self
    }

    /// Streamed or not.
    pub(crate) fn streamed_if(self, stream: bool) -> Self {
        if stream { self.streamed() } else { self }
    }

    /// Asks for the chunk with the usage, where a stream has none otherwise (chat, completions).
    pub(crate) fn with_usage(mut self) -> Self {
        if matches!(self.api, Api::Chat | Api::Completions) && self.is_streamed() {
            self.params["stream_options"] = json!({"include_usage": true});
        }
        self
    }

    /// Tells the simulator what to do; see the `x-simulate` header in its documentation.
    pub(crate) fn simulate(mut self, directive: impl Into<String>) -> Self {
        self.simulate.push(directive.into());
        self
    }

    /// How often the SDK tries again.
    pub(crate) fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// The application leaves the stream after so many events.
    pub(crate) fn abort_after(mut self, events: u32) -> Self {
        self.abort_after = Some(events);
        self
    }

    pub(crate) fn is_streamed(&self) -> bool {
        self.params["stream"] == json!(true)
    }

    pub(crate) fn model_name(&self) -> &str {
        self.params["model"].as_str().expect("every call has a model")
    }

    /// The headers of the call at a target.
    pub(crate) fn headers(&self, target: &Target) -> BTreeMap<String, String> {
        let mut headers = target.headers.clone();
        if !self.simulate.is_empty() {
            headers.insert("x-simulate".to_owned(), self.simulate.join("; "));
        }
        headers
    }

    /// The call for a client process.
    pub(crate) fn order(&self, target: &Target) -> Order {
        let base = if self.api == Api::Messages { "" } else { "/v1" };
        Order {
            id: 0,
            sdk: self.api.provider(),
            call: self.api.name(),
            base_url: format!("{}{base}", target.root),
            api_key: target.key.clone(),
            headers: self.headers(target),
            params: self.params.clone(),
            max_retries: self.retries,
            abort_after: self.abort_after,
        }
    }
}
