//! Names of providers: theirs and ours.

/// Their provider, and the template or provider that our price lists go by. A provider that is not here keeps its name.
const PROVIDERS: [(&str, &str); 19] = [
    ("aws", "awsbedrock"),
    ("azure", "azure-openai"),
    ("azure_ai", "azureai-foundry"),
    ("bedrock", "awsbedrock"),
    ("bedrock_converse", "awsbedrock"),
    ("bedrock_mantle", "awsbedrock"),
    ("codestral", "mistral"),
    ("cohere_chat", "cohere"),
    ("google", "gemini"),
    ("text-completion-codestral", "mistral"),
    ("text-completion-openai", "openai"),
    ("together_ai", "together"),
    ("vertex_ai", "gemini"),
    ("vertex_ai-anthropic_models", "gemini"),
    ("vertex_ai-embedding-models", "gemini"),
    ("vertex_ai-image-models", "gemini"),
    ("vertex_ai-language-models", "gemini"),
    ("vertex_ai-text-models", "gemini"),
    ("x-ai", "xai"),
];

/// Our name of their provider.
pub(super) fn provider(theirs: &str) -> &str {
    PROVIDERS
        .iter()
        .find(|(name, _)| *name == theirs)
        .map_or(theirs, |(_, ours)| ours)
}

/// Whether a text is the name of an AWS Region, such as `eu-west-1` or `us-gov-east-1`.
pub(super) fn is_aws_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [area, middle @ .., number] = parts.as_slice() else {
        return false;
    };
    area.len() == 2
        && (1..=2).contains(&middle.len())
        && middle
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()))
        && number.len() == 1
        && number.bytes().all(|byte| byte.is_ascii_digit())
}
