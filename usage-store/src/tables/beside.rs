//! Small tables of others beside those of a store, such as how exporters stand: rows as values, made when a query asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ScalarUDF;
use tollgate_record::column::{Kind, Value};
use tollgate_record::{BoxFuture, Tags, Timestamp};

use super::{Functions, Named, Tables, memory};
use crate::batch::tags;
use crate::budgets::{Proof, Unproved};
use crate::schema::data_type;

/// A value of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Not known.
    Null,
    /// For [`Kind::Text`].
    Text(String),
    /// For [`Kind::Int`].
    Int(i64),
    /// For [`Kind::Bool`].
    Bool(bool),
    /// For [`Kind::Timestamp`].
    Time(Timestamp),
    /// For [`Kind::Map`].
    Map(Tags),
}

/// A table as it is now.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its name.
    pub name: &'static str,
    /// Its columns: name and type, one of those that [`Cell`] has.
    pub columns: &'static [(&'static str, Kind)],
    /// Its rows, a value for each column.
    pub rows: Vec<Vec<Cell>>,
}

/// Something that has tables of its own.
pub trait Beside: Send + Sync + 'static {
    /// The tables as of now.
    fn tables(&self) -> BoxFuture<'_, Vec<Shown>>;
}

/// The tables of a store and of another.
struct Both {
    store: Arc<dyn Tables>,
    other: Arc<dyn Beside>,
}

/// Shows the tables of another beside those of a store.
pub fn beside(store: Arc<dyn Tables>, other: Arc<dyn Beside>) -> Arc<dyn Tables> {
    Arc::new(Both { store, other })
}

impl Tables for Both {
    fn snapshot(&self) -> BoxFuture<'_, Result<Named, DataFusionError>> {
        Box::pin(async move {
            let mut named = self.store.snapshot().await?;
            for shown in self.other.tables().await {
                named.push((shown.name, memory(shown.batch()?)?));
            }
            Ok(named)
        })
    }

    fn functions(&self) -> Functions {
        self.store.functions()
    }

    fn proof(&self, name: &str, per: &BTreeMap<String, String>, at: Option<Timestamp>) -> Result<Proof, Unproved> {
        self.store.proof(name, per, at)
    }

    fn rate(&self) -> Arc<ScalarUDF> {
        self.store.rate()
    }
}

impl Shown {
    fn batch(&self) -> Result<RecordBatch, ArrowError> {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(|(name, kind)| Field::new(*name, data_type(*kind), *kind != Kind::Map))
            .collect();
        let columns = self
            .columns
            .iter()
            .enumerate()
            .map(|(place, (_, kind))| self.column(place, *kind));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }

    fn column(&self, place: usize, kind: Kind) -> Result<ArrayRef, ArrowError> {
        let cells = self.rows.iter().map(|row| row.get(place).unwrap_or(&Cell::Null));
        Ok(match kind {
            Kind::Text => {
                let mut builder = StringBuilder::new();
                cells.for_each(|cell| builder.append_option(if let Cell::Text(text) = cell { Some(text) } else { None }));
                Arc::new(builder.finish())
            }
            Kind::Int => {
                let mut builder = Int64Builder::new();
                cells.for_each(|cell| builder.append_option(if let Cell::Int(count) = cell { Some(*count) } else { None }));
                Arc::new(builder.finish())
            }
            Kind::Bool => {
                let mut builder = BooleanBuilder::new();
                cells.for_each(|cell| builder.append_option(if let Cell::Bool(flag) = cell { Some(*flag) } else { None }));
                Arc::new(builder.finish())
            }
            Kind::Timestamp => {
                let mut builder = TimestampMicrosecondBuilder::new().with_timezone("UTC");
                cells.for_each(|cell| {
                    builder.append_option(if let Cell::Time(time) = cell {
                        Some(time.unix_us())
                    } else {
                        None
                    })
                });
                Arc::new(builder.finish())
            }
            Kind::Map => {
                let none = Tags::default();
                tags(cells.map(|cell| Value::Map(if let Cell::Map(map) = cell { map } else { &none })))?
            }
            Kind::Decimal | Kind::Date | Kind::Decisions | Kind::Charges => {
                return Err(ArrowError::NotYetImplemented(format!(
                    "a column of {kind:?} beside those of a store"
                )));
            }
        })
    }
}
