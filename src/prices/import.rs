//! `tollgate prices import`: price files of other systems as price lists of ours.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use tollgate_import::price::{FILE_BYTES_MAX, Note, Options, read_genai_prices, read_litellm, to_yaml};
use tollgate_record::PriceList;

use super::arguments::{Import, PriceFile};
use super::time;

/// Reads a price file, writes its lists, and says what was left out.
pub(crate) fn import(arguments: &Import) -> anyhow::Result<()> {
    let shown = arguments.file.display().to_string();
    let size = fs::metadata(&arguments.file)
        .with_context(|| format!("cannot read {shown}"))?
        .len();
    ensure!(
        size <= FILE_BYTES_MAX as u64,
        "{shown} has {size} bytes, more than {FILE_BYTES_MAX}"
    );
    let text = fs::read_to_string(&arguments.file).with_context(|| format!("cannot read {shown} as UTF-8 text"))?;
    let name = arguments.file.file_name().map(|name| name.to_string_lossy().into_owned());
    let source = arguments.source.clone().or(name).unwrap_or_else(|| shown.clone());
    let day = arguments
        .effective_from
        .as_deref()
        .map(time::read)
        .transpose()
        .context("--effective-from")?;
    let options = Options {
        source: &source,
        effective_from: day.unwrap_or_else(time::today),
    };
    let imported = match arguments.format {
        PriceFile::Litellm => read_litellm(&text, &options),
        PriceFile::GenaiPrices => read_genai_prices(&text, &options),
    };
    let imported = imported.with_context(|| shown.clone())?;
    let (lists, others): (Vec<_>, Vec<_>) = imported.lists.into_iter().partition(|list| {
        let wanted = arguments.provider.as_deref();
        wanted.is_none_or(|wanted| list.provider.as_str() == wanted)
    });
    if lists.is_empty() {
        let known: Vec<_> = others.iter().map(|list| list.provider.as_str()).collect();
        let wanted = arguments.provider.as_deref().unwrap_or("any provider");
        bail!("{shown} has no price of {wanted} (known there: {})", known.join(", "));
    }
    match &arguments.out {
        Some(folder) => write_files(&lists, folder)?,
        None => write_documents(&lists)?,
    }
    report(&imported.notes, &others, arguments)
}

fn write_documents(lists: &[PriceList]) -> anyhow::Result<()> {
    let documents: Vec<String> = lists.iter().map(to_yaml).collect();
    write!(std::io::stdout(), "{}", documents.join("---\n")).context("cannot write to standard output")
}

/// A file a list; none is replaced.
fn write_files(lists: &[PriceList], folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = |list: &PriceList| folder.join(format!("{}.yaml", file_name(list.name.as_str())));
    if let Some(there) = lists.iter().map(path).find(|path| path.exists()) {
        bail!("{} is there already: remove it, or name another folder", there.display());
    }
    for list in lists {
        let path = path(list);
        fs::write(&path, to_yaml(list)).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}: {} prices of {}", path.display(), list.prices.len(), list.provider);
    }
    Ok(())
}

/// A name without what would make it a path.
fn file_name(name: &str) -> String {
    let plain = |character: char| {
        let keep = character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
        if keep { character } else { '-' }
    };
    name.chars().map(plain).collect()
}

/// Everything that was left out, whole: what is not listed here was taken over.
fn report(notes: &[Note], others: &[PriceList], arguments: &Import) -> anyhow::Result<()> {
    let mut out = std::io::stderr().lock();
    if !others.is_empty() {
        let names: Vec<_> = others.iter().map(|list| list.provider.as_str()).collect();
        let wanted = arguments.provider.as_deref().unwrap_or_default();
        writeln!(out, "not written, since --provider is {wanted}: {}", names.join(", "))?;
    }
    for note in notes {
        writeln!(out, "not as it stands: {}: {}", note.reason, note.models.join(", "))?;
    }
    Ok(())
}
