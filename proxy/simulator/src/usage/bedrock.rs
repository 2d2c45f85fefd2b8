//! Bedrock's ways of reporting: cache reads and writes beside the input, reasoning inside the output and not told apart.
//!
//! Source: botocore 1.44 `bedrock-runtime` (`TokenUsage`, `CacheDetail`); the invocation metrics as litellm and
//! langchain-aws read them.

use super::Usage;
use crate::directive::UsageShape;
use crate::out::Out;

impl Usage {
    /// The input that was neither read from nor written to a cache.
    pub(crate) fn uncached(&self) -> u64 {
        self.input - self.cache_read - self.cache_write()
    }

    /// The value of `usage` in Converse. The total includes what stands beside.
    pub(crate) fn converse(&self, out: &mut Out) {
        self.converse_with(out, "cacheReadInputTokens", "cacheWriteInputTokens", true);
    }

    /// The value of `usage` in Amazon Nova's own interface, which is Converse's with two names of its own.
    pub(crate) fn nova(&self, out: &mut Out) {
        self.converse_with(out, "cacheReadInputTokenCount", "cacheWriteInputTokenCount", false);
    }

    fn converse_with(&self, out: &mut Out, read: &str, write: &str, lifetimes: bool) {
        if self.null(out) {
            return;
        }
        out.raw(r#"{"inputTokens":"#).number(self.uncached());
        out.raw(r#","outputTokens":"#).number(self.output);
        out.raw(r#","totalTokens":"#).number(self.input + self.output);
        if self.shape != UsageShape::Totals {
            out.raw(",").string(read).raw(":").number(self.cache_read);
            out.raw(",").string(write).raw(":").number(self.cache_write());
            if lifetimes {
                self.lifetimes(out);
            }
        }
        self.end(out);
    }

    /// Cache writes by lifetime, the longest first.
    fn lifetimes(&self, out: &mut Out) {
        out.raw(r#","cacheDetails":["#);
        let mut first = true;
        for (ttl, count) in [("1h", self.cache_write_1h), ("5m", self.cache_write_5m)] {
            if count > 0 {
                out.raw(if first { "" } else { "," }).raw(r#"{"ttl":"#).string(ttl);
                out.raw(r#","inputTokens":"#).number(count).raw("}");
                first = false;
            }
        }
        out.raw("]");
    }

    /// `,"amazon-bedrock-invocationMetrics":{...}`, or nothing: a member of the last chunk of an invocation's stream.
    pub(crate) fn metrics_member(&self, caches: bool, out: &mut Out) {
        if !self.reported() {
            return;
        }
        out.raw(r#","amazon-bedrock-invocationMetrics":"#);
        if self.null(out) {
            return;
        }
        out.raw(r#"{"inputTokenCount":"#).number(self.uncached());
        out.raw(r#","outputTokenCount":"#).number(self.output);
        out.raw(r#","invocationLatency":12,"firstByteLatency":12"#);
        if caches && self.shape != UsageShape::Totals {
            out.raw(r#","cacheReadInputTokenCount":"#).number(self.cache_read);
            out.raw(r#","cacheWriteInputTokenCount":"#).number(self.cache_write());
        }
        self.end(out);
    }

    /// The headers of an invocation that is not streamed.
    pub(crate) fn invocation_headers(&self, caches: bool) -> Vec<(&'static str, String)> {
        let mut headers = vec![("x-amzn-bedrock-invocation-latency", "12".to_owned())];
        if !matches!(self.shape, UsageShape::Absent | UsageShape::Null) {
            headers.push(("x-amzn-bedrock-input-token-count", self.uncached().to_string()));
            headers.push(("x-amzn-bedrock-output-token-count", self.output.to_string()));
            if caches && self.shape != UsageShape::Totals {
                headers.push(("x-amzn-bedrock-cache-read-input-token-count", self.cache_read.to_string()));
                headers.push(("x-amzn-bedrock-cache-write-input-token-count", self.cache_write().to_string()));
            }
        }
        headers
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::directive::Directives;
    use serde_json::{Value, json};

    #[test]
    fn caches_stand_beside_the_input_and_inside_the_total() {
        let asked = Directives {
            input: Some(1000),
            cache_read: Some(600),
            cache_write_5m: Some(100),
            cache_write_1h: Some(50),
            output: Some(80),
            reasoning: Some(30),
            ..Directives::default()
        };
        let usage = Usage::new(&asked, 7, 5, 0).unwrap();
        let written = |write: fn(&Usage, &mut Out)| -> Value {
            let mut out = Out::default();
            write(&usage, &mut out);
            serde_json::from_slice(&out.0).unwrap()
        };
        assert_eq!(
            written(Usage::converse),
            json!({"inputTokens": 250, "outputTokens": 80, "totalTokens": 1080, "cacheReadInputTokens": 600,
                "cacheWriteInputTokens": 150,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 50}, {"ttl": "5m", "inputTokens": 100}]})
        );
        assert_eq!(
            written(Usage::nova),
            json!({"inputTokens": 250, "outputTokens": 80, "totalTokens": 1080, "cacheReadInputTokenCount": 600,
                "cacheWriteInputTokenCount": 150})
        );
        let mut out = Out::default();
        usage.metrics_member(true, out.raw("{\"x\":1"));
        out.raw("}");
        assert_eq!(
            serde_json::from_slice::<Value>(&out.0).unwrap()["amazon-bedrock-invocationMetrics"],
            json!({"inputTokenCount": 250, "outputTokenCount": 80, "invocationLatency": 12, "firstByteLatency": 12,
                "cacheReadInputTokenCount": 600, "cacheWriteInputTokenCount": 150})
        );
        assert!(
            usage
                .invocation_headers(false)
                .contains(&("x-amzn-bedrock-input-token-count", "250".to_owned()))
        );
    }
}
