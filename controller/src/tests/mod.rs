//! Configurations, good and bad, as users write them.

mod alerts;
mod bad;
mod exporters;
mod good;
mod hostile;
mod places;
mod reference;
mod rules;

use std::path::Path;

use crate::{Problems, Resources};

/// The environment of every test.
fn environment(name: &str) -> Option<String> {
    match name {
        "OPENAI_API_KEY" => Some("sk-live-0123456789".to_owned()),
        "ANTHROPIC_API_KEY" => Some("sk-ant-0123456789".to_owned()),
        "ADS_BOT_KEY" => Some("tg-ads-bot-0123456789".to_owned()),
        "AZURE_OPENAI_API_KEY" | "GEMINI_API_KEY" | "MISTRAL_API_KEY" | "XAI_API_KEY" | "ACME_API_KEY" => {
            Some("key-0123456789".to_owned())
        }
        "AWS_ACCESS_KEY_ID" => Some("AKIDEXAMPLE".to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some("aws-0123456789".to_owned()),
        "LEDGER_KEY_ID" => Some("AKIAEXAMPLE".to_owned()),
        "BATCH_SECRET_ACCESS_KEY" => Some("0123456789/abcdef+0123456789abcd".to_owned()),
        "MOESIF_APPLICATION_ID" => Some("moesif-0123456789".to_owned()),
        "WEBHOOK_SECRET" => Some("whsec-0123456789".to_owned()),
        "ALERT_SECRET" => Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
        "ALERT_SECRET_NEW" => Some("whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB".to_owned()),
        "SHORT" => Some("secret5".to_owned()),
        "NOT_A_URL" => Some("secret value".to_owned()),
        "ROWS" => Some("1000".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// Loads a text as `tollgate.yaml`, in a folder with a certificate, its key, and files that are neither.
fn load(text: &[u8]) -> Result<Resources, Problems> {
    let folder = folder();
    let path = folder.path().join("tollgate.yaml");
    std::fs::write(&path, text).expect("a temporary folder can be written");
    crate::load(&path, &environment)
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a name that is valid");
    let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).expect("it can be written");
    write("cert.pem", &certified.cert.pem());
    write("key.pem", &certified.signing_key.serialize_pem());
    write("broken.pem", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
    write("secret", "sk-file-0123456789\n");
    write("vertex-token", "ya29-0123456789\n");
    folder
}

fn lines(result: Result<Resources, Problems>) -> Vec<String> {
    match result {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// The folder that the shipped price lists are in.
fn prices() -> std::path::PathBuf {
    // Tests run in the folder of their package; a path from compile time may be that of another checkout.
    Path::new("../usage-store/prices").to_owned()
}

/// The folder that the shipped limits of models are in.
fn limits() -> std::path::PathBuf {
    Path::new("../usage-store/limits").to_owned()
}
