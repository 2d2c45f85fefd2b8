//! Bedrock's interfaces: Converse, and `InvokeModel`, whose bodies are those of the model's vendor.

pub(crate) mod converse;
pub(crate) mod embeddings;
pub(crate) mod text;

/// Whose bodies `InvokeModel` takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vendor {
    Anthropic,
    /// Amazon Nova, whose bodies are like Converse's.
    Nova,
    TitanText,
    TitanEmbedding,
    Llama,
    Mistral,
}

impl Vendor {
    /// The vendor of a model's name, of an inference profile or of an ARN that holds one. A name that tells none (an
    /// application's inference profile) is taken for one of Anthropic's.
    pub(crate) fn of(model: &str) -> Self {
        let all = [
            ("anthropic.", Self::Anthropic),
            ("amazon.nova", Self::Nova),
            ("amazon.titan-embed", Self::TitanEmbedding),
            ("amazon.titan", Self::TitanText),
            ("meta.", Self::Llama),
            ("mistral.", Self::Mistral),
        ];
        all.into_iter()
            .find(|(part, _)| model.contains(part))
            .map_or(Self::Anthropic, |(_, vendor)| vendor)
    }
}

/// The name by which Anthropic's models call themselves: without region, vendor and version.
pub(crate) fn plain(model: &str) -> &str {
    let name = model.rsplit_once("anthropic.").map_or(model, |(_, name)| name);
    match name.rsplit_once("-v") {
        Some((plain, version)) if version.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') => plain,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_tells_its_vendor() {
        for (model, vendor) in [
            ("anthropic.claude-3-5-sonnet-20241022-v2:0", Vendor::Anthropic),
            ("us.amazon.nova-pro-v1:0", Vendor::Nova),
            (
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama3-3-70b-instruct-v1:0",
                Vendor::Llama,
            ),
            ("amazon.titan-embed-text-v2:0", Vendor::TitanEmbedding),
            ("amazon.titan-text-express-v1", Vendor::TitanText),
            (
                "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
                Vendor::Anthropic,
            ),
        ] {
            assert_eq!(Vendor::of(model), vendor, "{model}");
        }
    }

    #[test]
    fn claude_calls_itself_by_its_plain_name() {
        assert_eq!(
            plain("us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
            "claude-sonnet-4-5-20250929"
        );
        assert_eq!(plain("anthropic.claude-opus-5-5"), "claude-opus-5-5");
    }
}
