//! `tollgate rerate`: calls of a period get the cost of a version of a price list, as corrections.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use tollgate_record::{Amount, Name};
use tollgate_usage_store::clock::System;
use tollgate_usage_store::rerate::{Rerate, Rerated, instant};
use tollgate_usage_store::{Error, Offline};

use crate::cli;

/// Shows what would be corrected, or corrects it.
pub(crate) async fn rerate(arguments: cli::Rerate) -> anyhow::Result<()> {
    let order = order(&arguments)?;
    if arguments.dry_run {
        return crate::connect::run(&arguments.source, &order.proposal(), arguments.format).await;
    }
    let source = &arguments.source;
    if source.url.is_some() {
        bail!(
            "--url shows what would be corrected, with --dry-run; to correct it, stop the gateway and run this with its data directory, --data"
        );
    }
    if !source.data.is_dir() {
        bail!("there is no data directory {}; name one with --data", source.data.display());
    }
    let offline = match Offline::open(&source.data, &crate::connect::table(source)?).await {
        Err(Error::InUse { path }) => bail!(
            "a gateway runs on {}: stop it, rerate, and start it again; its clients are answered 503 or refused meanwhile. --dry-run works while it runs",
            path.display()
        ),
        other => other?,
    };
    let done = offline
        .rerate(&order, &System)
        .await
        .context("not everything was corrected; run the same again: calls that were corrected already are not corrected twice")?;
    println!("{}", told(&done));
    Ok(())
}

fn order(arguments: &cli::Rerate) -> anyhow::Result<Rerate> {
    let time = |option: &str, text: &str| {
        instant(text).with_context(|| {
            format!("{option}: {text:?} is no time; write a day, such as 2026-11-01, or an instant, such as 2026-11-01T12:00:00Z")
        })
    };
    let name = |option: &'static str, text: &Option<String>| text.as_deref().map(Name::new).transpose().context(option);
    let order = Rerate {
        from: time("--from", &arguments.from)?,
        to: time("--to", &arguments.to)?,
        provider: name("--provider", &arguments.provider)?,
        model: name("--model", &arguments.model)?,
        price_version: arguments.price_version.clone(),
    };
    if order.from >= order.to {
        bail!(
            "--from {} is not before --to {}: the period is empty",
            arguments.from,
            arguments.to
        );
    }
    Ok(order)
}

/// What was done, in a sentence.
fn told(done: &Rerated) -> String {
    if done.calls == 0 {
        return "0 calls were corrected: all of them stand as the price list has them, or cannot be rated by it (--dry-run says which)".to_owned();
    }
    format!(
        "{} calls were corrected: {} became {}",
        done.calls,
        money(&done.before),
        money(&done.after)
    )
}

/// Sums by currency: `1.25 EUR + 2 USD`.
fn money(sums: &BTreeMap<String, Amount>) -> String {
    let known: Vec<_> = sums
        .iter()
        .filter(|(currency, _)| !currency.is_empty())
        .map(|(currency, sum)| format!("{sum} {currency}"))
        .collect();
    match known.as_slice() {
        [] => "no known cost".to_owned(),
        known => known.join(" + "),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn arguments(from: &str, to: &str) -> cli::Rerate {
        use clap::Parser;
        let line = [
            "tollgate",
            "rerate",
            "--from",
            from,
            "--to",
            to,
            "--price-version",
            "list@0123456789ab",
        ];
        match cli::Cli::parse_from(line).command {
            cli::Command::Rerate(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_period_is_two_instants_of_which_the_first_comes_first() {
        let asked = order(&arguments("2026-11-01", "2026-11-01T01:30:00+01:00")).unwrap();
        // 2026-11-01T00:00:00Z, and half an hour later.
        assert_eq!(asked.from.unix_us(), 1_793_491_200_000_000);
        assert_eq!(asked.to.unix_us() - asked.from.unix_us(), 1_800_000_000);
        for (from, to, problem) in [
            ("november", "2026-12-01", "--from: \"november\" is no time"),
            ("2026-11-01", "2026-11-01", "the period is empty"),
        ] {
            let error = order(&arguments(from, to)).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn what_was_done_is_told_by_currency() {
        let sums = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(currency, sum)| ((*currency).to_owned(), sum.parse().unwrap()))
                .collect()
        };
        let done = Rerated {
            calls: 3,
            before: sums(&[("", "0"), ("EUR", "1.5"), ("USD", "2")]),
            after: sums(&[("USD", "3.000000000001")]),
        };
        assert_eq!(
            told(&done),
            "3 calls were corrected: 1.5 EUR + 2 USD became 3.000000000001 USD"
        );
        assert!(told(&Rerated::default()).starts_with("0 calls were corrected"));
    }
}
