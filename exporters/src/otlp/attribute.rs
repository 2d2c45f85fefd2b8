//! The names under which a call is told, and its values under them.
//!
//! Names of OpenTelemetry's semantic conventions are those of version 1.41.0, the last that held the generative AI conventions. The repository that
//! they moved to (`semantic-conventions-genai`) has released 0.1.0 since, which gives the metrics other names; dashboards know the former ones.
//! Their status is "development": to move on is a decision and a release of the gateway, and [`SCHEMA_URL`] says which version a message speaks.
//! What the conventions have no name for is `tollgate.*`.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::config::Config;
use crate::row::Rows;

/// The conventions that names are taken from.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.0";

/// Attributes as they are gathered; what a row lacks is left out.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<KeyValue>);

// === impl Attributes ===

impl Attributes {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(super) fn text(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.push(key, Value::StringValue(text.to_owned()));
        }
    }

    pub(super) fn int(&mut self, key: &str, number: Option<i64>) {
        if let Some(number) = number {
            self.push(key, Value::IntValue(number));
        }
    }

    pub(super) fn flag(&mut self, key: &str, flag: Option<bool>) {
        if let Some(flag) = flag {
            self.push(key, Value::BoolValue(flag));
        }
    }

    pub(super) fn double(&mut self, key: &str, number: Option<f64>) {
        if let Some(number) = number {
            self.push(key, Value::DoubleValue(number));
        }
    }

    pub(super) fn texts(&mut self, key: &str, texts: impl Iterator<Item = String>) {
        let values: Vec<_> = texts
            .map(|text| AnyValue {
                value: Some(Value::StringValue(text)),
            })
            .collect();
        if !values.is_empty() {
            self.push(key, Value::ArrayValue(ArrayValue { values }));
        }
    }

    pub(super) fn take(self) -> Vec<KeyValue> {
        self.0
    }

    fn push(&mut self, key: &str, value: Value) {
        self.0.push(KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }

    /// What the conventions say of a call to a model.
    pub(super) fn gen_ai(&mut self, rows: &Rows, row: usize) {
        self.text("gen_ai.operation.name", rows.operation_name.get(row));
        self.text("gen_ai.provider.name", rows.provider_name.get(row).map(provider));
        self.text("gen_ai.request.model", rows.request_model.get(row));
        self.text("gen_ai.response.model", rows.response_model.get(row));
        self.text("gen_ai.conversation.id", rows.session_id.get(row));
        self.text("gen_ai.agent.name", rows.agent.get(row));
        let streamed = rows.stream.get(row) == Some(true);
        self.flag("gen_ai.request.stream", streamed.then_some(true));
        self.double(
            "gen_ai.response.time_to_first_chunk",
            rows.time_to_first_token_us.count(row).filter(|_| streamed).map(seconds),
        );
        self.texts(
            "gen_ai.response.finish_reasons",
            rows.finish_reason.get(row).map(str::to_owned).into_iter(),
        );
        self.int("gen_ai.usage.input_tokens", rows.input_tokens.get(row));
        self.int("gen_ai.usage.output_tokens", rows.output_tokens.get(row));
        self.int("gen_ai.usage.cache_read.input_tokens", rows.cache_read_input_tokens.get(row));
        self.int(
            "gen_ai.usage.cache_creation.input_tokens",
            rows.cache_creation_input_tokens.get(row),
        );
        self.int("gen_ai.usage.reasoning.output_tokens", rows.reasoning_tokens.get(row));
        self.server(rows.upstream.get(row));
        self.text("error.type", error_type(rows, row));
    }

    /// The upstream, as host and port.
    pub(super) fn server(&mut self, upstream: Option<&str>) {
        let Some(upstream) = upstream else { return };
        let parts = upstream
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        let (host, port) = parts.map_or((upstream, None), |(host, port)| (host, Some(i64::from(port))));
        self.text("server.address", Some(host));
        self.int("server.port", port);
    }

    /// What the ledger says of a call beyond the conventions.
    pub(super) fn tollgate(&mut self, rows: &Rows, row: usize) {
        self.text("tollgate.call_id", rows.call_id.get(row));
        self.text("tollgate.request_id", rows.request_id.get(row));
        self.int("tollgate.attempt", rows.attempt.get(row));
        self.int("tollgate.seq", rows.seq.get(row));
        self.text("tollgate.corrects", rows.corrects.get(row));
        self.text("tollgate.parent_call_id", rows.parent_call_id.get(row));
        self.text("tollgate.org", rows.org.get(row));
        self.text("tollgate.team", rows.team.get(row));
        self.text("tollgate.project", rows.project.get(row));
        self.text("tollgate.service", rows.service.get(row));
        self.text("tollgate.key_id", rows.key_id.get(row));
        self.text("user.id", rows.user_id.get(row));
        self.text("tollgate.proxy", rows.proxy.get(row));
        self.text("tollgate.route_rule", rows.route_rule.get(row));
        self.text("tollgate.region", rows.region.get(row));
        self.text("tollgate.cache", rows.cache.get(row));
        self.text("tollgate.service_tier", rows.service_tier.get(row));
        self.text("tollgate.outcome", rows.outcome.get(row));
        self.int("http.response.status_code", rows.status_code.get(row));
        self.int("http.request.body.size", rows.request_bytes.get(row));
        self.int("http.response.body.size", rows.response_bytes.get(row));
        self.int("tollgate.gateway_overhead_us", rows.gateway_overhead_us.get(row));
        self.text("tollgate.usage_source", rows.usage_source.get(row));
        let cost = rows.cost.get(row);
        self.text("tollgate.cost", cost.map(|cost| cost.to_string()).as_deref());
        self.int("tollgate.cost_units", cost.and_then(|cost| i64::try_from(cost.units()).ok()));
        self.text(
            "tollgate.list_cost",
            rows.list_cost.get(row).map(|cost| cost.to_string()).as_deref(),
        );
        self.text(
            "tollgate.avoided_cost",
            rows.avoided_cost.get(row).map(|cost| cost.to_string()).as_deref(),
        );
        self.text("tollgate.currency", rows.currency.get(row));
        self.text("tollgate.cost_status", rows.cost_status.get(row));
        self.text("tollgate.price_version", rows.price_version.get(row));
        self.text("mcp.method.name", rows.mcp_method.get(row));
        self.text("tollgate.mcp_server", rows.mcp_server.get(row));
        self.text("gen_ai.tool.name", rows.tool_name.get(row));
        for (key, value) in rows.tags.get(row) {
            self.push(&format!("tollgate.tag.{key}"), Value::StringValue(value.to_owned()));
        }
    }
}

