//! Calls that several models took part in.

use tollgate_record::Part;

use super::*;

fn part(model: Option<&str>, input: u64, output: u64) -> Part {
    Part {
        model: model.map(name),
        usage: Usage {
            input: Some(input),
            output: Some(output),
            ..Usage::default()
        },
    }
}

fn of(parts: Vec<Part>) -> Usage {
    let mut usage = reported(0, 0);
    parts.iter().for_each(|part| usage.add(&part.usage));
    Usage { parts, ..usage }
}

fn answered(book: &PriceBook, response_model: &str, usage: &Usage) -> tollgate_record::Cost {
    rate(
        book,
        &call("large"),
        Payer::default(),
        Some(&name(response_model)),
        usage,
        now(),
    )
    .unwrap()
}

fn book() -> PriceBook {
    let prices = vec![
        price("large", Meter::Input, "10"),
        price("large", Meter::Output, "50"),
        price("small", Meter::Input, "5"),
        price("small", Meter::Output, "25"),
        price("small", Meter::WebSearch, "10000"),
    ];
    PriceBook::new(vec![list("openai", true, prices)])
}

#[test]
fn each_part_costs_what_its_own_model_costs() {
    let mut usage = of(vec![part(Some("large"), 535, 20), part(None, 412, 264)]);
    usage.web_search = Some(2);
    let cost = answered(&book(), "small", &usage);
    // 535 at 10 and 20 at 50, 412 at 5 and 264 at 25 a million; two searches at a cent.
    let charges: Vec<_> = cost
        .charges
        .iter()
        .map(|charge| (charge.meter_text().into_owned(), charge.amount.unwrap().to_string()))
        .collect();
    let expected = [
        ("input:large", "0.00535"),
        ("output:large", "0.001"),
        ("input:small", "0.00206"),
        ("output:small", "0.0066"),
        ("web_search", "0.02"),
    ];
    assert_eq!(charges, expected.map(|(meter, amount)| (meter.to_owned(), amount.to_owned())));
    assert_eq!(cost.cost, Some(amount("0.03501")));
    assert_eq!((cost.status, cost.list_cost), (CostStatus::Priced, cost.cost));
}

#[test]
fn what_no_part_has_costs_what_the_call_costs() {
    let mut usage = of(vec![part(Some("small"), 100, 10)]);
    usage.add(&reported(7, 3));
    // 100 at 5 and 10 at 25, 7 at 10 and 3 at 50 a million.
    assert_eq!(answered(&book(), "large", &usage).cost, Some(amount("0.00097")));
}

#[test]
fn another_models_part_never_costs_what_the_requested_model_costs() {
    let usage = of(vec![part(Some("unheard-of"), 100, 10), part(None, 100, 10)]);
    let cost = answered(&book(), "small", &usage);
    assert_eq!(cost.status, CostStatus::Unpriced);
    assert_eq!(cost.cost, Some(amount("0.00075")));
    // An answer of a model without a price costs what the model that was asked for does, as without parts.
    let cost = answered(&book(), "large-snapshot", &of(vec![part(None, 1, 0), part(None, 0, 1)]));
    assert_eq!((cost.status, cost.cost), (CostStatus::Priced, Some(amount("0.00006"))));
}

#[test]
fn context_tiers_hold_for_each_part_by_itself() {
    let mut above = price("large", Meter::Input, "100");
    above.context_above = Some(1_000);
    let prices = vec![price("large", Meter::Input, "10"), above];
    let book = PriceBook::new(vec![list("openai", true, prices)]);
    let small = answered(&book, "large", &of(vec![part(None, 600, 0), part(None, 1_000, 0)]));
    assert_eq!(small.cost, Some(amount("0.016")));
    assert_eq!(small.charges.len(), 1);
    let mixed = answered(&book, "large", &of(vec![part(None, 600, 0), part(None, 1_001, 0)]));
    assert_eq!(mixed.cost, Some(amount("0.1061")));
    assert_eq!(mixed.charges.len(), 2);
}

#[test]
fn a_call_has_one_currency_whichever_models_took_part() {
    let mut euros = list("acme-openai", false, vec![price("small", Meter::Input, "5")]);
    euros.currency = name("EUR");
    let book = PriceBook::new(vec![list("openai", true, vec![price("large", Meter::Input, "10")]), euros]);
    let usage = of(vec![part(Some("large"), 100, 0), part(Some("small"), 100, 0)]);
    let cost = answered(&book, "large", &usage);
    assert_eq!((cost.currency, cost.status), (Some(name("USD")), CostStatus::Unpriced));
    assert_eq!(cost.cost, Some(amount("0.001")));
}

#[test]
fn an_explanation_has_a_line_for_every_charge_of_every_part() {
    let usage = of(vec![part(Some("large"), 535, 20), part(None, 412, 264)]);
    let response_model = name("small");
    let explained = crate::explain(
        &book(),
        &call("large"),
        Payer::default(),
        Some(&response_model),
        &usage,
        now(),
    )
    .unwrap();
    assert_eq!(explained.cost, answered(&book(), "small", &usage));
    let lines: Vec<_> = explained.lines.iter().map(|line| line.charge.clone()).collect();
    assert_eq!(lines, explained.cost.charges);
    let models: Vec<_> = explained
        .lines
        .iter()
        .map(|line| line.price.as_ref().unwrap().price.model.to_string())
        .collect();
    assert_eq!(models, ["large", "large", "small", "small"]);
}
