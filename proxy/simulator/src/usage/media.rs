//! OpenAI's usage of images and audio.
//!
//! Source: openai-python 3.57 `types/images_response.py`, `types/audio/transcription.py` (details in the singular, and
//! either tokens or a duration). Speech has no type there; its event carries the three totals.

use super::Usage;
use crate::directive::UsageShape;
use crate::out::Out;

impl Usage {
    /// The value of `usage` of images: text and images inside both totals.
    pub(crate) fn images(&self, out: &mut Out) {
        if self.null(out) {
            return;
        }
        self.totals(out.raw("{"));
        if self.shape != UsageShape::Totals {
            out.raw(r#","input_tokens_details":{"text_tokens":"#)
                .number(self.input - self.image_in);
            out.raw(r#","image_tokens":"#).number(self.image_in);
            out.raw(r#"},"output_tokens_details":{"text_tokens":"#)
                .number(self.output - self.image_out);
            out.raw(r#","image_tokens":"#).number(self.image_out).raw("}");
        }
        self.end(out);
    }

    /// The value of `usage` of speech.
    pub(crate) fn speech(&self, out: &mut Out) {
        if !self.null(out) {
            self.totals(out.raw("{"));
            self.end(out);
        }
    }

    /// The value of `usage` of a transcription that is billed by tokens.
    pub(crate) fn transcription(&self, out: &mut Out) {
        if self.null(out) {
            return;
        }
        self.totals(out.raw(r#"{"type":"tokens","#));
        if self.shape != UsageShape::Totals {
            out.raw(r#","input_token_details":{"text_tokens":"#)
                .number(self.input - self.audio_in);
            out.raw(r#","audio_tokens":"#).number(self.audio_in).raw("}");
        }
        self.end(out);
    }

    /// The value of `usage` of a transcription that is billed by its duration.
    pub(crate) fn duration(&self, out: &mut Out) {
        if !self.null(out) {
            out.raw(r#"{"type":"duration","seconds":"#).number(self.seconds.unwrap_or(0));
            self.end(out);
        }
    }

    fn totals(&self, out: &mut Out) {
        out.raw(r#""input_tokens":"#).number(self.input);
        out.raw(r#","output_tokens":"#).number(self.output);
        out.raw(r#","total_tokens":"#).number(self.input + self.output);
    }
}
