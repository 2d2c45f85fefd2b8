//! The command line of `tollgate prices`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Prices {
    /// Says what a call costs, by which price of which list, and why
    ///
    /// Without --usage: the price of every meter that the model has.
    Explain(Explain),
    /// Makes price lists of another system's price file
    ///
    /// What could not be taken over is listed on standard error.
    Import(Import),
    /// Says what one version of price lists changes in another; exits with 1 if it changes anything
    Diff(Diff),
    /// Looks for mistakes in price lists: overlaps, gaps, jumps, wrong units; exits with 1 if it finds any
    Check(Check),
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Provider of the configuration, or a template such as openai
    #[arg(long, value_name = "NAME", required_unless_present = "calls")]
    pub(crate) provider: Option<String>,
    /// Model that answered
    #[arg(long, value_name = "NAME", required_unless_present = "calls")]
    pub(crate) model: Option<String>,
    /// Model that was asked for, where that is another
    #[arg(long, value_name = "NAME")]
    pub(crate) request_model: Option<String>,
    /// When the call started: a day in UTC or an instant such as 2026-11-25T12:00:00Z; now, if it is not given
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// What was used, such as '{"input_tokens": 1200, "output_tokens": 300}'
    #[arg(long, value_name = "JSON")]
    pub(crate) usage: Option<String>,
    /// Region whose prices hold
    #[arg(long, value_name = "NAME")]
    pub(crate) region: Option<String>,
    /// Service tier that the provider used, such as flex
    #[arg(long, value_name = "NAME")]
    pub(crate) service_tier: Option<String>,
    /// Organisation that pays
    #[arg(long, value_name = "NAME")]
    pub(crate) org: Option<String>,
    /// Team that pays
    #[arg(long, value_name = "NAME")]
    pub(crate) team: Option<String>,
    /// Many calls: a file with a JSON object a line, whose fields are these options; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["provider", "model", "request_model", "at", "usage", "region", "service_tier", "org", "team"])]
    pub(crate) calls: Option<PathBuf>,
    /// Configuration with price lists and providers of your own; without it the shipped prices alone
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) config: Option<PathBuf>,
    /// Output: text or json (of many calls, an object a line)
    #[arg(long, default_value = "text")]
    pub(crate) format: Format,
}

/// How an explanation is printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// What the file is
    #[arg(long)]
    pub(crate) format: PriceFile,
    /// Writes the list of this provider only, by our name
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// Writes a file a provider into this folder, in place of standard output
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Source that every price names: what the file is, its version and its date; the file's name if it is not given
    #[arg(long, value_name = "TEXT")]
    pub(crate) source: Option<String>,
    /// Day from which prices hold that the file does not date; today, if it is not given
    #[arg(long, value_name = "TIME")]
    pub(crate) effective_from: Option<String>,
    /// The file: LiteLLM's model_prices_and_context_window.json, or genai-prices' data.json
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Formats of other systems' price files.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PriceFile {
    Litellm,
    GenaiPrices,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// Price lists before: a YAML file or a folder of them; other kinds in it are passed over
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,
    /// Price lists after
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// YAML files or folders of them; other kinds in them are passed over
    #[arg(value_name = "FILE|DIR", required = true)]
    pub(crate) files: Vec<PathBuf>,
}
