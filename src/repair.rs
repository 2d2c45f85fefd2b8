//! `tollgate repair`: makes a damaged log whole and says what is missing.

use tollgate_controller::Gateway;
use tollgate_usage_store::{Location, Repair};

use crate::cli;

/// Repairs, and prints what was found and done.
pub(crate) async fn repair(arguments: cli::Repair) -> anyhow::Result<()> {
    let data = &arguments.data;
    anyhow::ensure!(
        data.join("wal").is_dir(),
        "{} is no data directory: it has no wal",
        data.display()
    );
    let table = match (&arguments.table, &arguments.config) {
        (Some(location), _) => Location::parse(location)?,
        (None, Some(config)) => crate::wiring::location(&crate::check::resources(config)?.gateway, data)?,
        (None, None) => crate::wiring::location(&Gateway::default(), data)?,
    };
    let found = tollgate_usage_store::repair(data, &table, arguments.dry_run).await?;
    print!("{}", report(&found, arguments.dry_run));
    Ok(())
}

fn report(found: &Repair, dry_run: bool) -> String {
    let mut lines = Vec::new();
    for loss in &found.losses {
        let kind = if loss.damage { "damage" } else { "left by a crash" };
        lines.push(format!(
            "{}: byte {}, {} bytes: {} ({kind})",
            loss.segment.display(),
            loss.offset,
            loss.bytes,
            loss.reason
        ));
    }
    for path in &found.missing_segments {
        lines.push(format!("{}: is not there", path.display()));
    }
    for (first, last) in &found.missing_places {
        lines.push(format!("missing rows: seq {first} to {last}"));
    }
    lines.push(format!(
        "kept: {} rows that the table does not have yet; {} open calls, which become interrupted at the next start",
        found.rows, found.open_calls
    ));
    for path in &found.originals {
        lines.push(format!("the damaged file as it was: {}", path.display()));
    }
    lines.push(match (found.is_needed(), dry_run) {
        (false, _) => "the log is whole: nothing to repair".to_owned(),
        (true, true) => "the log is damaged; nothing was changed (--dry-run)".to_owned(),
        (true, false) => "the log was made whole: start the gateway".to_owned(),
    });
    lines.join("\n") + "\n"
}
