//! Values for the placeholders of a statement: `$1`, `$2` or `$name`.

use std::collections::HashMap;

use datafusion::common::ParamValues;
use datafusion::scalar::ScalarValue;
use serde_json::{Map, Value};

use crate::Error;

/// Most parameters of one statement.
const PARAMS_MAX: usize = 1_000;

/// Values for placeholders.
#[derive(Clone, Debug, Default)]
pub struct Params(Option<ParamValues>);

impl Params {
    /// Takes a JSON array for `$1`, `$2` and so on, an object for `$name`, or null for none.
    ///
    /// Text stays text (and is cast by what it is compared with), whole numbers become `BIGINT`, others `DOUBLE`: an exact decimal is given as text.
    ///
    /// # Errors
    /// [`Error::BadParams`] for anything else, for arrays and objects as values, and for more than 1,000 values.
    pub fn from_json(params: Value) -> Result<Self, Error> {
        match params {
            Value::Null => Ok(Self(None)),
            Value::Array(values) => Self::positional(values),
            Value::Object(values) => Self::named(values),
            _ => Err(bad("params is neither an array (for $1, $2) nor an object (for $name)")),
        }
    }

    fn positional(values: Vec<Value>) -> Result<Self, Error> {
        limit(values.len())?;
        let scalars = values
            .into_iter()
            .enumerate()
            .map(|(index, value)| scalar(&format!("${}", index + 1), value))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Some(ParamValues::from(scalars))))
    }

    fn named(values: Map<String, Value>) -> Result<Self, Error> {
        limit(values.len())?;
        let scalars = values
            .into_iter()
            .map(|(name, value)| Ok((name.clone(), scalar(&format!("${name}"), value)?)))
            .collect::<Result<HashMap<_, _>, Error>>()?;
        Ok(Self(Some(ParamValues::from(scalars))))
    }

    pub(crate) fn into_values(self) -> Option<ParamValues> {
        self.0
    }
}

fn scalar(name: &str, value: Value) -> Result<ScalarValue, Error> {
    match value {
        Value::Null => Ok(ScalarValue::Null),
        Value::Bool(flag) => Ok(ScalarValue::from(flag)),
        Value::String(text) => Ok(ScalarValue::from(text)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(ScalarValue::from(whole)),
            (None, Some(float)) if !number.is_u64() => Ok(ScalarValue::from(float)),
            _ => Err(bad(&format!("{name} exceeds 64 bits; give it as text"))),
        },
        Value::Array(_) | Value::Object(_) => Err(bad(&format!(
            "{name} is an array or object; give text, a number, true, false or null"
        ))),
    }
}

fn limit(count: usize) -> Result<(), Error> {
    if count > PARAMS_MAX {
        return Err(bad(&format!("params has {count} values; at most {PARAMS_MAX} are taken")));
    }
    Ok(())
}

fn bad(message: &str) -> Error {
    Error::BadParams {
        message: message.to_owned(),
    }
}
