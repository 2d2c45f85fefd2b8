//! A file as records: its format, its options, and the records one by one.

use std::io::{BufReader, Read};

use tollgate_record::{Name, Record};

use crate::cells::{Cells, Source, is_json};
use crate::draft::Origin;
use crate::problem::{Error, Problem};
use crate::{columns, litellm, openrouter};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// LiteLLM's table `LiteLLM_SpendLogs`, as CSV, JSON lines or a JSON array.
    LitellmSpendlogs,
    /// OpenRouter's activity, a row for each generation, as CSV.
    OpenrouterActivity,
    /// [`crate::COLUMNS`], as CSV, JSON lines or a JSON array.
    Csv,
}

/// How a file is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it is.
    pub format: Format,
    /// Part of each row's identity: two systems whose request ids may be the same need two names. `None` is the format's name.
    pub source: Option<Name>,
    /// Names of columns in the file, and what they are called here; an empty one leaves the column out. [`Format::Csv`] only.
    pub rename: Vec<(String, String)>,
    /// Gateway whose rows they become.
    pub instance: Name,
}

/// The records of a file.
pub struct Rows {
    source: Source,
    format: Format,
    origin: Origin,
    rename: Vec<(String, String)>,
}

// === impl Format ===

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::LitellmSpendlogs, Self::OpenrouterActivity, Self::Csv];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LitellmSpendlogs => "litellm-spendlogs",
            Self::OpenrouterActivity => "openrouter-activity",
            Self::Csv => "csv",
        }
    }

    const fn required(self) -> &'static [&'static str] {
        match self {
            Self::LitellmSpendlogs => litellm::REQUIRED,
            Self::OpenrouterActivity => openrouter::REQUIRED,
            Self::Csv => columns::REQUIRED,
        }
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::LitellmSpendlogs => r#"\copy "LiteLLM_SpendLogs" to 'spend.csv' csv header"#,
            Self::OpenrouterActivity => "it must have a row for each generation, not sums by day or model",
            Self::Csv => "rename the column that holds it with --map theirs=ours",
        }
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|format| format.name() == text);
        found.ok_or_else(|| format!("is none of {names}"))
    }
}

// === impl Rows ===

impl Rows {
    /// Begins to read a file: looks at its first bytes, and at its header if it has one.
    ///
    /// # Errors
    /// [`Error`] if it is no such file.
    pub fn open(input: impl Read + Send + 'static, options: Options) -> Result<Self, Error> {
        let Options {
            format,
            source,
            rename,
            instance,
        } = options;
        let rename = checked(format, rename)?;
        let mut input: BufReader<Box<dyn Read + Send>> = BufReader::with_capacity(1 << 16, Box::new(input));
        let opened = match is_json(&mut input)? {
            None => return Err(Error::Empty),
            Some(true) => Source::json(input),
            Some(false) => Source::csv(Box::new(input), |column| name_of(format, &rename, column))?,
        };
        if let Some(missing) = format.required().iter().find(|column| opened.lacks(column)) {
            return Err(Error::Missing {
                missing,
                format: format.name(),
                hint: format.hint(),
            });
        }
        let source = source.unwrap_or_else(|| Name::new(format.name()).expect("a constant that is a name"));
        Ok(Self {
            source: opened,
            format,
            origin: Origin { source, instance },
            rename,
        })
    }

    fn record(&self, mut cells: Cells) -> Result<Record, Problem> {
        let line = cells.line;
        // A CSV file's columns were renamed when its header was read.
        let renamed = match self.source {
            Source::Csv { .. } => Ok(()),
            Source::Json(_) => cells.rename(|column| name_of(self.format, &self.rename, column)),
        };
        let record = renamed.map_err(|error| error.to_string()).and_then(|()| match self.format {
            Format::LitellmSpendlogs => litellm::record(&cells, &self.origin),
            Format::OpenrouterActivity => openrouter::record(&cells, &self.origin),
            Format::Csv => columns::record(&cells, &self.origin),
        });
        record.map_err(|reason| Problem::Rejected { line, reason })
    }
}

impl Iterator for Rows {
    type Item = Result<Record, Problem>;

    /// The next record, or what stands in its way. After [`Problem::Broken`] there is none.
    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.source.next()? {
            Ok(cells) => self.record(cells),
            Err(problem) => Err(problem),
        })
    }
}

/// Names in lower case, each renaming one that can be followed.
fn checked(format: Format, rename: Vec<(String, String)>) -> Result<Vec<(String, String)>, Error> {
    let mut checked = Vec::new();
    for (theirs, ours) in rename {
        let reason = if format != Format::Csv {
            Some("columns can be renamed with --format csv only")
        } else if !ours.is_empty() && !columns::knows(&ours) {
            Some("there is no such column; docs/import.md lists them")
        } else {
            None
        };
        if let Some(reason) = reason {
            return Err(Error::Map { theirs, ours, reason });
        }
        checked.push((theirs.trim().to_ascii_lowercase(), ours));
    }
    Ok(checked)
}

/// What a column of the file is called here; `None` if it is left out.
fn name_of(format: Format, rename: &[(String, String)], column: &str) -> Result<Option<String>, Error> {
    if format != Format::Csv {
        return Ok(Some(column.to_owned()));
    }
    match rename.iter().find(|(theirs, _)| theirs == column) {
        Some((_, ours)) => Ok((!ours.is_empty()).then(|| ours.clone())),
        None if columns::knows(column) => Ok(Some(column.to_owned())),
        None => Err(Error::Unknown { name: column.to_owned() }),
    }
}
