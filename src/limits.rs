//! How much models read and write at most: what the operator declares, and what comes with the gateway for the providers and templates in use.

use tollgate_controller::{Resources, shipped_limits};
use tollgate_record::limits::ModelLimits;
use tollgate_usage_store::LimitBook;

use crate::shipped::{Shipped, is_used};

static SHIPPED: [Shipped<ModelLimits>; 12] = [
    Shipped::new("openai", include_str!("../usage-store/limits/openai.yaml")),
    Shipped::new("anthropic", include_str!("../usage-store/limits/anthropic.yaml")),
    Shipped::new("azure-openai", include_str!("../usage-store/limits/azure-openai.yaml")),
    // OpenAI's models are the same whichever of Azure's resources they are deployed to.
    Shipped::new("azureai-foundry", include_str!("../usage-store/limits/azure-openai.yaml")),
    Shipped::new("awsbedrock", include_str!("../usage-store/limits/awsbedrock.yaml")),
    Shipped::new("cohere", include_str!("../usage-store/limits/cohere.yaml")),
    Shipped::new("deepseek", include_str!("../usage-store/limits/deepseek.yaml")),
    Shipped::new("gemini", include_str!("../usage-store/limits/gemini.yaml")),
    Shipped::new("groq", include_str!("../usage-store/limits/groq.yaml")),
    Shipped::new("mistral", include_str!("../usage-store/limits/mistral.yaml")),
    Shipped::new("together", include_str!("../usage-store/limits/together.yaml")),
    Shipped::new("xai", include_str!("../usage-store/limits/xai.yaml")),
];

/// The limits that calls of a configuration are bounded by.
pub(crate) fn book(resources: &Resources) -> anyhow::Result<LimitBook> {
    let mut declared = resources.model_limits.clone();
    for shipped in SHIPPED.iter().filter(|shipped| is_used(resources, shipped.provider)) {
        declared.push(read(shipped)?);
    }
    Ok(LimitBook::new(declared))
}

fn read(shipped: &'static Shipped<ModelLimits>) -> anyhow::Result<ModelLimits> {
    shipped.get(shipped_limits, |limits, provider| ModelLimits { provider, ..limits })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_is_shipped_and_read() {
        for shipped in &SHIPPED {
            let limits = read(shipped).unwrap();
            assert!(limits.shipped && !limits.models.is_empty(), "{}", shipped.provider);
        }
        let files = std::fs::read_dir("usage-store/limits").unwrap();
        let files: BTreeSet<_> = files
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .collect();
        let shipped: BTreeSet<_> = SHIPPED.iter().map(|shipped| shipped.yaml.to_owned()).collect();
        assert!(files == shipped, "a file of usage-store/limits is not shipped");
    }
}
