//! Bedrock's `InvokeModel`: the vendor's bodies, with the counts in headers and, in a stream, in the last chunk.

use http::request::Parts;

use super::{JSON_BYTES, Written, framed};
use crate::answer::{Answer, Interface};
use crate::bedrock::Vendor;
use crate::bedrock::converse::Dialect;
use crate::directive::Directives;
use crate::events::Framing;
use crate::head::Kind;
use crate::out::Out;
use crate::refusal::Refusal;
use crate::route::Provider;
use crate::{anthropic, bedrock, echo};

/// Writes the answer of an invocation.
pub(super) fn write(model: &str, stream: bool, parts: &Parts, body: &[u8], asked: &Directives) -> Result<Written, Refusal> {
    let vendor = Vendor::of(model);
    let mut out = Out::with_capacity(JSON_BYTES);
    if vendor == Vendor::TitanEmbedding {
        if stream {
            let (name, reason) = ("model", "does not support response streaming");
            return Err(Refusal::FieldInvalid { name, reason });
        }
        let usage = bedrock::embeddings::json(body, asked, &mut out)?;
        let headers = usage.invocation_headers(false);
        return Ok(Written {
            headers,
            ..Written::json(out)
        });
    }
    let (interface, prompt) = match vendor {
        Vendor::Anthropic => (Interface::Messages, anthropic::messages::invoked(body, model, stream)?),
        Vendor::Nova => (Interface::Converse, bedrock::converse::prompt(body, model, stream)?),
        _ => (Interface::Text, bedrock::text::prompt(body, model, stream)?),
    };
    let echo = echo::text(asked.echo, parts, body);
    let answer = Answer::new(interface, Provider::Bedrock, &prompt, asked, echo)?;
    let written = framed(
        &prompt,
        &answer,
        asked,
        out,
        (Framing::AwsChunks, Kind::AwsEvents),
        |answer, out| match vendor {
            Vendor::Anthropic => anthropic::messages::json(answer, out),
            Vendor::Nova => bedrock::converse::json(answer, &prompt, Dialect::Nova, out),
            _ => bedrock::text::json(answer, vendor, out),
        },
        |answer, events| match vendor {
            Vendor::Anthropic => anthropic::messages::stream(answer, events),
            Vendor::Nova => bedrock::converse::stream(answer, &prompt, Dialect::Nova, events),
            _ => bedrock::text::stream(answer, vendor, events),
        },
    )?;
    let mut headers = if stream {
        vec![("x-amzn-bedrock-content-type", "application/json".to_owned())]
    } else {
        answer.usage.invocation_headers(interface != Interface::Text)
    };
    if let Some(tier) = &asked.service_tier {
        headers.push(("x-amzn-bedrock-service-tier", tier.to_string()));
    }
    Ok(Written { headers, ..written })
}
