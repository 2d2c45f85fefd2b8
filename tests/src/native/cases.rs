//! The calls of [`super`], and what the row of each must say.

use serde_json::{Value, json};

const GEMINI: &str = include_str!("../../../usage-store/prices/gemini.yaml");
const BEDROCK: &str = include_str!("../../../usage-store/prices/awsbedrock.yaml");
const AZURE: &str = include_str!("../../../usage-store/prices/azure-openai.yaml");
const MISTRAL: &str = include_str!("../../../usage-store/prices/mistral.yaml");
const OPENAI: &str = include_str!("../../../usage-store/prices/openai.yaml");

/// A model of Anthropic's on Bedrock.
pub(super) const CLAUDE: &str = "anthropic.claude-haiku-4-5-20251001-v1:0";

/// A call by an SDK.
#[derive(Clone)]
pub(super) struct Native {
    pub(super) sdk: &'static str,
    pub(super) call: &'static str,
    /// Context of the provider, and what the SDK wants behind it.
    pub(super) base: &'static str,
    pub(super) params: Value,
    pub(super) simulate: String,
}

/// What its row must say.
#[derive(Clone)]
pub(super) struct Expected {
    pub(super) provider: &'static str,
    pub(super) operation: &'static str,
    pub(super) request_model: &'static str,
    pub(super) response_model: Option<&'static str>,
    pub(super) region: Option<&'static str>,
    /// Input and output tokens.
    pub(super) tokens: [Option<i64>; 2],
    /// Meters, how much each counted, and the meter whose price it has.
    pub(super) meters: Vec<(&'static str, i64, &'static str)>,
    pub(super) cost_status: &'static str,
    pub(super) list: &'static str,
    /// Name by which the list has the model.
    pub(super) priced_as: &'static str,
}

