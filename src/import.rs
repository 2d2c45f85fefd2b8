//! `tollgate import`: the history of other gateways becomes rows.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use tollgate_import::{Options, Problem, Rows};
use tollgate_record::{CallId, Name, Record};
use tollgate_usage_store::{Config, Error, Imported, Location, Offline, PriceBook, Store, imported, open_calls};

use crate::cli::Import;

/// Rejected lines that are shown; the rest is counted.
const REJECTED_SHOWN_MAX: usize = 100;

/// Name of the gateway whose rows they become, where none has run yet.
const INSTANCE: &str = tollgate_controller::gateway::DEFAULT_NAME;

/// The ledger that rows go to.
struct Place {
    config: Config,
    /// The gateway's prices, if they are known.
    prices: Option<PriceBook>,
}

/// Where rows go, or would.
enum Target {
    Store(Box<Store>),
    /// Shows what would happen; nothing if there is no data directory yet.
    Dry(Option<Box<Offline>>),
}

/// Imports a file, and says what became of its rows. Fails if any was rejected.
pub(crate) async fn import(arguments: Import) -> anyhow::Result<()> {
    let file = arguments.file.display().to_string();
    let source = arguments.source.as_deref().map(Name::new).transpose().context("--source")?;
    let place = place(&arguments)?;
    let options = Options {
        format: arguments.format,
        source,
        rename: arguments.map.clone(),
        instance: place.config.instance.clone(),
    };
    let mut rows = Rows::open(open(&arguments.file)?, options).with_context(|| file.clone())?;
    let target = target(&arguments, place).await?;
    let (done, rejected, broken) = copy(&mut rows, &target).await?;
    if let Target::Store(store) = target {
        store
            .close()
            .await
            .context("the rows are in the log, and not yet in the table; the next start moves them there")?;
    }
    let verb = if arguments.dry_run {
        "would be imported"
    } else {
        "were imported"
    };
    println!(
        "{} rows {verb}, {} are there already, {rejected} were rejected",
        done.added, done.present
    );
    if let Some(broken) = broken {
        bail!("{file}: {broken}; correct the file and import it again: rows that are there are not added twice");
    }
    if rejected > 0 {
        bail!(
            "{file}: {rejected} rows were rejected; correct them and import the file again: rows that are there are not added twice"
        );
    }
    Ok(())
}

/// Moves rows in batches. Returns what became of them, how many were rejected, and what broke the file off.
async fn copy(rows: &mut Rows, target: &Target) -> anyhow::Result<(Imported, usize, Option<Problem>)> {
    let (mut done, mut rejected, mut broken) = (Imported::default(), 0, None);
    let mut seen = HashSet::new();
    while broken.is_none() {
        let mut batch = Vec::new();
        for row in rows.by_ref() {
            match row {
                Ok(record) => batch.push(record),
                Err(problem @ Problem::Broken { .. }) => broken = Some(problem),
                Err(problem) => {
                    rejected += 1;
                    match rejected {
                        ..=REJECTED_SHOWN_MAX => eprintln!("{problem}"),
                        _ if rejected == REJECTED_SHOWN_MAX + 1 => eprintln!("further rejected lines are counted only"),
                        _ => {}
                    }
                }
            }
            if batch.len() >= Store::IMPORT_ROWS_MAX {
                break;
            }
        }
        if batch.is_empty() {
            break;
        }
        let of_batch = match target {
            Target::Store(store) => store.import(batch).await?,
            Target::Dry(offline) => look(offline.as_deref(), batch, &mut seen).await?,
        };
        done.added += of_batch.added;
        done.present += of_batch.present;
    }
    Ok((done, rejected, broken))
}

/// What an import of these rows would do. `seen` are the ids of rows before them.
async fn look(offline: Option<&Offline>, batch: Vec<Record>, seen: &mut HashSet<CallId>) -> anyhow::Result<Imported> {
    let known = match offline {
        Some(offline) => imported(offline, &batch).await?,
        None => HashSet::new(),
    };
    let added = batch
        .iter()
        .filter(|record| !known.contains(&record.call_id) && seen.insert(record.call_id))
        .count();
    Ok(Imported {
        added,
        present: batch.len() - added,
    })
}

fn open(file: &Path) -> anyhow::Result<Box<dyn Read + Send>> {
    if file == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    Ok(Box::new(opened))
}

async fn target(arguments: &Import, place: Place) -> anyhow::Result<Target> {
    let data = &arguments.data;
    if arguments.dry_run && !data.is_dir() {
        return Ok(Target::Dry(None));
    }
    let opened = if arguments.dry_run {
        Offline::open(data, &place.config.table)
            .await
            .map(|offline| Target::Dry(Some(Box::new(offline))))
    } else {
        // Whoever opens the ledger records the calls that a crash left open, at the prices it has.
        if place.prices.is_none()
            && let Ok(open @ 1..) = open_calls(data)
        {
            bail!(
                "the gateway on {} was not stopped in order, and {open} of its calls are not recorded yet: name its configuration with --config, or start it and stop it once, so that they are at its prices",
                data.display()
            );
        }
        Store::open(place.config, place.prices.unwrap_or_default())
            .await
            .map(|store| Target::Store(Box::new(store)))
    };
    match opened {
        Err(Error::InUse { path }) => bail!(
            "a gateway runs on {}: stop it, import the file, and start it again; its clients are answered 503 or refused meanwhile, so do it at a quiet time",
            path.display()
        ),
        other => Ok(other?),
    }
}

/// Where the ledger is, as the gateway's configuration says, or as the data directory and the command line do.
fn place(arguments: &Import) -> anyhow::Result<Place> {
    let data = &arguments.data;
    if let Some(file) = &arguments.config {
        let resources = crate::check::resources(file)?;
        let prices = crate::prices::book(&resources)?;
        return Ok(Place {
            config: crate::wiring::ledger(&resources.gateway, data)?,
            prices: Some(prices),
        });
    }
    let mut config = Config::new(data, instance(data)?)?;
    if let Some(location) = &arguments.table {
        config.table = Location::parse(location)?;
    }
    Ok(Place { config, prices: None })
}

/// The gateway whose data directory it is: rows under another name would be another gateway's.
fn instance(data: &Path) -> anyhow::Result<Name> {
    let path = data.join("instance");
    let name = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => INSTANCE.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    Name::new(&name).with_context(|| format!("{} holds no name", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_new_directory_is_that_of_the_gateway_that_has_no_name() {
        let dir = tempfile::TempDir::new().unwrap();
        assert_eq!(instance(dir.path()).unwrap().as_str(), INSTANCE);
        std::fs::write(dir.path().join("instance"), "gw-1\n").unwrap();
        assert_eq!(instance(dir.path()).unwrap().as_str(), "gw-1");
    }
}
