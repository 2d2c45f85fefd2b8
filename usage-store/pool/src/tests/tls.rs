//! TLS, with the system's certificates: those are told by the environment, so a process of its own is asked.

use std::net::TcpListener;
use std::process::Command;

use super::config;
use super::server::Server;
use crate::Error;
use crate::link::Link;

const ADDRESS: &str = "TOLLGATE_TEST_POOL";

#[test]
fn a_server_is_spoken_to_over_tls_if_its_certificate_is_trusted() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let _server = Server::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key,
        "--tls-auth-clients",
        "no",
    ]);
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let untrusting = folder.path().join("other.pem");
    std::fs::write(&untrusting, other.cert.pem()).unwrap();
    for (trusted, outcome) in [(certificate, "answered"), (untrusting.to_str().unwrap(), "not connected")] {
        let told = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::tls::alone", "--ignored", "--nocapture"])
            .env("SSL_CERT_FILE", trusted)
            .env(ADDRESS, format!("rediss://localhost:{port}"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&told.stdout);
        assert!(
            told.status.success() && said.contains(outcome),
            "{said}{}",
            String::from_utf8_lossy(&told.stderr)
        );
    }
}

#[tokio::test]
#[ignore = "the test above runs it, with an environment of its own"]
async fn alone() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = config(&std::env::var(ADDRESS).unwrap(), "gw", 0);
    match Link::connect(&config).await {
        Ok(mut link) => {
            assert_eq!(link.ask(&config, "", &[]).await.unwrap().live, 1);
            println!("answered");
        }
        Err(error @ Error::Connect { .. }) => println!("not connected: {error}"),
        Err(error) => panic!("{error}"),
    }
}
