//! Every SDK, interface, way of answering and kind of prompt: through the gateway the application sees what it sees without it, and the ledger
//! has one row that says the same.

use std::sync::Arc;

use crate::harness::call::{Api, Call, Prompt};
use crate::harness::claim::Claim;
use crate::harness::ledger::agrees;
use crate::harness::sdk::Language;
use crate::harness::world::World;

pub(crate) fn claims() -> Vec<Claim> {
    let mut all = Vec::new();
    for language in Language::ALL {
        for api in Api::ALL {
            let prompts: &[Prompt] = match api {
                Api::Completions | Api::Embeddings => &[Prompt::Text],
                _ => &[Prompt::Text, Prompt::Tools, Prompt::Image],
            };
            for prompt in prompts {
                let call = Call::saying(api, *prompt);
                let name = format!("{}_{}_{prompt:?}", language.name(), api.name()).to_lowercase();
                all.push(case(&name, language, call.clone()));
                if api == Api::Embeddings {
                    continue;
                }
                all.push(case(&format!("{name}_streamed"), language, call.clone().streamed()));
                if matches!(api, Api::Chat | Api::Completions) {
                    all.push(case(&format!("{name}_streamed_with_usage"), language, call.streamed().with_usage()));
                }
            }
        }
        all.push(Claim::new(format!("{}_finds_the_default_route", language.name()), move |world| default_route(world, language)));
    }
    all
}

fn case(name: &str, language: Language, call: Call) -> Claim {
    let name = format!("{name}_is_unchanged_and_its_row_agrees");
    Claim::new(name, move |world: Arc<World>| async move {
        let (through, row, direct) = world.both(language, &call).await;
        assert_eq!((&through.error, &direct.error), (&None, &None));
        assert!(!direct.text.is_empty() || !direct.tool_calls.is_empty());
        assert_eq!(through.text, direct.text);
        assert_eq!(through.tool_calls, direct.tool_calls);
        assert_eq!((&through.finish, &through.model), (&direct.finish, &direct.model));
        assert_eq!((&through.usage, through.usage_events), (&direct.usage, direct.usage_events));
        assert_eq!(through.events, direct.events, "as many events, one by one");
        let usage = match through.usage.clone() {
            Some(usage) => usage,
            None => {
                // The application did not ask; what it would have been told is what the row must say.
                assert!(call.is_streamed() && matches!(call.api, Api::Chat | Api::Completions));
                let asked = call.clone().with_usage();
                let asked = world.sdk(language).await.call(asked.order(&world.simulator().await)).await;
                asked.usage.expect("it asked")
            }
        };
        agrees(&row, &call, &through, &usage);
        assert_eq!(row.text("provider_name"), Some(call.api.provider()));
    })
}

/// `/v1/*` goes to the default provider, and `provider/model` to any other.
async fn default_route(world: Arc<World>, language: Language) {
    let sdk = world.sdk(language).await;
    for (model, provider) in [("ledger-large", "openai"), ("aimock-openai/gpt-test", "aimock-openai")] {
        let session = world.session();
        let target = world.through_context("", &session).await;
        let target = crate::harness::call::Target { root: target.root.trim_end_matches('/').to_owned(), ..target };
        let call = Call::new(Api::Chat).model(model);
        let reply = sdk.call(call.order(&target)).await;
        assert_eq!(reply.error, None);
        assert!(!reply.text.is_empty());
        let row = world.one_row(&session).await;
        assert_eq!(row.text("provider_name"), Some(provider), "{}", row.0);
        assert_eq!(row.text("response_model"), reply.model.as_deref());
        assert_eq!(row.text("outcome"), Some("ok"));
    }
}
