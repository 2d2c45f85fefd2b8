//! The rows of a back-test's statements, out of Arrow.

use anyhow::Context;
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, Int64Type};
use tollgate_budget::backtest::{Backtest, Event, Tried};
use tollgate_record::rule::Limit;
use tollgate_record::{Amount, Timestamp};

const MONEY: DataType = DataType::Decimal128(38, Amount::SCALE as i8);

/// What rows before the test came to.
pub(super) fn opening(test: &mut Backtest, since: Timestamp, batch: &RecordBatch) -> anyhow::Result<()> {
    let texts = dimensions(test, batch)?;
    let steps = match batch.column_by_name("step") {
        Some(_) => Some(numbers(batch, "step")?),
        None => None,
    };
    let amounts = Amounts::of(test.rule(), batch)?;
    let mut values = Vec::with_capacity(texts.len());
    for row in 0..batch.num_rows() {
        let Some(amount) = amounts.at(row) else { continue };
        values.clear();
        values.extend(texts.iter().map(|text| text_at(text, row)));
        test.open(
            since,
            steps.as_ref().and_then(|steps| at(steps, row)).unwrap_or(0),
            &values,
            amount,
        );
    }
    Ok(())
}

/// Seconds and how many calls began in each.
pub(super) fn seconds(batch: &RecordBatch, into: &mut Vec<(i64, u64)>) -> anyhow::Result<()> {
    let (seconds, calls) = (numbers(batch, "second")?, numbers(batch, "calls")?);
    for row in 0..batch.num_rows() {
        let second = at(&seconds, row).context("a second is null")?;
        into.push((
            second,
            at(&calls, row).and_then(|calls| u64::try_from(calls).ok()).unwrap_or(0),
        ));
    }
    Ok(())
}

/// Calls, which are decided.
pub(super) fn calls(test: &mut Backtest, batch: &RecordBatch) -> anyhow::Result<()> {
    let texts = dimensions(test, batch)?;
    let (began, durations) = (numbers(batch, "began")?, numbers(batch, "duration_us")?);
    let amounts = Amounts::of(test.rule(), batch)?;
    let costs = column(batch, "cost", &MONEY)?;
    let costs = costs.as_primitive::<Decimal128Type>();
    let currencies = column(batch, "currency", &DataType::Utf8)?;
    let currencies = currencies.as_string::<i32>();
    let mut values = Vec::with_capacity(texts.len());
    for row in 0..batch.num_rows() {
        values.clear();
        values.extend(texts.iter().map(|text| text_at(text, row)));
        let start = at(&began, row).context("a call has no start_time")?;
        let duration = at(&durations, row).unwrap_or(0);
        test.decide(&Event {
            start: Timestamp::from_unix_us(start),
            end: Timestamp::from_unix_us(start.saturating_add(duration)),
            values: &values,
            amount: amounts.at(row),
            cost: at(costs, row).zip(text_at(currencies, row)),
        });
    }
    Ok(())
}

/// Column `amount`: money by its units, or a count.
enum Amounts {
    Money(PrimitiveArray<Decimal128Type>),
    Count(PrimitiveArray<Int64Type>),
}

impl Amounts {
    fn of(rule: &Tried, batch: &RecordBatch) -> anyhow::Result<Self> {
        let is_money = matches!(rule, Tried::Budget(budget) if matches!(budget.limit, Limit::Money { .. }));
        Ok(match is_money {
            true => Self::Money(column(batch, "amount", &MONEY)?.as_primitive::<Decimal128Type>().clone()),
            false => Self::Count(numbers(batch, "amount")?),
        })
    }

    fn at(&self, row: usize) -> Option<i128> {
        match self {
            Self::Money(amounts) => at(amounts, row),
            Self::Count(counts) => at(counts, row).map(i128::from),
        }
    }
}

/// Columns `d0`, `d1`...
fn dimensions(test: &Backtest, batch: &RecordBatch) -> anyhow::Result<Vec<StringArray>> {
    let count = test.rule().per().len();
    let text = |place| {
        Ok(column(batch, &format!("d{place}"), &DataType::Utf8)?
            .as_string::<i32>()
            .clone())
    };
    (0..count).map(text).collect()
}

