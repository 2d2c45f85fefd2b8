//! Signatures as Standard Webhooks 1.0 defines them (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md, symmetric scheme `v1`):
//! HMAC-SHA256 of `id.timestamp.body`, in base64, one for each secret so that secrets can be rotated.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// Bytes that a secret has, at least and at most.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that the far side knows too. It does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

/// The text is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a webhook secret is `whsec_` and 24 to 64 bytes in base64")]
pub struct SecretError;

// === impl SigningSecret ===

impl SigningSecret {
    /// Reads `whsec_...`.
    ///
    /// # Errors
    /// [`SecretError`], which does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let bytes = STANDARD
            .decode(text.strip_prefix(PREFIX).ok_or(SecretError)?)
            .map_err(|_| SecretError)?;
        if SECRET_BYTES.contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(SecretError)
        }
    }

    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret")
    }
}

/// The value of `webhook-signature`: a signature by each secret, with spaces between them.
pub(crate) fn header(secrets: &[SigningSecret], id: &str, timestamp: i64, body: &[u8]) -> String {
    secrets
        .iter()
        .map(|secret| secret.sign(id, timestamp, body))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_reference_libraries() {
        // The example of the specification's own libraries (libraries/javascript/src/index.test.ts and the others).
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = header(
            &[secret],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_secret_signs_so_that_they_can_be_rotated() {
        let secrets = [SigningSecret(vec![1; 24]), SigningSecret(vec![2; 24])];
        let signed = header(&secrets, "msg", 1, b"{}");
        let each: Vec<_> = secrets.iter().map(|secret| secret.sign("msg", 1, b"{}")).collect();
        assert_eq!(signed.split(' ').collect::<Vec<_>>(), each);
        assert_ne!(each[0], each[1]);
    }

    #[test]
    fn what_is_no_secret_is_refused_and_never_printed() {
        for text in [
            "",
            "whsec_",
            "whsec_MfKQ9r8GKYqr",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_\u{e4}",
        ] {
            assert_eq!(SigningSecret::parse(text), Err(SecretError), "{text}");
        }
        assert_eq!(format!("{:?}", SigningSecret(vec![77; 24])), "SigningSecret");
    }
}
