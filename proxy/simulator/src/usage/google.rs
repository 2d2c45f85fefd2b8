//! Google's `usageMetadata`: cached tokens inside `promptTokenCount`; thoughts beside `candidatesTokenCount`, and what
//! tools of Google's added beside `promptTokenCount`. Fields that are zero are left out, as protocol buffers do in JSON.
//!
//! Source: google-genai 3.6 `types.GenerateContentResponseUsageMetadata`: the total is the sum of the prompt, the
//! candidates, the tool-use prompt and the thoughts.

use super::Usage;
use crate::directive::UsageShape;
use crate::out::Out;

impl Usage {
    /// The value of `usageMetadata`; `traffic` is Vertex AI's `trafficType`.
    pub(crate) fn google(&self, out: &mut Out, traffic: Option<&str>) {
        if self.null(out) {
            return;
        }
        let prompt = self.input - self.tool_input;
        let candidates = self.output - self.reasoning;
        let zeros = self.shape == UsageShape::Zero;
        out.raw("{");
        let mut first = true;
        let mut count = |out: &mut Out, name: &str, count: u64| {
            if count > 0 || zeros {
                out.raw(if first { "\"" } else { ",\"" }).raw(name).raw("\":").number(count);
                first = false;
            }
        };
        count(out, "promptTokenCount", prompt);
        count(out, "candidatesTokenCount", candidates);
        // The total stands even where all is zero, so that what follows is never the first.
        out.raw(if prompt + candidates > 0 || zeros { "," } else { "" });
        out.raw(r#""totalTokenCount":"#).number(self.input + self.output);
        if self.shape != UsageShape::Totals {
            self.details(out);
        }
        if let Some(traffic) = traffic {
            out.raw(r#","trafficType":"#).string(traffic);
        }
        self.end(out);
    }

    /// The counts that are parts of others, and how each count falls into modalities.
    fn details(&self, out: &mut Out) {
        for (name, count) in [
            ("cachedContentTokenCount", self.cache_read),
            ("thoughtsTokenCount", self.reasoning),
            ("toolUsePromptTokenCount", self.tool_input),
        ] {
            if count > 0 {
                out.raw(",").string(name).raw(":").number(count);
            }
        }
        let text_in = self.input - self.tool_input - self.audio_in - self.image_in;
        let text_out = self.output - self.reasoning - self.audio_out - self.image_out;
        modalities(
            "promptTokensDetails",
            [("TEXT", text_in), ("IMAGE", self.image_in), ("AUDIO", self.audio_in)],
            out,
        );
        modalities("cacheTokensDetails", [("TEXT", self.cache_read)], out);
        modalities(
            "candidatesTokensDetails",
            [("TEXT", text_out), ("IMAGE", self.image_out), ("AUDIO", self.audio_out)],
            out,
        );
        modalities("toolUsePromptTokensDetails", [("TEXT", self.tool_input)], out);
    }

    /// The value of `usageMetadata` in an answer that has input only.
    pub(crate) fn google_embedding(&self, out: &mut Out) {
        if self.null(out) {
            return;
        }
        out.raw(r#"{"promptTokenCount":"#).number(self.input);
        out.raw(r#","totalTokenCount":"#).number(self.input);
        if self.shape != UsageShape::Totals {
            modalities("promptTokensDetails", [("TEXT", self.input)], out);
        }
        self.end(out);
    }
}

/// `,"name":[{"modality":"TEXT","tokenCount":N}]`, without what is zero.
pub(crate) fn modalities<const N: usize>(name: &str, counts: [(&str, u64); N], out: &mut Out) {
    let mut first = true;
    for (modality, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        if first {
            out.raw(",").string(name).raw(":[");
        } else {
            out.raw(",");
        }
        first = false;
        out.raw(r#"{"modality":"#)
            .string(modality)
            .raw(r#","tokenCount":"#)
            .number(count)
            .raw("}");
    }
    if !first {
        out.raw("]");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::directive::Directives;
    use serde_json::{Value, json};

    fn written(asked: &Directives, traffic: Option<&str>) -> Value {
        let usage = Usage::new(asked, 7, 5, 0).unwrap();
        let mut out = Out::default();
        usage.google(&mut out, traffic);
        serde_json::from_slice(&out.0).unwrap()
    }

    fn every_class() -> Directives {
        Directives {
            input: Some(1000),
            cache_read: Some(600),
            audio_in: Some(30),
            image_in: Some(20),
            tool_input: Some(100),
            output: Some(80),
            reasoning: Some(30),
            image_out: Some(10),
            ..Directives::default()
        }
    }

    #[test]
    fn thoughts_and_tool_use_stand_beside_and_cached_tokens_inside() {
        assert_eq!(
            written(&every_class(), None),
            json!({
                "promptTokenCount": 900, "candidatesTokenCount": 50, "totalTokenCount": 1080,
                "cachedContentTokenCount": 600, "thoughtsTokenCount": 30, "toolUsePromptTokenCount": 100,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 850}, {"modality": "IMAGE", "tokenCount": 20},
                    {"modality": "AUDIO", "tokenCount": 30}],
                "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 600}],
                "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 40}, {"modality": "IMAGE", "tokenCount": 10}],
                "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
            })
        );
    }

    #[test]
    fn what_is_zero_is_left_out_unless_zeros_are_asked_for() {
        let plain = written(&Directives::default(), Some("ON_DEMAND"));
        let expected = json!({"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 7}],
            "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 5}], "trafficType": "ON_DEMAND"});
        assert_eq!(plain, expected);
        let zeros = Directives {
            usage: UsageShape::Zero,
            ..every_class()
        };
        assert_eq!(
            written(&zeros, None),
            json!({"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0})
        );
        let nothing = Directives {
            input: Some(0),
            output: Some(0),
            ..Directives::default()
        };
        assert_eq!(written(&nothing, None), json!({"totalTokenCount": 0}));
    }
}
