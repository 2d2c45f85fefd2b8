//! Kind `Budget`: what may be used in a window, of money, tokens or calls. Counting is the store's work.

use tollgate_record::rule::{Action, Budget, Limit, Reservation, Tokens, Unpriced, Window};
use tollgate_record::{Amount, Name};

use crate::condition::{Condition, ConditionOf};
use crate::dimension;
use crate::field::Fields;
use crate::nearest::nearest;
use crate::price::{self, currency_code};
use crate::value::Value;
use crate::window;

/// Largest count of tokens or calls.
pub(crate) const COUNT_MAX: u64 = 1_000_000_000_000_000;
/// Status of a refusal, if none is told.
const STATUS: u16 = 402;
/// Most percentages and words in `alerts`.
const ALERTS_MAX: usize = 16;
/// Largest percentage of an alert.
const ALERT_MAX: u64 = 1000;

/// A rule, and where its condition stands.
pub(crate) struct Conditional<T> {
    pub(crate) rule: T,
    pub(crate) condition: Option<Condition>,
}

/// What is written beside a limit, as far as it can be read.
struct Manner {
    action: Option<Action>,
    reservation: Option<Reservation>,
    clamp: bool,
    unpriced: Option<Unpriced>,
    status: Option<u16>,
}

/// When someone is told.
#[derive(Default)]
struct Alerts {
    percentages: Vec<u16>,
    projected: bool,
    anomaly: bool,
}

/// One of them.
#[derive(Clone, Copy)]
enum Told {
    At(u16),
    Projected,
    Anomaly,
}

/// Reads `spec`; that rows are kept as long as the window lasts is checked when the Gateway is known.
pub(crate) fn read(name: Name, mut spec: Fields<'_>) -> Option<Conditional<Budget>> {
    let condition = Condition::read(ConditionOf::Budget, &name, &mut spec);
    let per = dimension::read(&mut spec);
    let limit = spec.required("limit").and_then(|value| limit(&value));
    let window = window::read(&mut spec);
    let manner = Manner::read(&mut spec, limit.as_ref());
    let alerting = spec.take("alerts");
    let alerts = alerting
        .as_ref()
        .map_or_else(|| Some(Alerts::default()), |value| Alerts::read(value, window.as_ref()));
    spec.finish();
    let alerts = alerts?;
    Some(Conditional {
        rule: Budget {
            name,
            when: condition.as_ref().map(|condition| condition.sql.clone()),
            per: per?,
            limit: limit?,
            window: window?,
            action: manner.action?,
            reservation: manner.reservation?,
            clamp: manner.clamp,
            unpriced: manner.unpriced?,
            status: manner.status?,
            alerts: alerts.percentages,
            alert_projected: alerts.projected,
            alert_anomaly: alerts.anomaly,
        },
        condition,
    })
}

/// `{amount: "50", currency: USD}`, `{tokens: 1000}` and so on, or `50 USD`.
fn limit(value: &Value<'_>) -> Option<Limit> {
    if value.is_string() {
        return money_text(value);
    }
    if !value.is_map() {
        value.expected("a map such as {amount: \"50\", currency: USD} or {tokens: 100000}, or text such as 50 USD");
        return None;
    }
    let mut fields = value.fields()?;
    let (amount, currency) = (fields.take("amount"), fields.take("currency"));
    let counts = ["tokens", "input_tokens", "output_tokens", "calls"].map(|name| (name, fields.take(name)));
    fields.finish();
    let told: Vec<&str> = amount
        .iter()
        .map(|_| "amount")
        .chain(counts.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| *name))
        .collect();
    match told.as_slice() {
        [_] => {}
        [] => {
            value.wrong("needs amount with currency, or one of tokens, input_tokens, output_tokens, calls");
            return None;
        }
        several => {
            value.wrong(format!(
                "has {}: keep one of them, a budget has one limit",
                several.join(" and ")
            ));
            return None;
        }
    }
    if let Some(amount) = amount {
        let amount = not_negative(&amount);
        let Some(currency) = currency else {
            value.wrong("has an amount without currency: write {amount: \"50\", currency: USD}");
            return None;
        };
        let currency = price::currency(&currency);
        return Some(Limit::Money {
            amount: amount?,
            currency: currency?,
        });
    }
    if let Some(currency) = currency {
        currency.wrong("is not used: the limit is not of money");
        return None;
    }
    let [tokens, input, output, calls] = counts.map(|(_, value)| value.map(|value| value.integer(0..=COUNT_MAX)));
    let of = |of, count: Option<u64>| Some(Limit::Tokens { count: count?, of });
    match (tokens, input, output, calls) {
        (Some(count), ..) => of(Tokens::Total, count),
        (_, Some(count), ..) => of(Tokens::Input, count),
        (_, _, Some(count), _) => of(Tokens::Output, count),
        (.., Some(count)) => count.map(Limit::Calls),
        (None, None, None, None) => None,
    }
}

fn money_text(value: &Value<'_>) -> Option<Limit> {
    let text = value.text()?;
    let parts = text.resolved.split_once(' ');
    let parsed = parts.and_then(|(amount, code)| Some((amount, currency_code(code.trim())?)));
    let Some((amount, currency)) = parsed else {
        value.wrong(format!(
            "{} is no money: write an amount and an ISO 4217 code, such as 50 USD",
            text.quoted()
        ));
        return None;
    };
    let amount = value.decimal(&text, amount)?;
    if amount < Amount::ZERO {
        value.wrong("is negative: a limit is zero or more");
        return None;
    }
    Some(Limit::Money { amount, currency })
}

fn not_negative(value: &Value<'_>) -> Option<Amount> {
    let amount = value.amount()?;
    if amount < Amount::ZERO {
        value.wrong("is negative: a limit is zero or more");
        return None;
    }
    Some(amount)
}

