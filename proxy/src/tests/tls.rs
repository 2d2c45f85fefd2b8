//! TLS on both sides: HTTP/2 and HTTP/1.1 by ALPN towards clients, certificates checked towards upstreams.

use std::path::Path;
use std::sync::Arc;

use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tollgate_codec::Codec;
use tollgate_record::Outcome;

use super::harness::{Setup, Upstream, error_code, openai, provider};
use crate::tls::crypto;

const CHAT: &str = r#"{"model":"m"}"#;

fn certificate(
    dir: &Path,
) -> (
    std::path::PathBuf,
    std::path::PathBuf,
    CertificateDer<'static>,
    PrivateKeyDer<'static>,
) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificates, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&certificates, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    (
        certificates,
        key,
        cert.der().clone(),
        PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap(),
    )
}

#[tokio::test]
async fn clients_choose_their_protocol_by_alpn() {
    let dir = tempfile::tempdir().unwrap();
    let (certificates, key, der, _) = certificate(dir.path());
    let upstream = Upstream::json(StatusCode::OK, "{}").await;
    let mut setup = Setup::new(vec![openai(upstream.addr)]);
    setup.tls = Some((certificates, key));
    let gateway = setup.start().await;

    for (version, h2) in [(http::Version::HTTP_11, false), (http::Version::HTTP_2, true)] {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(der.clone()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(crypto())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only();
        let connector = if h2 {
            connector.enable_http2().build()
        } else {
            connector.enable_http1().build()
        };
        let client: Client<_, Full<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
        let mut request = gateway.chat("/openai/v1/chat/completions", CHAT);
        let port = gateway.tls_addr.unwrap().port();
        *request.uri_mut() = format!("https://localhost:{port}/openai/v1/chat/completions")
            .parse()
            .unwrap();
        let answer = client.request(request).await.unwrap();
        assert_eq!((answer.version(), answer.status()), (version, StatusCode::OK));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "{}");
    }
    assert_eq!(gateway.ledger.rows().len(), 2);
}

/// An upstream with a certificate that no system trusts, which answers with the version it was asked in.
async fn private_upstream(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>, alpn: &[&[u8]]) -> u16 {
    let mut config = rustls::ServerConfig::builder_with_provider(crypto())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(socket).await else { return };
                let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                    let mut answer = super::harness::json(StatusCode::OK, "{}");
                    let version = format!("{:?}", request.version());
                    answer.headers_mut().insert("x-version", version.parse().unwrap());
                    Ok::<_, std::convert::Infallible>(answer)
                });
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    port
}

#[tokio::test]
async fn an_upstream_with_an_untrusted_certificate_is_a_502() {
    let dir = tempfile::tempdir().unwrap();
    let (_, _, der, key) = certificate(dir.path());
    let port = private_upstream(der, key, &[]).await;
    let gateway = Setup::new(vec![provider(
        "openai",
        Codec::openai(),
        &format!("https://localhost:{port}"),
    )])
    .start()
    .await;
    let (head, body) = gateway.call(gateway.chat("/openai/v1/chat/completions", CHAT)).await;
    assert_eq!(
        (head.status, error_code(&body).as_str()),
        (StatusCode::BAD_GATEWAY, "upstream_tls_failed")
    );
    assert_eq!(gateway.ledger.row().await.ending.outcome, Outcome::UpstreamError);
}

#[tokio::test]
async fn a_private_upstream_is_trusted_by_its_own_roots_and_asked_in_what_it_speaks() {
    let cases: [(&[&[u8]], &str); 3] = [
        (&[], "HTTP/1.1"),
        (&[b"http/1.1"], "HTTP/1.1"),
        (&[b"h2", b"http/1.1"], "HTTP/2.0"),
    ];
    for (alpn, version) in cases {
        let dir = tempfile::tempdir().unwrap();
        let (certificates, _, der, key) = certificate(dir.path());
        let port = private_upstream(der, key, alpn).await;
        let mut private = provider("openai", Codec::openai(), &format!("https://localhost:{port}"));
        private.extra_roots = Some(certificates);
        let gateway = Setup::new(vec![private]).start().await;
        let (head, body) = gateway.call(gateway.chat("/openai/v1/chat/completions", CHAT)).await;
        assert_eq!((head.status, &body[..]), (StatusCode::OK, &b"{}"[..]));
        assert_eq!(head.headers["x-version"], version);
        assert_eq!(gateway.ledger.row().await.ending.outcome, Outcome::Ok);
    }
}

#[tokio::test]
async fn files_that_are_no_certificates_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("empty.pem");
    std::fs::write(&path, "nothing").unwrap();
    let mut private = provider("openai", Codec::openai(), "https://localhost");
    private.extra_roots = Some(path);
    let refused = crate::Snapshot::new(vec![private], vec![], None).unwrap_err().to_string();
    assert!(refused.contains("empty.pem: it holds no certificate"), "{refused}");
}
