//! Values that must not be shown, and what is kept of a gateway key instead of the key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

/// A credential. It does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

/// SHA-256 of a gateway key. Keys are random and long, so the hash does not give them away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash([u8; 32]);

/// A PEM file that was read and checked. It does not print its content, which may be a private key.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    path: PathBuf,
    bytes: Arc<[u8]>,
}

/// Counts the certificates of a PEM file.
pub(crate) fn certificates(pem: &[u8]) -> Result<usize, rustls_pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).try_fold(0, |count, certificate| certificate.map(|_| count + 1))
}

// === impl Secret ===

impl Secret {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The credential itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

// === impl KeyHash ===

impl KeyHash {
    /// Hashes a gateway key.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 2 * hash.len() {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |at: usize| pair.get(at).and_then(|digit| char::from(*digit).to_digit(16));
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
        }
        Some(Self(hash))
    }

    /// The hash.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash")
    }
}

// === impl Pem ===

impl Pem {
    pub(crate) fn new(path: PathBuf, bytes: Arc<[u8]>) -> Self {
        Self { path, bytes }
    }

    /// The file it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's content when the configuration was loaded.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_hexadecimal_digits() {
        let empty = "E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(KeyHash::from_hex(empty).unwrap(), KeyHash::of(""));
        for text in ["", "e3b0", &"g".repeat(64), &"\u{fc}".repeat(32)] {
            assert!(KeyHash::from_hex(text).is_none());
        }
    }

    #[test]
    fn secrets_do_not_print_themselves() {
        assert_eq!(
            format!("{:?} {:?}", Secret::new("sk-live"), KeyHash::of("key")),
            "Secret KeyHash"
        );
    }
}
