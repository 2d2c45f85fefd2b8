//! `GET /api/query/v1/budgets/{name}/proof?team=growth&at=...`: the query that a counter rests on, its answer, and how the counter stands.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::HeaderMap;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use tollgate_record::Timestamp;
use tollgate_record::admission::Measure;
use tollgate_usage_store::budgets::Proof;

use super::failure::Failure;
use super::{Endpoint, authorize};
use crate::{Engine, Error, Format, Query};

/// Answers with a proof. Parameters are values of what the budget is kept apart by, and `at`, an instant; without, it is now.
pub(super) async fn proof(
    State(endpoint): State<Endpoint>,
    Path(name): Path<String>,
    Parameters(mut per): Parameters<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    authorize(&endpoint.token, &headers)?;
    let at = per.remove("at").map(|text| instant(&text)).transpose()?;
    let proof = endpoint.engine.proof(&name, &per, at)?;
    let spent = rows(&endpoint.engine, &proof.sql).await?;
    let refusals = rows(&endpoint.engine, &format!("{} LIMIT 1", proof.refusals_sql)).await?;
    Ok(Json(told(&proof, &spent, refusals)))
}

fn told(proof: &Proof, spent: &[Value], mut refusals: Vec<Value>) -> Value {
    let instant = |us| DateTime::from_timestamp_micros(us).map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true));
    let counter = proof.counter.as_ref().map(|([limit, spent, reserved, remaining], refused)| {
        json!({
            "unit": unit(limit), "limit": amount(limit), "spent": amount(spent), "reserved": amount(reserved), "remaining": amount(remaining),
            "refused": refused,
        })
    });
    json!({
        "budget": proof.budget.as_str(),
        "per": proof.per.iter().cloned().collect::<BTreeMap<_, _>>(),
        "window_start": instant(proof.span.start),
        "window_end": instant(proof.span.end),
        "sql": proof.sql,
        "spent": spent.first().map_or(Value::Null, |row| row["spent"].clone()),
        "counter": counter,
        "refusals_sql": proof.refusals_sql,
        "last_refusal": if refusals.is_empty() { Value::Null } else { refusals.swap_remove(0) },
    })
}

fn unit(measure: &Measure) -> &str {
    match measure {
        Measure::Money(_, currency) => currency.as_str(),
        Measure::Tokens(_) => "tokens",
        Measure::Calls(_) => "calls",
    }
}

fn amount(measure: &Measure) -> String {
    match measure {
        Measure::Money(amount, _) | Measure::Tokens(amount) | Measure::Calls(amount) => amount.to_string(),
    }
}

async fn rows(engine: &Engine, sql: &str) -> Result<Vec<Value>, Error> {
    let bytes = engine.query(Query::new(sql)).await?.encode(Format::Json)?.collect().await?;
    serde_json::from_slice(&bytes).map_err(|error| Error::internal(error.to_string()))
}

fn instant(text: &str) -> Result<Timestamp, Failure> {
    let parsed = DateTime::parse_from_rfc3339(text);
    parsed
        .map(|at| Timestamp::from_unix_us(at.timestamp_micros()))
        .map_err(|_| Failure::BadBody(format!("at={text:?} is no instant; write it as 2026-11-30T12:00:00Z")))
}
