//! A provider that was not written here: aimock. Its answers pass unchanged, and what it reports is what is recorded.

use std::sync::Arc;

use crate::harness::call::{Api, Call, Prompt, Target};
use crate::harness::claim::Claim;
use crate::harness::ledger::agrees;
use crate::harness::sdk::Language;
use crate::harness::world::World;

pub(crate) fn claims() -> Vec<Claim> {
    let mut all = Vec::new();
    for language in Language::ALL {
        for api in [Api::Chat, Api::Responses, Api::Messages] {
            for prompt in [Prompt::Text, Prompt::Tools, Prompt::Image] {
                for stream in [false, true] {
                    let how = if stream { "_streamed" } else { "" };
                    let name = format!("{}_{}_{prompt:?}{how}_is_unchanged_and_recorded", language.name(), api.name());
                    let call = Call::saying(api, prompt).streamed_if(stream);
                    all.push(Claim::new(name.to_lowercase(), move |world| unchanged(world, language, call)));
                }
            }
        }
        all.push(Claim::new(format!("{}_embeddings_are_unchanged", language.name()), move |world| embeddings(world, language)));
    }
    all
}

async fn unchanged(world: Arc<World>, language: Language, call: Call) {
    let sdk = world.sdk(language).await;
    let session = world.session();
    let context = format!("aimock-{}", call.api.provider());
    let through = sdk.call(call.order(&world.through_context(&context, &session).await)).await;
    let row = world.one_row(&session).await;
    let aimock = Target::new(&world.stage().await.aimock, "any");
    let direct = sdk.call(call.order(&aimock)).await;
    assert_eq!((&through.error, &direct.error), (&None, &None));
    assert_eq!((&through.text, &through.tool_calls), (&direct.text, &direct.tool_calls));
    assert!(!through.text.is_empty() || !through.tool_calls.is_empty());
    assert_eq!((&through.finish, &through.model), (&direct.finish, &direct.model));
    assert_eq!(through.usage, direct.usage);
    let usage = match &through.usage {
        Some(usage) => usage.clone(),
        None => sdk.call(call.clone().with_usage().order(&aimock)).await.usage.expect("it asked"),
    };
    agrees(&row, &call, &through, &usage);
    assert!(row.int("output_tokens") > Some(0), "{}", row.0);
    assert_eq!(row.text("provider_name"), Some(&*context));
}

async fn embeddings(world: Arc<World>, language: Language) {
    let sdk = world.sdk(language).await;
    let session = world.session();
    let call = Call::new(Api::Embeddings);
    let through = sdk.call(call.order(&world.through_context("aimock-openai", &session).await)).await;
    let direct = sdk.call(call.order(&Target::new(&world.stage().await.aimock, "any"))).await;
    assert_eq!((&through.error, &through.text), (&None, &direct.text));
    let row = world.one_row(&session).await;
    assert_eq!((row.text("outcome"), row.text("operation_name")), (Some("ok"), Some("embeddings")), "{}", row.0);
    row.adds_up();
}
