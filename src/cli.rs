//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tollgate_query_api::Format;

use crate::prices::arguments::Prices;

/// An AI gateway whose ledger finance can close the books on.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the gateway: one process, everything embedded
    Serve(Serve),
    /// Runs the gateway with a configuration made for trying it out
    ///
    /// The providers are those whose key is set in OPENAI_API_KEY or ANTHROPIC_API_KEY; if neither is, a simulator.
    Quickstart(Quickstart),
    /// Checks a configuration, and prints everything that is wrong with it
    Check(Check),
    /// Runs SQL over the recorded calls
    Sql(Sql),
    /// Prints a report
    #[command(subcommand)]
    Report(Report),
    /// Adds the history of another gateway to the recorded calls
    ///
    /// A row that is there already is not added again, so a file may be imported twice, and an import that was cut off be repeated.
    /// No gateway may run on the data directory meanwhile.
    Import(Import),
    /// Explains, imports, compares and checks prices
    #[command(subcommand)]
    Prices(Prices),
    /// Rates calls of a period again by a version of a price list, and records the difference as corrections
    ///
    /// Nothing is changed: each correction is two rows, one that takes back what stood and one that books what holds. A call that stands as
    /// the list has it is not corrected, so it may be run twice, and one that was cut off be repeated. With --dry-run, prints the difference
    /// by team and model, also while a gateway runs; without, no gateway may run on the data directory.
    Rerate(Rerate),
    /// Shows what budgets rest on
    #[command(subcommand)]
    Budget(Budget),
    /// Shows how the exporters of a running gateway stand, and tells them what to do
    #[command(subcommand)]
    Exporter(ExporterCommand),
    /// Tells what budgets and rate limits would have refused of the calls that were recorded
    ///
    /// Every Budget and RateLimit of FILE is tried, alone; none of them need be in force. Calls count as what they came to, and one that would
    /// have been refused spends nothing. Nothing is changed, and a gateway may run meanwhile.
    Backtest(Backtest),
    /// Makes a damaged write-ahead log whole, and says what is missing
    Repair(Repair),
    /// Runs a simulator of OpenAI and Anthropic, for tests and benchmarks
    Simulate(Simulate),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Configuration: a YAML file, or a folder of them
    #[arg(long, default_value = "tollgate.yaml", value_name = "FILE|DIR")]
    pub(crate) config: PathBuf,
    /// Data directory
    #[arg(long, default_value = "data", value_name = "DIR")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// Data directory
    #[arg(long, default_value = "data", value_name = "DIR")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Configuration: a YAML file, or a folder of them
    #[arg(long, default_value = "tollgate.yaml", value_name = "FILE|DIR")]
    pub(crate) config: PathBuf,
}

/// Where the rows are: a data directory, or a server.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Data directory; if a gateway runs on it, that gateway is asked
    #[arg(long, default_value = "data", value_name = "DIR", conflicts_with = "url")]
    pub(crate) data: PathBuf,
    /// A gateway's controller address, such as http://127.0.0.1:9090
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Token for --url
    #[arg(long, value_name = "TOKEN", env = "TOLLGATE_ADMIN_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Table location, if it is not in the data directory: file:PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    ///
    /// An object store is reached with the credentials of the environment, such as AWS_ACCESS_KEY_ID.
    #[arg(long, value_name = "LOCATION", conflicts_with_all = ["url", "config"])]
    pub(crate) table: Option<String>,
    /// The gateway's configuration, which says where its table is and how it is reached
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "url")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Sql {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Output: table, json, ndjson, csv, arrow or parquet
    #[arg(long, default_value = "table")]
    pub(crate) format: Format,
    /// The statement, such as "SELECT team, sum(cost) FROM usage GROUP BY team"
    pub(crate) statement: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Report {
    /// A month's calls, tokens and cost by columns of your choice
    Chargeback(Chargeback),
}

#[derive(Debug, Args)]
pub(crate) struct Chargeback {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Month, such as 2026-11
    #[arg(long, value_name = "YYYY-MM")]
    pub(crate) month: String,
    /// Columns of table usage, or tags.NAME, with commas between them
    #[arg(long, default_value = "team", value_name = "COLUMNS")]
    pub(crate) by: String,
    /// Time zone of the month, such as Europe/Berlin
    #[arg(long, default_value = "UTC", value_name = "ZONE")]
    pub(crate) timezone: String,
    /// Output: table, json, csv or parquet
    #[arg(long, default_value = "table")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// Data directory, on which no gateway runs
    #[arg(long, default_value = "data", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Table location, if it is not in the data directory: file:PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, value_name = "LOCATION", conflicts_with = "config")]
    pub(crate) table: Option<String>,
    /// The gateway's configuration, which says where its table is and how it is reached
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) config: Option<PathBuf>,
    /// Says what is wrong, and changes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// What the file is: litellm-spendlogs, openrouter-activity or csv
    #[arg(long)]
    pub(crate) format: tollgate_import::Format,
    /// Data directory
    #[arg(long, default_value = "data", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Table location, if it is not in the data directory: file:PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, value_name = "LOCATION", conflicts_with = "config")]
    pub(crate) table: Option<String>,
    /// The gateway's configuration, which says where its table is and how it is reached
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) config: Option<PathBuf>,
    /// A column of the file by its name in table usage, or by none to leave it out; with --format csv
    #[arg(long, value_name = "THEIRS=OURS", value_parser = renaming)]
    pub(crate) map: Vec<(String, String)>,
    /// Name of the system that the file is from: tells its request ids from those of another; the format's name if it is not given
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Reads and reports, and adds nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The file; - is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Rerate {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Start of the period, such as 2026-11-01 or 2026-11-01T12:00:00Z; UTC if no zone is told
    #[arg(long, value_name = "TIME")]
    pub(crate) from: String,
    /// End of the period; calls that began at this instant are not in it
    #[arg(long, value_name = "TIME")]
    pub(crate) to: String,
    /// Only calls of this provider; the list is used for them whatever provider or template it names
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// Only calls that this model answered, or was asked for
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Version of a price list, as in column price_version of table prices, or several with + between them; a list's name is its version in force
    #[arg(long, value_name = "VERSION")]
    pub(crate) price_version: String,
    /// Prints what would be corrected, and changes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Output of --dry-run: table, json, ndjson, csv, arrow or parquet
    #[arg(long, default_value = "table")]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Budget {
    /// Prints the query that a budget's counter rests on, and what it answers
    ///
    /// The window is that of now, or of --at. The budget is read from the configuration, so it need not be in force.
    Prove(Prove),
}

