//! What a call cost, in the words of Moesif's `metadata.ai_context.cost_metrics`, out of the lines of its bill.
//!
//! 1. Amounts are JSON numbers, because Moesif adds up numbers only; they are written with all their digits, and never pass through a float here.
//! 2. `total_cost` is column `cost`. Where every line has an amount, it is `total_input_cost + output_cost + other_cost`.
//! 3. `cached_input_cost` is `cached_read_cost + cache_creation_cost`, and inside `total_input_cost`; `reasoning_cost` is inside `output_cost`.
//! 4. What has no known price is absent, not zero.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tollgate_record::Amount;

use crate::row::Rows;

/// An amount that is written as a JSON number, every digit of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exact(pub(super) Amount);

/// The parts of a cost.
#[derive(Debug, Default, Serialize)]
pub(super) struct CostMetrics<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    total_input_cost: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_input_cost: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_read_cost: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation_cost: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_cost: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_cost: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other_cost: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_cost: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    list_cost: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avoided_cost: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price_version: Option<&'a str>,
}

// === impl CostMetrics ===

impl<'a> CostMetrics<'a> {
    pub(super) fn of(rows: &'a Rows, row: usize) -> Self {
        let mut metrics = Self {
            total_cost: rows.cost.get(row).map(Exact),
            list_cost: rows.list_cost.get(row).map(Exact),
            avoided_cost: rows.avoided_cost.get(row).map(Exact),
            currency: rows.currency.get(row),
            cost_status: rows.cost_status.get(row),
            price_version: rows.price_version.get(row),
            ..Self::default()
        };
        for charge in rows.charges.get(row) {
            if let Some(amount) = charge.amount {
                for sum in metrics.sums(charge.meter).into_iter().flatten() {
                    // A sum beyond sixteen digits before the point is no cost of a call; the line is then missing in its part, not in the total.
                    let added = sum.map_or(Ok(amount), |Exact(known)| known.checked_add(amount));
                    *sum = added.ok().map(Exact);
                }
            }
        }
        metrics
    }

    /// The sums that a meter's amount belongs to.
    fn sums(&mut self, meter: &str) -> [Option<&mut Option<Exact>>; 3] {
        match meter {
            "input" | "audio_in" | "image_in" | "video_in" | "tool_use_in" => [Some(&mut self.total_input_cost), None, None],
            "cache_read" | "cache_read_audio" | "cache_read_image" => [
                Some(&mut self.total_input_cost),
                Some(&mut self.cached_input_cost),
                Some(&mut self.cached_read_cost),
            ],
            "cache_write" | "cache_write_5m" | "cache_write_1h" => [
                Some(&mut self.total_input_cost),
                Some(&mut self.cached_input_cost),
                Some(&mut self.cache_creation_cost),
            ],
            "output" | "audio_out" | "image_out" => [Some(&mut self.output_cost), None, None],
            "reasoning" => [Some(&mut self.output_cost), Some(&mut self.reasoning_cost), None],
            _ => [Some(&mut self.other_cost), None, None],
        }
    }
}

// === impl Exact ===

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = RawValue::from_string(self.0.to_string()).expect("an amount's decimal text is a JSON number");
        digits.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture;

    #[test]
    fn parts_add_up_to_the_total_and_keep_every_digit() {
        // 0.1 + 0.02 + 0.003 + 0.0004 + 5 + 0.7 + 0.01 = 5.8334, worked out by hand; the twelfth digit is in the last line.
        let line = |meter: &str, amount: &str| json!({"meter": meter, "quantity": "1", "unit": "token", "unit_price": amount, "amount": amount});
        let charges = json!([
            line("input", "0.1"),
            line("cache_read", "0.02"),
            line("cache_write_5m", "0.003"),
            line("cache_write_1h", "0.0004"),
            line("output", "5"),
            line("reasoning", "0.7"),
            line("web_search", "0.010000000001"),
        ]);
        let rows = Rows::new(&fixture::batch(&[fixture::call_with(
            1,
            json!({"charges": charges, "cost": "5.833400000001"}),
        )]))
        .unwrap();
        let text = serde_json::to_string(&CostMetrics::of(&rows, 0)).unwrap();
        let expected = [
            r#""total_input_cost":0.1234"#,
            r#""cached_input_cost":0.0234"#,
            r#""cached_read_cost":0.02"#,
            r#""cache_creation_cost":0.0034"#,
            r#""reasoning_cost":0.7"#,
            r#""output_cost":5.7"#,
            r#""other_cost":0.010000000001"#,
            r#""total_cost":5.833400000001"#,
            r#""list_cost":0.0002"#,
            r#""currency":"USD""#,
            r#""cost_status":"priced""#,
            r#""price_version":"2025-12-01""#,
        ];
        assert_eq!(text, format!("{{{}}}", expected.join(",")));
    }

    #[test]
    fn what_has_no_price_is_absent() {
        let charges = json!([{"meter": "output", "quantity": "1", "unit": "token", "unit_price": null, "amount": null}]);
        let changes =
            json!({"charges": charges, "cost": null, "list_cost": null, "price_version": null, "cost_status": "unpriced"});
        let rows = Rows::new(&fixture::batch(&[fixture::call_with(1, changes)])).unwrap();
        assert_eq!(
            serde_json::to_value(CostMetrics::of(&rows, 0)).unwrap(),
            json!({"currency": "USD", "cost_status": "unpriced"})
        );
    }
}