/// Every call that is made streamed and not, but for OpenAI's.
pub(super) fn cases() -> Vec<(&'static str, Native, Expected)> {
    let native = |sdk, call, base, params, simulate: &str| Native {
        sdk,
        call,
        base,
        params,
        simulate: simulate.to_owned(),
    };
    let cached = "input=1000; cache_read=600; output=80";
    let google = "input=1000; cache_read=600; audio_in=50; tool_input=100; output=80; reasoning=30";
    let written = "input=1000; cache_read=600; cache_write_5m=100; cache_write_1h=50; output=80";
    let cached_meters = vec![
        ("input", 400, "input"),
        ("cache_read", 600, "cache_read"),
        ("output", 80, "output"),
    ];
    let gemini = Expected {
        provider: "gemini",
        operation: "generate_content",
        request_model: "gemini-2.5-flash",
        response_model: Some("gemini-2.5-flash"),
        region: None,
        tokens: [Some(1000), Some(80)],
        meters: vec![
            ("input", 250, "input"),
            ("cache_read", 600, "cache_read"),
            ("audio_in", 50, "audio_in"),
            ("tool_use_in", 100, "input"),
            ("output", 80, "output"),
        ],
        cost_status: "priced",
        list: GEMINI,
        priced_as: "gemini-2.5-flash",
    };
    let bedrock = Expected {
        provider: "bedrock",
        operation: "chat",
        request_model: CLAUDE,
        response_model: None,
        region: Some("eu-central-1"),
        meters: vec![
            ("input", 250, "input"),
            ("cache_read", 600, "cache_read"),
            ("cache_write_5m", 100, "cache_write"),
            ("cache_write_1h", 50, "cache_write_1h"),
            ("output", 80, "output"),
        ],
        list: BEDROCK,
        priced_as: CLAUDE,
        ..gemini.clone()
    };
    let azure = Expected {
        provider: "azure",
        operation: "chat",
        request_model: "gpt-4o-mini",
        response_model: Some("gpt-4o-mini-2024-07-18"),
        meters: cached_meters.clone(),
        list: AZURE,
        priced_as: "gpt-4o-mini",
        ..gemini.clone()
    };
    let mistral = Expected {
        provider: "mistral",
        operation: "chat",
        request_model: "mistral-small-latest",
        response_model: Some("mistral-small-latest"),
        meters: cached_meters,
        list: MISTRAL,
        priced_as: "mistral-small-latest",
        ..gemini.clone()
    };
    let media = |operation, model, tokens, meters| Expected {
        provider: "openai",
        operation,
        request_model: model,
        response_model: None,
        tokens,
        meters,
        list: OPENAI,
        priced_as: model,
        ..gemini.clone()
    };
    let chat = json!([{"role": "user", "content": "hello"}]);
    let blocks = json!([{"role": "user", "content": [{"text": "hello"}]}]);
    let message = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, "messages": chat});
    let azure_chat = json!({"api_version": "2024-10-21", "model": "gpt-4o-mini", "messages": chat});
    // 32,000 bytes.
    let sound = "UklG".repeat(10_667);
    vec![
        (
            "gemini",
            native(
                "google",
                "generate",
                "/gemini",
                json!({"model": "gemini-2.5-flash", "contents": "hello"}),
                google,
            ),
            gemini.clone(),
        ),
        (
            "vertex",
            native(
                "google",
                "generate",
                "/vertex",
                json!({"model": "gemini-2.5-flash", "contents": "hello", "project": "p", "location": "europe-west1"}),
                google,
            ),
            Expected {
                provider: "vertex",
                region: Some("europe-west1"),
                ..gemini.clone()
            },
        ),
        (
            "bedrock_converse",
            native(
                "bedrock",
                "converse",
                "/bedrock",
                json!({"modelId": CLAUDE, "messages": blocks}),
                written,
            ),
            bedrock.clone(),
        ),
        (
            "bedrock_invoke",
            native(
                "bedrock",
                "invoke",
                "/bedrock",
                json!({"modelId": CLAUDE, "body": message}),
                written,
            ),
            Expected {
                response_model: Some("claude-haiku-4-5-20251001"),
                ..bedrock
            },
        ),
        (
            "azure_openai",
            native("azure", "chat", "/azure", azure_chat.clone(), cached),
            azure.clone(),
        ),
        (
            "azure_foundry",
            native("azure", "chat", "/foundry", azure_chat, cached),
            Expected {
                provider: "foundry",
                ..azure
            },
        ),
        (
            "mistral",
            native(
                "mistral",
                "chat",
                "/mistral",
                json!({"model": "mistral-small-latest", "messages": chat}),
                cached,
            ),
            mistral,
        ),
        (
            "openai_image",
            native(
                "openai",
                "images",
                "/openai/v1",
                json!({"model": "gpt-image-1", "prompt": "a cat"}),
                "input=30; image_in=10; image_out=1056",
            ),
            media(
                "/v1/images/generations",
                "gpt-image-1",
                [Some(30), Some(1056)],
                vec![
                    ("input", 20, "input"),
                    ("image_in", 10, "image_in"),
                    ("image_out", 1056, "image_out"),
                ],
            ),
        ),
        (
            "openai_speech",
            native(
                "openai",
                "speech",
                "/openai/v1",
                json!({"model": "tts-1", "voice": "alloy", "input": "grüße"}),
                "",
            ),
            Expected {
                // Characters are counted here: the answer is sound and tells nothing.
                cost_status: "estimated",
                ..media("/v1/audio/speech", "tts-1", [None, None], vec![("character", 5, "character")])
            },
        ),
        (
            "openai_transcription",
            native(
                "openai",
                "transcription",
                "/openai/v1",
                json!({"model": "gpt-4o-transcribe", "file": sound}),
                "input=100; audio_in=90; output=20",
            ),
            media(
                "/v1/audio/transcriptions",
                "gpt-4o-transcribe",
                [Some(100), Some(20)],
                vec![("input", 10, "input"), ("audio_in", 90, "audio_in"), ("output", 20, "output")],
            ),
        ),
        (
            "openai_whisper",
            native(
                "openai",
                "transcription",
                "/openai/v1",
                json!({"model": "whisper-1", "file": sound}),
                "seconds=7",
            ),
            media(
                "/v1/audio/transcriptions",
                "whisper-1",
                [None, None],
                vec![("second", 7, "second")],
            ),
        ),
    ]
}
