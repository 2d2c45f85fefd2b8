//! The price lists that come with the gateway, and those of the operator, as one book; and `tollgate prices`, in the files of the folder.

pub(crate) mod arguments;
mod compare;
mod explain;
mod import;
mod json;
mod question;
mod reason;
mod text;
mod time;
mod usage;

use tollgate_controller::{Resources, shipped_prices};
use tollgate_record::{Name, PriceList};
use tollgate_usage_store::PriceBook;

use crate::shipped::{Shipped, is_used};

static SHIPPED: [Shipped<PriceList>; 12] = [
    Shipped::new("openai", include_str!("../usage-store/prices/openai.yaml")),
    Shipped::new("anthropic", include_str!("../usage-store/prices/anthropic.yaml")),
    Shipped::new("azure-openai", include_str!("../usage-store/prices/azure-openai.yaml")),
    // OpenAI's models cost the same whichever of Azure's resources they are deployed to.
    Shipped::new("azureai-foundry", include_str!("../usage-store/prices/azure-openai.yaml")),
    Shipped::new("awsbedrock", include_str!("../usage-store/prices/awsbedrock.yaml")),
    Shipped::new("cohere", include_str!("../usage-store/prices/cohere.yaml")),
    Shipped::new("deepseek", include_str!("../usage-store/prices/deepseek.yaml")),
    Shipped::new("gemini", include_str!("../usage-store/prices/gemini.yaml")),
    Shipped::new("groq", include_str!("../usage-store/prices/groq.yaml")),
    Shipped::new("mistral", include_str!("../usage-store/prices/mistral.yaml")),
    Shipped::new("together", include_str!("../usage-store/prices/together.yaml")),
    Shipped::new("xai", include_str!("../usage-store/prices/xai.yaml")),
];

/// Runs `tollgate prices`.
pub(crate) fn run(command: &arguments::Prices) -> anyhow::Result<()> {
    match command {
        arguments::Prices::Explain(arguments) => explain::explain(arguments),
        arguments::Prices::Import(arguments) => import::import(arguments),
        arguments::Prices::Diff(arguments) => compare::diff(arguments),
        arguments::Prices::Check(arguments) => compare::check(arguments),
    }
}

/// The operator's lists, and the shipped ones of the providers and templates in use.
pub(crate) fn book(resources: &Resources) -> anyhow::Result<PriceBook> {
    let mut lists = resources.price_lists.clone();
    for shipped in SHIPPED.iter().filter(|list| is_used(resources, list.provider)) {
        lists.push(read(shipped)?);
    }
    Ok(PriceBook::new(lists))
}

fn read(shipped: &'static Shipped<PriceList>) -> anyhow::Result<PriceList> {
    shipped.get(shipped_prices, |list, provider| {
        if list.provider == provider {
            return list;
        }
        let name = Name::new(&format!("{provider}-public")).expect("a template's name is short");
        PriceList { name, provider, ..list }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_list_is_shipped_read_and_has_prices() {
        let lists: Vec<_> = SHIPPED.iter().map(|list| read(list).unwrap()).collect();
        for (list, shipped) in lists.iter().zip(&SHIPPED) {
            assert_eq!(list.provider.as_str(), shipped.provider);
            assert!(list.shipped && list.prices.len() > 20, "{}", list.name);
        }
        let names: BTreeSet<_> = lists.iter().map(|list| list.name.as_str()).collect();
        assert_eq!(names.len(), lists.len(), "the name of a list is its own");
        let files = std::fs::read_dir("usage-store/prices").unwrap();
        let files: BTreeSet<_> = files
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .collect();
        let shipped: BTreeSet<_> = SHIPPED.iter().map(|list| list.yaml.to_owned()).collect();
        assert!(files == shipped, "a file of usage-store/prices is not shipped");
    }

    #[test]
    fn every_list_is_that_of_a_shipped_template() {
        for list in &SHIPPED {
            let templates = tollgate_controller::template::SHIPPED_TEMPLATES;
            assert!(templates.iter().any(|(name, _)| *name == list.provider), "{}", list.provider);
        }
    }

    #[test]
    fn a_list_is_read_if_its_provider_or_template_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tollgate.yaml");
        let provider = |name: &str, template: &str| {
            format!(
                "kind: LlmProvider\nmetadata: {{name: {name}}}\nspec: {{template: {template}, context: /{name}, upstream: {{url: 'http://h'}}}}\n"
            )
        };
        let template = "kind: LlmProviderTemplate\nmetadata: {name: acme}\nspec: {codec: openai}\n";
        let text = [provider("ours", "mistral"), provider("xai", "acme"), template.to_owned()].join("---\n");
        std::fs::write(&path, text).unwrap();
        let resources = tollgate_controller::load(&path, &|_| None).unwrap();
        let book = book(&resources).unwrap();
        let priced: Vec<_> = book.lists().map(|(list, _)| list.provider.as_str()).collect();
        assert_eq!(priced, ["mistral", "xai"]);
    }
}