fn numbers(batch: &RecordBatch, name: &str) -> anyhow::Result<PrimitiveArray<Int64Type>> {
    Ok(column(batch, name, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn column(batch: &RecordBatch, name: &str, to: &DataType) -> anyhow::Result<ArrayRef> {
    let column = batch
        .column_by_name(name)
        .with_context(|| format!("the answer has no column {name}"))?;
    Ok(cast(column, to)?)
}

fn at<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    (!column.is_null(row)).then(|| column.value(row))
}

fn text_at(column: &StringArray, row: usize) -> Option<&str> {
    (!column.is_null(row)).then(|| column.value(row))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Int64Array};
    use tollgate_record::Name;
    use tollgate_record::rule::{Action, Budget, Dimension, Reservation, Unpriced, Window};

    use super::*;

    const MINUTE: i64 = 60_000_000;

    /// A dollar an hour for each user.
    fn dollar() -> Backtest {
        let name = |text| Name::new(text).unwrap();
        let limit = Limit::Money {
            amount: Amount::ONE,
            currency: name("USD"),
        };
        let budget = Budget {
            name: name("dollar"),
            when: None,
            per: vec![Dimension::Column("user_id")],
            limit,
            window: Window::Rolling { length_us: 60 * MINUTE },
            action: Action::Refuse,
            reservation: Reservation::WorstCase,
            clamp: false,
            unpriced: Unpriced::Refuse,
            status: 402,
            alerts: vec![],
            alert_projected: false,
            alert_anomaly: false,
        };
        Backtest::new(Tried::Budget(budget), &[])
    }

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
    }

    fn texts(all: &[Option<&str>]) -> ArrayRef {
        Arc::new(all.iter().copied().collect::<StringArray>())
    }

    fn integers(all: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(all.to_vec()))
    }

    /// In hundredths.
    fn money(all: &[Option<i128>]) -> ArrayRef {
        let units = all.iter().map(|cents| cents.map(|cents| cents * 10_000_000_000));
        Arc::new(units.collect::<Decimal128Array>().with_precision_and_scale(28, 12).unwrap())
    }

    #[test]
    fn rows_become_calls_with_their_money_to_the_last_digit() {
        let mut test = dollar();
        let since = Timestamp::from_unix_us(100 * MINUTE);
        let before = batch(vec![
            ("d0", texts(&[Some("ann"), Some("bob")])),
            ("step", integers(&[99 * MINUTE, 99 * MINUTE])),
            ("amount", money(&[Some(60), None])),
        ]);
        opening(&mut test, since, &before).unwrap();
        let rows = batch(vec![
            ("began", integers(&[100 * MINUTE, 101 * MINUTE, 102 * MINUTE, 103 * MINUTE])),
            ("duration_us", integers(&[1, 1, 1, 1])),
            ("d0", texts(&[Some("ann"), Some("bob"), None, Some("ann")])),
            ("amount", money(&[Some(50), Some(50), Some(50), None])),
            ("cost", money(&[Some(50), Some(50), Some(50), Some(7)])),
            ("currency", texts(&[Some("USD"), Some("USD"), Some("USD"), Some("EUR")])),
        ]);
        calls(&mut test, &rows).unwrap();
        let trial = test.trials().next().unwrap();
        assert_eq!((trial.calls, trial.refused, trial.unpriced), (4, 1, 1));
        assert_eq!(trial.first, Some(since));
        assert_eq!(trial.cost.iter().collect::<Vec<_>>(), [("USD", 500_000_000_000)]);
    }

    #[test]
    fn seconds_are_read_with_their_calls() {
        let mut found = vec![(1, 1)];
        let rows = batch(vec![("second", integers(&[5, 7])), ("calls", integers(&[3, 4]))]);
        seconds(&rows, &mut found).unwrap();
        assert_eq!(found, [(1, 1), (5, 3), (7, 4)]);
        let problem = calls(&mut dollar(), &rows).unwrap_err().to_string();
        assert_eq!(problem, "the answer has no column d0");
    }
}
