//! The `tollgate` binary: the command line, and the wiring of the crates. No logic of its own beyond that.

mod admin;
mod alerts;
mod backtest;
mod check;
mod cli;
mod connect;
mod data;
mod exporters;
mod import;
mod limits;
mod metrics;
mod pool;
mod prices;
mod quickstart;
mod reload;
mod repair;
mod report;
mod rerate;
mod rules;
mod serve;
mod shipped;
mod simulate;
mod sql;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// The request path allocates small and often; this allocator is made for it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads for what takes milliseconds: counting tokens, making columns. More of them would only take memory from each other.
const BLOCKING_THREADS_MAX: usize = 16;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let serves = matches!(cli.command, Command::Serve(_) | Command::Quickstart(_));
    start_log(if serves { "info" } else { "warn" });
    // Both providers of cryptography are in the build, since dependencies differ; this one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = match cli.command {
        Command::Serve(serve) => run(serve::serve(&serve.config, &serve.data, None)),
        Command::Quickstart(quickstart) => run(quickstart::quickstart(&quickstart.data)),
        Command::Check(check) => check::check(&check.config),
        Command::Sql(sql) => run(sql::sql(sql)),
        Command::Report(report) => run(report::report(report)),
        Command::Import(import) => run(import::import(import)),
        Command::Prices(command) => prices::run(&command),
        Command::Rerate(rerate) => run(rerate::rerate(rerate)),
        Command::Budget(cli::Budget::Prove(prove)) => run(rules::prove(prove)),
        Command::Exporter(command) => run(exporters::command::run(command)),
        Command::Backtest(backtest) => run(backtest::backtest(backtest)),
        Command::Repair(repair) => run(repair::repair(repair)),
        Command::Simulate(simulate) => run(simulate::simulate(simulate.listen)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tollgate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// With one thread for the request path there is nothing to share between threads, and the scheduler that shares nothing costs less.
fn run(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let alone = std::env::var("TOKIO_WORKER_THREADS").is_ok_and(|threads| threads.trim() == "1");
    let mut builder = if alone {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = builder
        .thread_name("request")
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(command);
    // Everything that matters has ended; blocking tasks that have not (a file being looked at) are let go.
    runtime.shutdown_background();
    outcome
}

/// The table's library logs as errors what it then returns as errors, and what it handles: only the returned ones are heard.
fn start_log(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("{level},deltalake_core=warn,buoyant_kernel=off")));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .init();
}