#[derive(Debug, Args)]
pub(crate) struct Prove {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The configuration that declares the budget; --config does, too, if the gateway's is named anyway
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) rules: Option<PathBuf>,
    /// A value of what the budget is kept apart by, such as user_id=ann; what is not named is null
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = renaming)]
    pub(crate) per: Vec<(String, String)>,
    /// An instant of the window
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// The calls that the budget refused in the window instead
    #[arg(long)]
    pub(crate) refusals: bool,
    /// Output: table, json, ndjson, csv, arrow or parquet
    #[arg(long, default_value = "table")]
    pub(crate) format: Format,
    /// Name of the budget
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExporterCommand {
    /// How all of them stand: table exports
    Status(ExporterStatus),
    /// The rows that a far side will never take: table dead_letters
    Dead(DeadLetters),
    /// Forgets an exporter's dead letters
    ClearDead(OneExporter),
    /// Ends delivery until it is resumed, also over a restart
    Pause(OneExporter),
    /// Goes on, at once
    Resume(OneExporter),
    /// What would be sent next; nothing is sent
    Preview(OneExporter),
    /// Goes on from elsewhere: what was delivered behind that is delivered again, what is before it is passed over
    Reset(ResetExporter),
    /// Delivers the calls of a period once more, beside what is being delivered
    Replay(ReplayExporter),
}

#[derive(Debug, Args)]
pub(crate) struct ExporterStatus {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Output: table, json, ndjson, csv, arrow or parquet
    #[arg(long, default_value = "table")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Output: table, json, ndjson, csv, arrow or parquet
    #[arg(long, default_value = "table")]
    pub(crate) format: Format,
    /// Name of the exporter
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct OneExporter {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Name of the exporter
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct ResetExporter {
    #[command(flatten)]
    pub(crate) one: OneExporter,
    /// now, beginning, or a time such as 2026-11-01 or 2026-11-01T12:00:00Z
    #[arg(long, value_name = "PLACE")]
    pub(crate) to: String,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayExporter {
    #[command(flatten)]
    pub(crate) one: OneExporter,
    /// Start of the period, such as 2026-11-01 or 2026-11-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) from: String,
    /// End of the period; calls that began at this instant are not in it
    #[arg(long, value_name = "TIME")]
    pub(crate) to: String,
}

#[derive(Debug, Args)]
pub(crate) struct Backtest {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Since when: so long before --until, such as 30d, 12h or 90m, or a time
    #[arg(long, default_value = "30d", value_name = "TIME")]
    pub(crate) since: String,
    /// Until when; now, if it is not named
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Other limits to try beside the one that is declared, in its unit, with commas between them
    #[arg(long, value_name = "AMOUNTS", value_delimiter = ',')]
    pub(crate) limit: Vec<String>,
    /// How many of those whose calls would have been refused are told
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    pub(crate) top: usize,
    /// Output
    #[arg(long, default_value = "table")]
    pub(crate) format: Told,
    /// A YAML file, or a folder of them, with the rules to try
    #[arg(value_name = "FILE")]
    pub(crate) rules: PathBuf,
}

/// How the result of a back-test is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Told {
    /// Columns of text
    Table,
    /// One array, with an object for each rule and limit
    Json,
    /// A line for each rule and limit
    Csv,
}

fn renaming(text: &str) -> Result<(String, String), String> {
    let (theirs, ours) = text.rsplit_once('=').ok_or("has no `=`: write THEIRS=OURS")?;
    Ok((theirs.to_owned(), ours.to_owned()))
}

#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value_t = tollgate_simulator::LISTEN_DEFAULT)]
    pub(crate) listen: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