// === impl Manner ===

impl Manner {
    fn read(spec: &mut Fields<'_>, limit: Option<&Limit>) -> Self {
        let reservations = [
            ("worst_case", Reservation::WorstCase),
            ("expected", Reservation::Expected),
            ("none", Reservation::None),
        ];
        let unpriced_choices = [("refuse", Unpriced::Refuse), ("admit", Unpriced::Admit)];
        let action = spec.take("action").map_or(Some(Action::Refuse), |value| action(&value));
        let reservation = spec
            .take("reservation")
            .map_or(Some(Reservation::WorstCase), |value| value.choice(&reservations));
        let clamping = spec.take("clamp");
        let clamp = clamping.as_ref().and_then(Value::flag).unwrap_or(false);
        let unpriced = spec.take("unpriced");
        let status = spec.take("status");
        let warns = action == Some(Action::Warn);
        if let (Some(value), true) = (&clamping, clamp) {
            report_vain_clamp(value, limit, reservation, warns);
        }
        if let (Some(value), Some(Limit::Tokens { .. } | Limit::Calls(_))) = (&unpriced, limit) {
            value.wrong("is not used: spec.limit is not of money");
        }
        if let (Some(value), true) = (&status, warns) {
            value.wrong("is not used: action warn refuses nothing");
        }
        Self {
            action,
            reservation,
            clamp,
            unpriced: unpriced.map_or(Some(Unpriced::Refuse), |value| value.choice(&unpriced_choices)),
            status: status.map_or(Some(STATUS), |value| self::status(&value)),
        }
    }
}

/// Answers are cut short so that what they may come to fits: that needs a worst case, and a limit that answers use up.
fn report_vain_clamp(value: &Value<'_>, limit: Option<&Limit>, reservation: Option<Reservation>, warns: bool) {
    if matches!(reservation, Some(Reservation::Expected | Reservation::None)) {
        value.wrong("needs reservation: worst_case, which tells how many tokens of an answer are left");
    } else if warns {
        value.wrong("is not used: action warn lets every call pass as it is");
    } else if matches!(limit, Some(Limit::Calls(_))) {
        value.wrong("is not used: shorter answers are no fewer calls");
    } else if matches!(limit, Some(Limit::Tokens { of: Tokens::Input, .. })) {
        value.wrong("is not used: shorter answers have no fewer input tokens");
    }
}

fn action(value: &Value<'_>) -> Option<Action> {
    if value.is_map() {
        let mut fields = value.fields()?;
        let model = fields.required("downgrade").and_then(|value| value.name());
        fields.finish();
        return model.map(Action::Downgrade);
    }
    #[derive(Clone, Copy)]
    enum Word {
        Refuse,
        Warn,
        Downgrade,
    }
    let words = [("refuse", Word::Refuse), ("warn", Word::Warn), ("downgrade", Word::Downgrade)];
    match value.choice(&words)? {
        Word::Refuse => Some(Action::Refuse),
        Word::Warn => Some(Action::Warn),
        Word::Downgrade => {
            value.wrong("needs the model to go to: write {downgrade: MODEL}");
            None
        }
    }
}

fn status(value: &Value<'_>) -> Option<u16> {
    let status = value.integer(0..=u64::MAX)?;
    if !matches!(status, 402 | 429) {
        value.wrong("must be 402 or 429");
        return None;
    }
    u16::try_from(status).ok()
}

// === impl Alerts ===

impl Alerts {
    fn read(list: &Value<'_>, window: Option<&Window>) -> Option<Self> {
        let items = list.items()?;
        let count = items.len();
        if count > ALERTS_MAX {
            list.wrong(format!("has {count} alerts, more than {ALERTS_MAX}"));
            return None;
        }
        let mut alerts = Self::default();
        let mut read = 0;
        for item in items {
            let Some(alert) = alert(&item) else { continue };
            let stands = match alert {
                Told::At(percent) => alerts.percentages.contains(&percent),
                Told::Projected => std::mem::replace(&mut alerts.projected, true),
                Told::Anomaly => std::mem::replace(&mut alerts.anomaly, true),
            };
            if stands {
                item.wrong("stands twice: remove one");
                continue;
            }
            match alert {
                Told::At(percent) => alerts.percentages.push(percent),
                Told::Projected if matches!(window, Some(Window::Rolling { .. })) => {
                    item.wrong("is not used: a rolling window has no end that could be projected");
                }
                Told::Projected | Told::Anomaly => {}
            }
            read += 1;
        }
        alerts.percentages.sort_unstable();
        (read == count).then_some(alerts)
    }
}

/// `80`, `80%`, or a word.
fn alert(value: &Value<'_>) -> Option<Told> {
    if !value.is_string() {
        return value
            .integer(1..=ALERT_MAX)
            .and_then(|number| u16::try_from(number).ok())
            .map(Told::At);
    }
    let text = value.text()?;
    match text.resolved.as_str() {
        "projected" => return Some(Told::Projected),
        "anomaly" => return Some(Told::Anomaly),
        _ => {}
    }
    let digits = text.resolved.strip_suffix('%').unwrap_or_default();
    let number = digits
        .parse()
        .ok()
        .filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.filter(|number| (1..=ALERT_MAX).contains(number));
    if number.is_none() {
        let meant = match nearest(&text.resolved, ["projected", "anomaly"]) {
            Some(meant) => format!("; did you mean {meant}?"),
            None => String::new(),
        };
        value.wrong(format!(
            "must be a whole percentage of the limit from 1 to {ALERT_MAX}, such as 80 or 80%, or projected, or anomaly{meant}"
        ));
    }
    number.and_then(|number| u16::try_from(number).ok()).map(Told::At)
}
