//! Kind `LlmProviderTemplate`: where a provider's messages say what was used.
//!
//! Those that are shipped are codecs written by hand. A template of one's own either lends such a codec to a compatible provider, or tells
//! where each field stands. Applying it is the proxy's work.

use http::HeaderName;
use tollgate_record::Name;

use crate::field::Fields;
use crate::value::Value;

/// Templates that always exist: those with a codec of their own, then those that speak as OpenAI does. Cohere's own paths are read by what they
/// are, whatever the codec.
pub const SHIPPED_TEMPLATES: [(&str, Codec); 15] = [
    ("openai", Codec::OpenAi),
    ("anthropic", Codec::Anthropic),
    ("azure-openai", Codec::AzureOpenAi),
    ("azureai-foundry", Codec::AzureFoundry),
    ("awsbedrock", Codec::Bedrock),
    ("gemini", Codec::Gemini),
    ("mistral", Codec::Mistral),
    ("cohere", Codec::OpenAi),
    ("deepseek", Codec::OpenAi),
    ("groq", Codec::OpenAi),
    ("ollama", Codec::OpenAi),
    ("openrouter", Codec::OpenAi),
    ("together", Codec::OpenAi),
    ("vllm", Codec::OpenAi),
    ("xai", Codec::OpenAi),
];

/// Shipped templates without a codec of their own whose providers stop generating, and billing, when the connection closes: OpenRouter's documentation of
/// stream cancellation lists Cohere, DeepSeek, Together and xAI (not Groq); vLLM and Ollama abort a request whose client is gone.
const STOPPED_BY_CLOSING: [&str; 6] = ["cohere", "deepseek", "ollama", "together", "vllm", "xai"];

/// Fields whose place a template can tell, in the order of [`TemplateFields`].
const TEMPLATE_FIELDS: [&str; 6] = [
    "promptTokens",
    "completionTokens",
    "totalTokens",
    "remainingTokens",
    "requestModel",
    "responseModel",
];

/// How to read a provider's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlmProviderTemplate {
    /// Its name, which price lists can go by.
    pub name: Name,
    /// How messages are read.
    pub dialect: Dialect,
    /// What to do with the upstream when the client leaves; `None` is the codec's own rule for a template of the codec's name, and
    /// [`OnClientAbort::Drain`] for any other, since such providers bill the rest anyway as far as is known.
    pub on_client_abort: Option<OnClientAbort>,
}

/// Either a codec or a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A built-in codec.
    Codec(Codec),
    /// Places of the fields, for all paths and for some.
    Described {
        /// For paths that no resource matches.
        fields: Box<TemplateFields>,
        /// For the paths they match; what they leave out is as in `fields`.
        resources: Vec<TemplateResource>,
    },
}

/// A built-in codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// OpenAI's API.
    OpenAi,
    /// Anthropic's API.
    Anthropic,
    /// Azure OpenAI's.
    AzureOpenAi,
    /// Azure AI Foundry's.
    AzureFoundry,
    /// AWS Bedrock's.
    Bedrock,
    /// Google's: the Gemini API and Vertex AI.
    Gemini,
    /// Mistral's.
    Mistral,
}

/// What to do with the upstream when the client leaves in the middle of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnClientAbort {
    /// Close it.
    Cancel,
    /// Read on within `spec.limits.drain` of the Gateway.
    Drain,
}

/// Places of the fields; `None` is not told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateFields {
    /// Input tokens.
    pub prompt_tokens: Option<Locator>,
    /// Output tokens.
    pub completion_tokens: Option<Locator>,
    /// Input and output tokens.
    pub total_tokens: Option<Locator>,
    /// Tokens left in the provider's rate limit.
    pub remaining_tokens: Option<Locator>,
    /// Model that is asked for.
    pub request_model: Option<Locator>,
    /// Model that answered.
    pub response_model: Option<Locator>,
}

/// One field's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locator {
    /// Part of the message.
    pub location: Location,
    /// Place in that part, checked: a JSONPath, a header's name, a parameter's name, or a regular expression with one group.
    pub identifier: String,
}

/// Part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// JSON body; the identifier is a JSONPath (RFC 9535).
    Payload,
    /// Headers; the identifier is a header's name.
    Header,
    /// The request's query; the identifier is a parameter's name.
    QueryParam,
    /// The request's path; the identifier is a regular expression with one group.
    PathParam,
}

/// Fields that are elsewhere under some path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateResource {
    /// Path below the provider's context; `*` stands for any text.
    pub resource: String,
    /// The fields that differ.
    pub fields: TemplateFields,
}

// === impl Codec ===

impl Codec {
    /// Whether its providers can be reached by `/v1/*`, where OpenAI's SDK calls: they have its paths and words.
    pub const fn speaks_openai(self) -> bool {
        matches!(self, Self::OpenAi | Self::Mistral)
    }
}

// === impl LlmProviderTemplate ===

impl LlmProviderTemplate {
    /// The templates that always exist.
    pub(crate) fn shipped() -> Vec<Self> {
        let shipped = |(name, codec)| Self {
            name: Name::new(name).expect("a constant that is a name"),
            dialect: Dialect::Codec(codec),
            on_client_abort: STOPPED_BY_CLOSING.contains(&name).then_some(OnClientAbort::Cancel),
        };
        SHIPPED_TEMPLATES.into_iter().map(shipped).collect()
    }

    /// Its codec, if it has one.
    pub const fn codec(&self) -> Option<Codec> {
        match &self.dialect {
            Dialect::Codec(codec) => Some(*codec),
            Dialect::Described { .. } => None,
        }
    }

