//! Mistral's `usage`: OpenAI's names; cached tokens inside and named only where there are any, reasoning inside and not
//! told apart, audio in seconds.
//!
//! Source: mistralai 3.7 `UsageInfo`.

use super::Usage;
use crate::directive::UsageShape;
use crate::out::Out;

impl Usage {
    /// `,"usage":{...}` or nothing.
    pub(crate) fn mistral_member(&self, out: &mut Out) {
        if !self.reported() {
            return;
        }
        out.raw(r#","usage":"#);
        if self.null(out) {
            return;
        }
        out.raw(r#"{"prompt_tokens":"#).number(self.input);
        out.raw(r#","total_tokens":"#).number(self.input + self.output);
        out.raw(r#","completion_tokens":"#).number(self.output);
        if self.shape != UsageShape::Totals {
            if self.cache_read > 0 {
                out.raw(r#","prompt_tokens_details":{"cached_tokens":"#)
                    .number(self.cache_read)
                    .raw("}");
            }
            if let Some(seconds) = self.seconds {
                out.raw(r#","prompt_audio_seconds":"#).number(seconds);
            }
        }
        self.end(out);
    }
}
