//! An alert as JSON: as a line of the book has it, and as webhooks are sent it. Amounts are decimal strings, instants RFC 3339.

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use tollgate_record::rule::AlertKind;
use tollgate_record::{Amount, Name, Timestamp};

use crate::alert::text;
use crate::anomaly::Hour;
use crate::{Alert, Cause};

/// Its fields, in the order in which they are written. What does not apply is left out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) id: String,
    kind: String,
    /// For people; not read.
    message: String,
    budget: Name,
    per: Vec<Value>,
    window_start: String,
    window_end: String,
    unit: Name,
    limit: String,
    spent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    projected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hour: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usual: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<String>,
    raised_at: String,
}

/// A value of `per`: a list keeps the budget's order, and null.
#[derive(Debug, Serialize, Deserialize)]
struct Value {
    name: String,
    value: Option<String>,
}

// === impl Written ===

impl Written {
    pub(crate) fn of(alert: &Alert) -> Self {
        let instant = |at| text(at, SecondsFormat::Micros);
        let (mut percent, mut projected, mut hour, mut usual, mut bound) = (None, None, None, None, None);
        match alert.cause {
            Cause::Threshold { percent: at } => percent = Some(at),
            Cause::Projected { projected: at_end } => projected = Some(at_end.to_string()),
            Cause::Anomaly {
                hour: of,
                usual: middle,
                bound: most,
            } => {
                hour = Some(instant(of.start()));
                usual = Some(middle.to_string());
                bound = Some(most.to_string());
            }
        }
        let per = alert.per.iter().map(|(name, value)| Value {
            name: name.clone(),
            value: value.clone(),
        });
        Self {
            id: alert.id(),
            kind: alert.kind().as_str().to_owned(),
            message: alert.message(),
            budget: alert.budget.clone(),
            per: per.collect(),
            window_start: instant(alert.window_start),
            window_end: instant(alert.window_end),
            unit: alert.unit.clone(),
            limit: alert.limit.to_string(),
            spent: alert.spent.to_string(),
            percent,
            projected,
            hour,
            usual,
            bound,
            raised_at: instant(alert.raised_at),
        }
    }

    /// The alert, if this is one.
    ///
    /// # Errors
    /// Which field is none.
    pub(crate) fn read(self) -> Result<Alert, String> {
        let kind = AlertKind::ALL.into_iter().find(|kind| kind.as_str() == self.kind);
        let cause = match kind.ok_or_else(|| format!("kind {:?} is not known", self.kind))? {
            AlertKind::Threshold => Cause::Threshold {
                percent: self.percent.ok_or("percent is missing")?,
            },
            AlertKind::Projected => Cause::Projected {
                projected: amount("projected", self.projected.as_deref())?,
            },
            AlertKind::Anomaly => Cause::Anomaly {
                hour: Hour::of(instant("hour", self.hour.as_deref())?),
                usual: amount("usual", self.usual.as_deref())?,
                bound: amount("bound", self.bound.as_deref())?,
            },
        };
        Ok(Alert {
            budget: self.budget,
            per: self.per.into_iter().map(|of| (of.name, of.value)).collect(),
            window_start: instant("window_start", Some(&self.window_start))?,
            window_end: instant("window_end", Some(&self.window_end))?,
            unit: self.unit,
            limit: amount("limit", Some(&self.limit))?,
            spent: amount("spent", Some(&self.spent))?,
            cause,
            raised_at: instant("raised_at", Some(&self.raised_at))?,
        })
    }
}

fn amount(field: &str, text: Option<&str>) -> Result<Amount, String> {
    let text = text.ok_or_else(|| format!("{field} is missing"))?;
    text.parse().map_err(|error| format!("{field}: {error}"))
}

fn instant(field: &str, text: Option<&str>) -> Result<Timestamp, String> {
    let text = text.ok_or_else(|| format!("{field} is missing"))?;
    let at = DateTime::parse_from_rfc3339(text).map_err(|error| format!("{field}: {error}"))?;
    Ok(Timestamp::from_unix_us(at.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{alert, anomaly, projected};

    #[test]
    fn every_kind_survives_being_written() {
        for alert in [alert("a", 100, 3), projected("b"), anomaly("c", 7)] {
            let text = serde_json::to_string(&Written::of(&alert)).unwrap();
            let read: Written = serde_json::from_str(&text).unwrap();
            assert_eq!(read.id, alert.id());
            assert_eq!(read.read(), Ok(alert));
        }
    }

    #[test]
    fn what_is_no_alert_is_told() {
        let written = || Written::of(&anomaly("a", 7));
        let said = |wrong: Written| wrong.read().unwrap_err();
        let kind = "gone".to_owned();
        assert_eq!(said(Written { kind, ..written() }), "kind \"gone\" is not known");
        assert_eq!(
            said(Written {
                usual: None,
                ..written()
            }),
            "usual is missing"
        );
        let limit = "1e3".to_owned();
        assert_eq!(
            said(Written { limit, ..written() }),
            "limit: \"1e3\" is not a plain decimal number such as \"2.50\""
        );
    }
}
