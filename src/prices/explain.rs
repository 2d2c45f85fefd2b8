//! `tollgate prices explain`: what a call costs, and why.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::Context;

use super::arguments::{Explain, Format};
use super::question::{Answer, Books, Question};
use super::{json, text};

/// Explains the call of the command line, or every line of a file.
pub(crate) fn explain(arguments: &Explain) -> anyhow::Result<()> {
    let resources = arguments.config.as_deref().map(crate::check::resources).transpose()?;
    let mut books = Books::new(resources);
    let mut out = std::io::stdout().lock();
    let Some(file) = &arguments.calls else {
        let answer = Question::of(arguments)?.answer(&mut books)?;
        match arguments.format {
            Format::Text => write!(out, "{}", text::explanation(&answer))?,
            Format::Json => writeln!(out, "{:#}", json::explanation(&answer))?,
        }
        return Ok(());
    };
    for (number, line) in lines(file)?.enumerate() {
        let place = || format!("{}, line {}", file.display(), number + 1);
        let line = line.with_context(place)?;
        if line.trim().is_empty() {
            continue;
        }
        let question: Question = serde_json::from_str(&line).with_context(place)?;
        let answer: Answer = question.answer(&mut books).with_context(place)?;
        match arguments.format {
            Format::Text => writeln!(out, "{}", text::explanation(&answer))?,
            Format::Json => writeln!(out, "{}", json::explanation(&answer))?,
        }
    }
    Ok(())
}

fn lines(file: &Path) -> anyhow::Result<Box<dyn Iterator<Item = std::io::Result<String>>>> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin()).lines()));
    }
    let file = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Box::new(BufReader::new(file).lines()))
}
