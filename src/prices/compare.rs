//! `tollgate prices check` and `tollgate prices diff`: every finding with the line it is about.

use std::io::Write;
use std::path::Path;

use anyhow::bail;
use tollgate_controller::DeclaredPrices;
use tollgate_import::price::{self, Content, Entry};
use tollgate_record::PriceList;

use super::arguments::{Check, Diff};
use crate::check::environment;

/// Looks for mistakes; fails if there are any.
pub(crate) fn check(arguments: &Check) -> anyhow::Result<()> {
    let mut declared = Vec::new();
    for file in &arguments.files {
        declared.extend(read(file)?);
    }
    let findings = price::check(&lists(&declared));
    let mut out = std::io::stdout().lock();
    for finding in &findings {
        let place = place(&declared, finding.place, false);
        writeln!(out, "{place}: {finding}")?;
    }
    let prices: usize = declared.iter().map(|declared| declared.list.prices.len()).sum();
    if !findings.is_empty() {
        bail!("findings: {} in {prices} prices of {} lists", findings.len(), declared.len());
    }
    writeln!(out, "nothing was found in {prices} prices of {} lists", declared.len())?;
    Ok(())
}

/// Compares; fails if there is a difference.
pub(crate) fn diff(arguments: &Diff) -> anyhow::Result<()> {
    let (old, new) = (read(&arguments.old)?, read(&arguments.new)?);
    let changes = price::diff(&lists(&old), &lists(&new));
    let mut out = std::io::stdout().lock();
    for change in &changes {
        let of = |declared: &[DeclaredPrices], entry: &Entry| {
            place(declared, entry.place, matches!(entry.content, Content::Adjustment(_)))
        };
        let place = match (&change.new, &change.old) {
            (Some(entry), _) => of(&new, entry),
            (None, Some(entry)) => of(&old, entry),
            (None, None) => continue,
        };
        writeln!(out, "{place}: {change}")?;
    }
    if !changes.is_empty() {
        bail!("prices that differ: {}", changes.len());
    }
    writeln!(out, "no price differs")?;
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<DeclaredPrices>> {
    tollgate_controller::price_lists(path, &environment).map_err(|problems| {
        eprintln!("{problems}");
        anyhow::anyhow!("{} is not valid", path.display())
    })
}

fn lists(declared: &[DeclaredPrices]) -> Vec<PriceList> {
    declared.iter().map(|declared| declared.list.clone()).collect()
}

/// File, document and line of a price, or of an adjustment.
fn place(declared: &[DeclaredPrices], (list, entry): (usize, usize), adjustment: bool) -> String {
    let Some(declared) = declared.get(list) else {
        return String::new();
    };
    let lines = if adjustment {
        &declared.adjustment_lines
    } else {
        &declared.lines
    };
    match lines.get(entry) {
        Some(line) => format!("{}, line {line}", declared.place),
        None => declared.place.clone(),
    }
}
