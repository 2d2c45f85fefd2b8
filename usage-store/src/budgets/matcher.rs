//! Which rules a call is for: their `when`, compiled once, and asked once for each combination of values that it names.
//!
//! 1. `when` may name the columns that are known at admission, and nothing that gives another answer the next time (`random()`, `now()`).
//! 2. It is for a call if it is true: not if it is false, and not if it is null.
//! 3. What was found for a combination is remembered, but for rules that name a time: those are asked for every call.
//! 4. One that fails for a call (a division by zero) is for the call: a budget is rather too strict than void.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{ColumnarValue, Expr, ExprSchemable, Volatility};
use datafusion::physical_plan::PhysicalExpr;
use tollgate_budget::{Facts, Matcher};
use tollgate_record::column::{Column, USAGE};
use tollgate_record::rule::ADMISSION_COLUMNS;
use tollgate_record::{Call, Cost, Ending, Identity, Intent, Name, Outcome, Record};

use super::session;
use crate::batch::columns_of;
use crate::schema::data_type;

/// Combinations that are remembered.
const COMBINATIONS: usize = 65_536;

/// What is wrong with a rule's `when`, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRule(pub String);

/// A compiled `when`.
struct Rule {
    /// None is for every call.
    when: Option<Arc<dyn PhysicalExpr>>,
    timed: bool,
}

/// All rules, compiled.
pub(super) struct Compiled {
    budgets: Vec<Rule>,
    rates: Vec<Rule>,
    /// The columns that any of them names, and the batch that they are asked with.
    columns: Vec<&'static Column>,
    schema: Arc<Schema>,
    /// Text columns that any of them names, of which a combination is made.
    texts: Vec<&'static str>,
    tags: bool,
    timed: bool,
    known: RwLock<HashMap<Box<[u8]>, Places>>,
}

type Places = Arc<(Vec<u32>, Vec<u32>)>;

impl Compiled {
    /// Compiles rules, in their order.
    ///
    /// # Errors
    /// What is wrong with the first one that cannot be.
    pub(super) fn new<'a>(
        budgets: impl Iterator<Item = Option<&'a str>>,
        rates: impl Iterator<Item = Option<&'a str>>,
    ) -> Result<Self, BadRule> {
        let (columns, schema) = (admission_columns(), Arc::new(admission_schema()));
        let state = session();
        let mut named = BTreeSet::new();
        let mut compile = |when: Option<&str>| -> Result<Rule, BadRule> {
            let Some(text) = when else {
                return Ok(Rule {
                    when: None,
                    timed: false,
                });
            };
            let (expression, columns) = checked(&state, &schema, text)?;
            let timed = columns.iter().any(|name| name.starts_with("start_"));
            named.extend(columns);
            Ok(Rule {
                when: Some(expression),
                timed,
            })
        };
        let budgets: Vec<Rule> = budgets.map(&mut compile).collect::<Result<_, _>>()?;
        let rates: Vec<Rule> = rates.map(&mut compile).collect::<Result<_, _>>()?;
        let timed = budgets.iter().chain(&rates).any(|rule| rule.timed);
        let text = |column: &&&Column| named.contains(column.name) && data_type(column.kind) == DataType::Utf8;
        Ok(Self {
            texts: columns.iter().filter(text).map(|column| column.name).collect(),
            tags: named.contains("tags"),
            timed,
            budgets,
            rates,
            columns,
            schema,
            known: RwLock::default(),
        })
    }

    /// The values by which calls are told apart, one behind the other.
    fn combination(&self, facts: &Facts<'_>, into: &mut Vec<u8>) {
        into.clear();
        into.push(u8::from(facts.call.stream));
        let mut put = |text: Option<&str>| {
            // No text has this byte.
            into.push(0xff);
            match text {
                Some(text) => into.extend_from_slice(text.as_bytes()),
                None => into.push(0xfe),
            }
        };
        for column in &self.texts {
            put(facts.text(column));
        }
        if self.tags {
            for (key, value) in facts.caller.tags.iter() {
                put(Some(key));
                put(Some(value));
            }
        }
    }

    fn ask(&self, facts: &Facts<'_>, timed: bool) -> (Vec<u32>, Vec<u32>) {
        let row = match self.row(facts) {
            Ok(row) => Some(row),
            Err(error) => {
                tracing::error!(%error, "a call could not be shown to budgets and rate limits, so all of them are for it");
                None
            }
        };
        let of = |rules: &[Rule]| {
            let places = rules.iter().enumerate().filter(|(_, rule)| rule.timed == timed);
            places
                .filter(|(_, rule)| row.as_ref().is_none_or(|row| rule.is_for(row)))
                .filter_map(|(place, _)| u32::try_from(place).ok())
                .collect()
        };
        (of(&self.budgets), of(&self.rates))
    }

    fn row(&self, facts: &Facts<'_>) -> Result<RecordBatch, ArrowError> {
        let record = record_of(facts);
        RecordBatch::try_new(Arc::clone(&self.schema), columns_of(&self.columns, &[record])?)
    }
}

