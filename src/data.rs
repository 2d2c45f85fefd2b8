//! Files of the data directory that belong to the process rather than to the ledger: the admin token and the addresses.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Bytes of randomness in a token.
const TOKEN_BYTES: usize = 32;
/// Environment variable that takes the place of the file.
const TOKEN_VARIABLE: &str = "TOLLGATE_ADMIN_TOKEN";

/// Where a running gateway listens; `addresses.json` holds it while it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) http: SocketAddr,
    pub(crate) https: Option<SocketAddr>,
    pub(crate) controller: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// Path of the file that holds the token.
pub(crate) fn token_file(data: &Path) -> PathBuf {
    data.join("admin-token")
}

/// The admin token: that of the environment, else that of the file, which is made if it is missing.
pub(crate) fn admin_token(data: &Path) -> anyhow::Result<String> {
    if let Ok(token) = std::env::var(TOKEN_VARIABLE) {
        anyhow::ensure!(
            token.len() >= TOKEN_BYTES,
            "{TOKEN_VARIABLE} has fewer than {TOKEN_BYTES} characters; make it longer"
        );
        return Ok(token);
    }
    let path = token_file(data);
    if let Some(token) = read_token(data)? {
        return Ok(token);
    }
    let mut bytes = [0; TOKEN_BYTES];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| std::io::Read::read_exact(&mut random, &mut bytes))
        .context("cannot read /dev/urandom")?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| writeln!(file, "{token}"))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(token)
}

/// The token in the data directory, if there is one.
pub(crate) fn read_token(data: &Path) -> anyhow::Result<Option<String>> {
    let path = token_file(data);
    match fs::read_to_string(&path) {
        Ok(token) => Ok(Some(token.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

impl Addresses {
    fn path(data: &Path) -> PathBuf {
        data.join("addresses.json")
    }

    /// Says where this process listens, whole or not at all.
    pub(crate) fn publish(&self, data: &Path) -> anyhow::Result<()> {
        let (path, part) = (Self::path(data), data.join("addresses.json.part"));
        let text = serde_json::to_string_pretty(self)?;
        fs::write(&part, text + "\n")
            .and_then(|()| fs::rename(&part, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Where the gateway on this data directory listens.
    pub(crate) fn read(data: &Path) -> anyhow::Result<Self> {
        let path = Self::path(data);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not what a gateway writes", path.display()))
    }

    /// Forgets where this process listened.
    pub(crate) fn withdraw(data: &Path) {
        // A file that stays behind only names a port at which nobody answers.
        let _ = fs::remove_file(Self::path(data));
    }
}
