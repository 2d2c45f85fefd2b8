//! Conditions that are SQL, checked where there is an engine for it; and `tollgate budget`.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use tollgate_controller::{ConditionOf, Problems, Resources};
use tollgate_record::Timestamp;
use tollgate_usage_store::budgets::{Proof, check_filter, check_rule};

use crate::cli;

/// Checks every condition of a configuration.
///
/// # Errors
/// All that are none.
pub(crate) fn check(resources: &Resources) -> Result<(), Problems> {
    let checked = |condition: &tollgate_controller::Condition| match condition.of {
        ConditionOf::Budget | ConditionOf::RateLimit => check_rule(&condition.sql),
        ConditionOf::Exporter => check_filter(&condition.sql),
    };
    let conditions = resources.conditions.iter();
    let wrong = conditions.filter_map(|condition| Some(condition.problem(checked(condition).err()?.to_string())));
    Problems::of(wrong.collect()).map_or(Ok(()), Err)
}

/// Prints the query that a budget's counter rests on, and what it answers.
pub(crate) async fn prove(arguments: cli::Prove) -> anyhow::Result<()> {
    let config = arguments.rules.as_ref().or(arguments.source.config.as_ref());
    let config = config.context("name the configuration that declares the budget with --rules, or --config")?;
    let resources = crate::check::resources(config)?;
    let Some(budget) = resources.budgets.iter().find(|budget| budget.name.as_str() == arguments.name) else {
        let names: Vec<_> = resources.budgets.iter().map(|budget| budget.name.as_str()).collect();
        bail!(
            "{} declares no budget {:?}; it declares {}",
            config.display(),
            arguments.name,
            names.join(", ")
        );
    };
    let at = match &arguments.at {
        None => Timestamp::from_unix_us(chrono::Utc::now().timestamp_micros()),
        Some(text) => tollgate_usage_store::rerate::instant(text)
            .with_context(|| format!("--at: {text:?} is no time; write an instant, such as 2026-11-01T12:00:00Z"))?,
    };
    let per: BTreeMap<String, String> = arguments.per.iter().cloned().collect();
    let proof = Proof::new(budget, &per, at)?;
    let statement = if arguments.refusals { &proof.refusals_sql } else { &proof.sql };
    eprintln!("{statement}");
    crate::connect::run(&arguments.source, statement, arguments.format).await
}