impl Matcher for Compiled {
    fn matching(&self, facts: &Facts<'_>) -> Places {
        thread_local! {
            static KEY: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
        }
        let lasting = KEY.with_borrow_mut(|key| {
            self.combination(facts, key);
            let known = self
                .known
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .get(key.as_slice())
                .cloned();
            known.unwrap_or_else(|| {
                let found = Arc::new(self.ask(facts, false));
                let mut known = self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                if known.len() >= COMBINATIONS {
                    known.clear();
                }
                known.insert(key.as_slice().into(), Arc::clone(&found));
                found
            })
        });
        if !self.timed {
            return lasting;
        }
        let (mut budgets, mut rates) = self.ask(facts, true);
        budgets.extend(&lasting.0);
        rates.extend(&lasting.1);
        budgets.sort_unstable();
        rates.sort_unstable();
        Arc::new((budgets, rates))
    }
}

impl Rule {
    fn is_for(&self, row: &RecordBatch) -> bool {
        let Some(when) = &self.when else { return true };
        match when.evaluate(row) {
            Ok(ColumnarValue::Scalar(ScalarValue::Boolean(value))) => value == Some(true),
            Ok(ColumnarValue::Array(values)) => values
                .as_boolean_opt()
                .is_none_or(|values| values.len() == 1 && !arrow::array::Array::is_null(values, 0) && values.value(0)),
            Ok(ColumnarValue::Scalar(ScalarValue::Null)) => false,
            Ok(ColumnarValue::Scalar(_)) => true,
            Err(error) => {
                tracing::warn!(%error, when = %when, "a rule's condition failed for a call, so the rule is for it");
                true
            }
        }
    }
}

/// The columns of table `usage` that are known when a call is admitted, in its order.
fn admission_columns() -> Vec<&'static Column> {
    USAGE
        .iter()
        .filter(|column| ADMISSION_COLUMNS.contains(&column.name))
        .collect()
}

fn admission_schema() -> Schema {
    let field = |column: &&Column| Field::new(column.name, data_type(column.kind), column.nullable);
    Schema::new(admission_columns().iter().map(field).collect::<Vec<_>>())
}

/// Checks one `when`.
///
/// # Errors
/// What is wrong with it.
pub fn check_rule(when: &str) -> Result<(), BadRule> {
    Compiled::new(std::iter::once(Some(when)), std::iter::empty()).map(|_| ())
}

/// The columns that a `when` names.
///
/// # Errors
/// What is wrong with it.
pub(super) fn columns_of_when(when: Option<&str>) -> Result<BTreeSet<&'static str>, BadRule> {
    let Some(when) = when else { return Ok(BTreeSet::new()) };
    Ok(checked(&session(), &admission_schema(), when)?.1)
}

