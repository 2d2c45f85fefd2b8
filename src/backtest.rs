//! `tollgate backtest`: what budgets and rate limits would have refused of the calls that were recorded.
//!
//! The rows come in pieces of at most [`SLICE_ROWS`] calls, so that neither memory nor the limits of one query depend on how many there are. What is done
//! with them is told in [`tollgate_budget::backtest`].

mod print;
mod read;

use anyhow::{Context, bail};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use futures::StreamExt;
use tollgate_budget::backtest::{Backtest, Tried, days, slices};
use tollgate_query_api::Format;
use tollgate_record::Timestamp;
use tollgate_usage_store::budgets::backtest as sql;

use crate::cli;
use crate::connect::Rows;

/// Calls that are asked for at once: a quarter of what an answer may have, and little to sort.
const SLICE_ROWS: u64 = 250_000;

/// Tries every rule of a file, and prints what each would have refused.
pub(crate) async fn backtest(arguments: cli::Backtest) -> anyhow::Result<()> {
    let now = Timestamp::from_unix_us(chrono::Utc::now().timestamp_micros());
    let (since, until) = period(&arguments.since, arguments.until.as_deref(), now)?;
    let resources = crate::check::resources(&arguments.rules)?;
    let budgets = resources.budgets.into_iter().map(Tried::Budget);
    let rules: Vec<Tried> = budgets.chain(resources.rate_limits.into_iter().map(Tried::Rate)).collect();
    if rules.is_empty() {
        bail!(
            "{} declares no Budget and no RateLimit: there is nothing to try",
            arguments.rules.display()
        );
    }
    let mut tests = Vec::with_capacity(rules.len());
    for rule in rules {
        let limits = arguments.limit.iter().map(|text| rule.read_limit(text));
        let limits: Vec<i128> = limits
            .collect::<Result<_, _>>()
            .map_err(|wrong| anyhow::anyhow!("--limit: {wrong}"))?;
        tests.push(Backtest::new(rule, &limits));
    }
    let rows = Rows::of(&arguments.source).await?;
    for test in &mut tests {
        run(test, &rows, since, until)
            .await
            .with_context(|| format!("{} was not tried to its end", test.rule().name()))?;
    }
    print::print(&print::told(&tests, arguments.top), arguments.format)
}

/// Tries one rule on the calls of a time.
async fn run(test: &mut Backtest, rows: &Rows, since: Timestamp, until: Timestamp) -> anyhow::Result<()> {
    let rule = test.rule().clone();
    if let (Tried::Budget(budget), Some(span)) = (&rule, test.opening(since))
        && span.start < span.end
    {
        each(rows, &sql::opening(budget, span), |batch| read::opening(test, since, batch)).await?;
    }
    for day in days(since, until) {
        let mut seconds = Vec::new();
        each(rows, &sql::seconds(&rule, day), |batch| read::seconds(batch, &mut seconds)).await?;
        for slice in slices(day, &seconds, SLICE_ROWS) {
            each(rows, &sql::calls(&rule, slice), |batch| read::calls(test, batch)).await?;
        }
    }
    Ok(())
}

/// Runs a statement and hands on its rows, batch by batch.
async fn each(rows: &Rows, statement: &str, mut take: impl FnMut(&RecordBatch) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut bytes = rows.ask(statement, Format::Arrow).await?;
    let mut decoder = StreamDecoder::new();
    while let Some(chunk) = bytes.next().await {
        let mut buffer = Buffer::from(chunk?);
        while !buffer.is_empty() {
            if let Some(batch) = decoder.decode(&mut buffer)? {
                take(&batch)?;
            }
        }
    }
    decoder.finish().context("the answer ended in the middle of a row")
}

/// The time that is asked for.
fn period(since: &str, until: Option<&str>, now: Timestamp) -> anyhow::Result<(Timestamp, Timestamp)> {
    let time = |option: &str, text: &str| {
        tollgate_usage_store::rerate::instant(text).with_context(|| {
            format!("{option}: {text:?} is no time; write a day, such as 2026-11-01, or an instant, such as 2026-11-01T12:00:00Z")
        })
    };
    let until = until.map_or(Ok(now), |text| time("--until", text))?;
    let since = match length_us(since) {
        Some(length) => Timestamp::from_unix_us(until.unix_us().saturating_sub(length)),
        None => time("--since", since).context("a length is a whole number with m, h, d or w behind it, such as 30d")?,
    };
    if since >= until {
        bail!("--since is not before --until: there is no time between them");
    }
    Ok((since, until))
}

/// Microseconds of a length such as `30d`.
fn length_us(text: &str) -> Option<i64> {
    let unit_us: i64 = match text.chars().last()? {
        'm' => 60_000_000,
        'h' => 3_600_000_000,
        'd' => 86_400_000_000,
        'w' => 604_800_000_000,
        _ => return None,
    };
    let count: u32 = text.get(..text.len() - 1)?.parse().ok()?;
    i64::from(count).checked_mul(unit_us)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_length_before_its_end_or_an_instant() {
        // 2026-11-30T00:00:00Z.
        let now = Timestamp::from_unix_us(1_795_996_800_000_000);
        let of = |since: &str, until| period(since, until, now).map(|(since, until)| (since.unix_us(), until.unix_us()));
        let day = 86_400_000_000;
        assert_eq!(of("30d", None).unwrap(), (now.unix_us() - 30 * day, now.unix_us()));
        assert_eq!(of("90m", None).unwrap().0, now.unix_us() - 5_400_000_000);
        let november = 1_793_491_200_000_000;
        assert_eq!(of("2026-11-01", Some("2026-11-02")).unwrap(), (november, november + day));
        assert_eq!(of("2w", Some("2026-11-15")).unwrap(), (november, november + 14 * day));
        for (since, until, problem) in [
            ("yesterday", None, "--since: \"yesterday\" is no time"),
            ("1d", Some("tomorrow"), "--until: \"tomorrow\" is no time"),
            ("2027-01-01", None, "there is no time between them"),
            ("0d", None, "there is no time between them"),
        ] {
            let error = format!("{:#}", of(since, until).unwrap_err());
            assert!(error.contains(problem), "{error}");
        }
    }
}
