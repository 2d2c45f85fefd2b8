//! The rows of table `prices`: one a price, and one a share of list prices.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use tollgate_record::{Adjustment, Amount, Meter, Name, Price, PriceList, Timestamp};

use crate::Error;
use crate::schema::DECIMAL;

/// An entry of a list, with its version and the list.
struct Row<'a> {
    version: &'a Name,
    list: &'a PriceList,
    entry: Entry<'a>,
}

#[derive(Clone, Copy)]
enum Entry<'a> {
    Price(&'a Price),
    Adjustment(&'a Adjustment),
}

/// Every entry of every list.
///
/// # Errors
/// [`Error::Arrow`] if the columns do not fit, which would be a defect.
pub(super) fn batch(lists: &BTreeMap<Name, Arc<PriceList>>, current: &[Name]) -> Result<RecordBatch, Error> {
    let rows: Vec<Row<'_>> = lists.iter().flat_map(|(version, list)| rows(version, list)).collect();
    let text = |get: &dyn Fn(&Row<'_>) -> Option<String>| -> ArrayRef { Arc::new(rows.iter().map(get).collect::<StringArray>()) };
    let flag =
        |get: &dyn Fn(&Row<'_>) -> bool| -> ArrayRef { Arc::new(rows.iter().map(|row| Some(get(row))).collect::<BooleanArray>()) };
    let decimal = |get: &dyn Fn(&Row<'_>) -> Option<Amount>| -> ArrayRef {
        let values = rows.iter().map(|row| get(row).map(Amount::units));
        Arc::new(values.collect::<Decimal128Array>().with_data_type(DECIMAL))
    };
    let time = |get: &dyn Fn(&Row<'_>) -> Option<Timestamp>| -> ArrayRef {
        let values = rows.iter().map(|row| get(row).map(Timestamp::unix_us));
        Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let int = |get: &dyn Fn(&Row<'_>) -> Option<u64>| -> ArrayRef {
        let values = rows
            .iter()
            .map(|row| get(row).map(|count| i64::try_from(count).unwrap_or(i64::MAX)));
        Arc::new(values.collect::<Int64Array>())
    };
    let name = |name: &Option<Name>| name.as_ref().map(Name::to_string);
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("price_version", text(&|row| Some(row.version.to_string())), false),
        ("price_list", text(&|row| Some(row.list.name.to_string())), false),
        ("in_force", flag(&|row| current.contains(row.version)), false),
        ("shipped", flag(&|row| row.list.shipped), false),
        ("provider", text(&|row| Some(row.list.provider.to_string())), false),
        ("for_org", text(&|row| name(&row.list.terms.org)), true),
        ("for_team", text(&|row| name(&row.list.terms.team)), true),
        ("model", text(&|row| Some(row.entry.model().to_string())), false),
        ("region", text(&|row| name(&row.price()?.region)), true),
        ("service_tier", text(&|row| name(&row.price()?.service_tier)), true),
        ("context_above", int(&|row| row.price()?.context_above), true),
        ("meter", text(&|row| Some(row.entry.meter()?.as_str().to_owned())), true),
        ("unit", text(&|row| Some(row.entry.meter()?.unit().to_owned())), true),
        ("per", int(&|row| Some(row.price()?.per)), true),
        ("price", decimal(&|row| Some(row.price()?.price)), true),
        ("discount", decimal(&|row| Some(row.entry.discount())), false),
        ("currency", text(&|row| Some(row.list.currency.to_string())), false),
        ("effective_from", time(&|row| Some(row.entry.period().0)), false),
        ("effective_to", time(&|row| row.entry.period().1), true),
        ("source", text(&|row| row.entry.source().map(str::to_owned)), true),
    ];
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, array, nullable)| Field::new(*name, array.data_type().clone(), *nullable))
        .collect();
    let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn rows<'a>(version: &'a Name, list: &'a PriceList) -> impl Iterator<Item = Row<'a>> {
    let prices = list.prices.iter().map(Entry::Price);
    let adjustments = list.terms.adjustments.iter().map(Entry::Adjustment);
    prices.chain(adjustments).map(move |entry| Row { version, list, entry })
}

// === impl Row ===

impl<'a> Row<'a> {
    const fn price(&self) -> Option<&'a Price> {
        match self.entry {
            Entry::Price(price) => Some(price),
            Entry::Adjustment(_) => None,
        }
    }
}

// === impl Entry ===

impl<'a> Entry<'a> {
    const fn model(self) -> &'a Name {
        match self {
            Self::Price(price) => &price.model,
            Self::Adjustment(adjustment) => &adjustment.model,
        }
    }

    const fn meter(self) -> Option<Meter> {
        match self {
            Self::Price(price) => Some(price.meter),
            Self::Adjustment(adjustment) => adjustment.meter,
        }
    }

    const fn discount(self) -> Amount {
        match self {
            Self::Price(price) => price.discount,
            Self::Adjustment(adjustment) => adjustment.discount,
        }
    }

    const fn period(self) -> (Timestamp, Option<Timestamp>) {
        match self {
            Self::Price(price) => (price.effective_from, price.effective_to),
            Self::Adjustment(adjustment) => (adjustment.effective_from, adjustment.effective_to),
        }
    }

    fn source(self) -> Option<&'a str> {
        match self {
            Self::Price(price) => price.source.as_deref(),
            Self::Adjustment(adjustment) => adjustment.source.as_deref(),
        }
    }
}