    /// Reads `spec`.
    pub(crate) fn read(name: Name, mut spec: Fields<'_>) -> Option<Self> {
        let codecs = SHIPPED_TEMPLATES;
        let codec = spec.take("codec");
        let rules = [("cancel", OnClientAbort::Cancel), ("drain", OnClientAbort::Drain)];
        let on_client_abort = spec.take("on_client_abort").and_then(|value| value.choice(&rules));
        let fields = Box::new(TemplateFields::read(&mut spec));
        let resources = resources(spec.map("resourceMappings"));
        // Asked of the document, so that a field that is wrong does not count as absent.
        let described = TEMPLATE_FIELDS
            .into_iter()
            .chain(["resourceMappings"])
            .any(|name| spec.has(name));
        let dialect = match codec {
            Some(codec) => {
                if described {
                    codec.wrong("knows where its fields stand: remove either the codec or the fields and resourceMappings");
                }
                codec.choice(&codecs).map(Dialect::Codec)
            }
            None => {
                if !described {
                    spec.wrong_map("tells no field and no codec: usage could never be read");
                }
                Some(Dialect::Described { fields, resources })
            }
        };
        spec.finish();
        Some(Self {
            name,
            dialect: dialect?,
            on_client_abort,
        })
    }
}

fn resources(mut mappings: Fields<'_>) -> Vec<TemplateResource> {
    let mut resources = Vec::new();
    for item in mappings.take("resources").and_then(|list| list.items()).into_iter().flatten() {
        let Some(mut item) = item.fields() else { continue };
        let resource = item.required("resource").and_then(|value| path_pattern(&value));
        let fields = TemplateFields::read(&mut item);
        item.finish();
        resources.extend(resource.map(|resource| TemplateResource { resource, fields }));
    }
    mappings.finish();
    resources
}

/// A path below a provider's context in which `*` stands for any text.
pub(crate) fn path_pattern(value: &Value<'_>) -> Option<String> {
    let text = value.text()?.resolved;
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
    if !text.starts_with('/') || !text.bytes().all(plain) {
        value.wrong("is no path: it starts with '/', and has no query, fragment or blanks; '*' stands for any text");
        return None;
    }
    Some(text)
}

// === impl TemplateFields ===

impl TemplateFields {
    fn read(fields: &mut Fields<'_>) -> Self {
        let [
            prompt_tokens,
            completion_tokens,
            total_tokens,
            remaining_tokens,
            request_model,
            response_model,
        ] = TEMPLATE_FIELDS.map(|name| fields.take(name).and_then(|value| Locator::read(name, value.fields()?)));
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens,
            remaining_tokens,
            request_model,
            response_model,
        }
    }
}

// === impl Locator ===

impl Locator {
    fn read(name: &str, mut fields: Fields<'_>) -> Option<Self> {
        let locations = [
            ("payload", Location::Payload),
            ("header", Location::Header),
            ("queryParam", Location::QueryParam),
            ("pathParam", Location::PathParam),
        ];
        let told_by_answer = !matches!(name, "requestModel" | "responseModel");
        let location = fields.required("location").and_then(|value| {
            let location = value.choice(&locations)?;
            if told_by_answer && matches!(location, Location::QueryParam | Location::PathParam) {
                value.wrong("is part of the request, and this field is told by the answer: use payload or header");
            }
            Some(location)
        });
        let identifier = fields.required("identifier");
        fields.finish();
        let (location, identifier) = (location?, identifier?);
        let text = identifier.text()?;
        let wrong = match location {
            Location::Payload => json_path(&text.resolved).map(|reason| format!("is no JSONPath (RFC 9535): {reason}")),
            Location::Header => HeaderName::from_bytes(text.resolved.as_bytes())
                .err()
                .map(|_| "is no header name".to_owned()),
            Location::QueryParam => text.resolved.is_empty().then(|| "does not name a parameter".to_owned()),
            Location::PathParam => path_parameter(&text.resolved),
        };
        if let Some(reason) = wrong {
            identifier.wrong(format!("{} {reason}", text.quoted()));
            return None;
        }
        Some(Self {
            location,
            identifier: text.resolved,
        })
    }
}

/// What is wrong with a JSONPath.
fn json_path(path: &str) -> Option<String> {
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        // The parser (serde_json_path 0.7.2) panics where the text ends within such an escape.
        if byte == b'\\' && bytes.next() == Some(b'u') && bytes.clone().take(4).filter(u8::is_ascii_hexdigit).count() < 4 {
            return Some("`\\u` is not followed by four hexadecimal digits".to_owned());
        }
    }
    serde_json_path::JsonPath::parse(path).err().map(|error| error.to_string())
}

/// What is wrong with the regular expression of a path parameter.
fn path_parameter(expression: &str) -> Option<String> {
    /// Largest compiled expression, in bytes: an expression of a few characters can ask for gigabytes.
    const COMPILED_BYTES_MAX: usize = 1 << 20;
    match regex::RegexBuilder::new(expression).size_limit(COMPILED_BYTES_MAX).build() {
        // The whole match counts as a group.
        Ok(compiled) if compiled.captures_len() == 2 => None,
        Ok(_) => Some("must have exactly one group, such as ^/model/([^/]+)/".to_owned()),
        Err(regex::Error::CompiledTooBig(_)) => Some("is too large a regular expression".to_owned()),
        // Regex's own message draws the expression over several lines.
        Err(_) => Some("is no regular expression".to_owned()),
    }
}