/// The gateway whose rows follow.
pub(super) fn resource(config: &Config, instance: Option<&str>) -> Resource {
    let mut attributes = Attributes::with_capacity(config.resource.len() + 3);
    attributes.text("service.name", Some("tollgate"));
    attributes.text("service.version", Some(env!("CARGO_PKG_VERSION")));
    attributes.text("service.instance.id", instance);
    for (key, value) in &config.resource {
        attributes.text(key, Some(value));
    }
    Resource {
        attributes: attributes.take(),
        ..Resource::default()
    }
}

/// Who measured.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "tollgate".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// A provider in the conventions' words, where they have one for it.
pub(super) fn provider(name: &str) -> &str {
    match name {
        "azure" | "azure-openai" => "azure.ai.openai",
        "azureai-foundry" => "azure.ai.inference",
        "awsbedrock" | "bedrock" => "aws.bedrock",
        "gemini" => "gcp.gemini",
        "vertex" | "vertex-ai" | "vertexai" => "gcp.vertex_ai",
        "mistral" | "mistralai" => "mistral_ai",
        "xai" => "x_ai",
        other => other,
    }
}

/// What went wrong, if something did: the stable code, else the outcome.
pub(super) fn error_type(rows: &Rows, row: usize) -> Option<&str> {
    let outcome = rows.outcome.get(row);
    rows.error_type
        .get(row)
        .or(outcome.filter(|outcome| !matches!(*outcome, "ok" | "imported")))
}

/// Microseconds as seconds, which the conventions measure in.
#[expect(
    clippy::cast_precision_loss,
    reason = "a duration is no money: below 285 years it is exact to the microsecond"
)]
pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
