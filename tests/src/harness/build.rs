//! Where the programs are: the gateway's binary, built here, and the counterparts that tests/setup.sh installed.

use std::path::PathBuf;

use serde_json::Value;
use tokio::process::Command;

/// The gateway's binary, as the sources stand now.
///
/// Cargo does not tell one package where another's binary is, and does not build it for `cargo test`; so cargo is asked to build it. With the same
/// selection of packages and targets as `cargo test --workspace`, so that features unify alike and nothing is compiled a second time.
/// `TOLLGATE_BIN` names another binary instead, for instance an optimised one.
///
/// # Errors
/// What the compiler says.
pub(crate) async fn gateway() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("TOLLGATE_BIN") {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = [
        "build",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--message-format",
        "json-render-diagnostics",
    ];
    let mut command = Command::new(cargo);
    command
        .args(arguments)
        .current_dir(crate::harness::here(".."))
        .kill_on_drop(true);
    // What cargo tells this test about its own package: ring's build script watches some of it, and would rebuild most of the tree.
    let ours = |name: &str| {
        [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_CRATE_",
            "CARGO_BIN_",
            "CARGO_PRIMARY_",
        ]
        .iter()
        .any(|of| name.starts_with(of))
    };
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    let built = command.output().await;
    let built = built.map_err(|error| format!("cannot run cargo: {error}"))?;
    if !built.status.success() {
        return Err(format!(
            "the gateway does not build:\n{}",
            String::from_utf8_lossy(&built.stderr)
        ));
    }
    let messages = String::from_utf8_lossy(&built.stdout);
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    artifacts
        .filter(|message| message["target"]["name"] == "tollgate" && message["target"]["kind"][0] == "bin")
        .find_map(|message| {
            message["profile"]["test"]
                .eq(&false)
                .then(|| message["executable"].as_str().map(PathBuf::from))?
        })
        .ok_or_else(|| "cargo built no binary called `tollgate`".to_owned())
}

/// The counterparts.
#[derive(Clone, Debug)]
pub(crate) struct Counterparts {
    /// Python with the SDKs and the table readers.
    pub(crate) python: PathBuf,
    /// The folder with the npm packages.
    pub(crate) node_modules: PathBuf,
}

impl Counterparts {
    /// Asks tests/setup.sh.
    ///
    /// # Errors
    /// That they are not installed, and what to do.
    pub(crate) async fn find() -> Result<Self, String> {
        let output = Command::new(crate::harness::here("setup.sh")).arg("paths").output().await;
        let output = output.map_err(|error| format!("cannot run tests/setup.sh: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let path = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .map(PathBuf::from)
        };
        match (path("python"), path("node_modules")) {
            (Some(python), Some(node_modules)) => Ok(Self { python, node_modules }),
            _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// The Node that the packages need, which is newer than that of many systems.
    pub(crate) fn node(&self) -> PathBuf {
        self.node_modules.join("node/bin/node")
    }

    /// A command of an npm package.
    pub(crate) fn npm(&self, command: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(self.node_modules.join(".bin").join(command));
        command.env("PATH", format!("{}:{path}", self.node_modules.join("node/bin").display()));
        command
    }
}