/// Checks a condition over every column of table `usage`, such as an exporter's.
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(when: &str) -> Result<(), BadRule> {
    let schema = crate::usage_schema();
    let whole = DFSchema::try_from(schema.as_ref().clone()).map_err(|error| bad(&error))?;
    let state = session();
    let expression = state.create_logical_expr(when, &whole).map_err(|error| bad(&error))?;
    let physical = state.create_physical_expr(expression, &whole).map_err(|error| bad(&error))?;
    match physical.data_type(&schema).map_err(|error| bad(&error))? {
        DataType::Boolean => Ok(()),
        of => Err(BadRule(format!(
            "it is a value of type {of}, and a condition is true or false"
        ))),
    }
}

/// A condition, compiled, and the columns that it names.
fn checked(state: &SessionState, schema: &Schema, text: &str) -> Result<(Arc<dyn PhysicalExpr>, BTreeSet<&'static str>), BadRule> {
    let whole = DFSchema::try_from(crate::usage_schema().as_ref().clone()).map_err(|error| bad(&error))?;
    let known = DFSchema::try_from(schema.clone()).map_err(|error| bad(&error))?;
    let expression = state.create_logical_expr(text, &whole).map_err(|error| bad(&error))?;
    let mut columns = BTreeSet::new();
    let mut wrong = None;
    let looked = expression.apply(|part| {
        match part {
            Expr::Column(column) => match ADMISSION_COLUMNS.iter().find(|name| **name == column.name) {
                Some(name) => {
                    columns.insert(*name);
                }
                None => {
                    wrong.get_or_insert(format!(
                        "column {} is only known when a call has ended; known at admission are {}",
                        column.name,
                        ADMISSION_COLUMNS.join(", ")
                    ));
                }
            },
            Expr::ScalarFunction(function) if function.func.signature().volatility != Volatility::Immutable => {
                wrong.get_or_insert(format!(
                    "function {}() has another value each time, so that no query could say again what it was; name start_time for the time of a call",
                    function.func.name()
                ));
            }
            Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
                wrong.get_or_insert("it adds up rows; a condition is of one call".to_owned());
            }
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) => {
                wrong.get_or_insert("it has a query inside; a condition is of one call's columns".to_owned());
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    looked.map_err(|error| bad(&error))?;
    if let Some(wrong) = wrong {
        return Err(BadRule(wrong));
    }
    let physical = state
        .create_physical_expr(expression.clone(), &known)
        .map_err(|error| bad(&error))?;
    let of = physical.data_type(schema).map_err(|error| bad(&error))?;
    if of != DataType::Boolean {
        let of = expression.get_type(&known).unwrap_or(of);
        return Err(BadRule(format!(
            "it is a value of type {of}, and a condition is true or false"
        )));
    }
    Ok((physical, columns))
}

fn bad(error: &DataFusionError) -> BadRule {
    let text = error.strip_backtrace();
    let text = text
        .trim_start_matches("Schema error: ")
        .trim_start_matches("SQL error: ")
        .trim_start_matches("Error during planning: ");
    // Tables are named by queries only.
    if text.starts_with("table '") {
        return BadRule("it has a query inside; a condition is of one call's columns".to_owned());
    }
    BadRule(text.lines().next().unwrap_or_default().to_owned())
}

/// A row that has these facts; what is not known at admission is not in any batch that is made of it.
fn record_of(facts: &Facts<'_>) -> Record {
    let call_id = tollgate_record::CallId::from_digest([0; 16]);
    let intent = Intent {
        call_id,
        request_id: call_id.as_request(),
        attempt: 1,
        start_time: facts.start_time,
        identity: Arc::new(Identity::clone(facts.identity)),
        caller: facts.caller.clone(),
        call: Call {
            region: facts.region.cloned(),
            ..facts.call.clone()
        },
        request_bytes: 0,
        bears_usage: false,
    };
    let instance = Name::new("-").expect("one character is a name");
    Record::new(instance, intent, Ending::of(Outcome::Ok), Cost::free())
}
