//! A receiver of OTLP on loopback: gRPC by tonic's server with the official message types, and HTTP with protobuf bodies.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tonic::codec::CompressionEncoding;
use tonic::server::UnaryService;
use tonic_prost::ProstCodec;

/// What the receiver answers next.
pub(super) enum Reply {
    /// It refuses some items, in words.
    Partial(i64, &'static str),
    /// A gRPC status.
    Grpc(tonic::Status),
    /// An HTTP status.
    Http(u16),
}

/// What came in, in order.
#[derive(Default)]
pub(super) struct Receiver {
    pub(super) traces: Mutex<Vec<ExportTraceServiceRequest>>,
    pub(super) logs: Mutex<Vec<ExportLogsServiceRequest>>,
    pub(super) metrics: Mutex<Vec<ExportMetricsServiceRequest>>,
    pub(super) headers: Mutex<Vec<HeaderMap>>,
    pub(super) replies: Mutex<VecDeque<Reply>>,
}

/// A message of OTLP: where it is kept, and how it is answered.
pub(super) trait Export: Message + Default + 'static {
    type Answer: Message + Default + 'static;

    fn keep(self, receiver: &Receiver);
    fn answer(partial: Option<(i64, &str)>) -> Self::Answer;
}

struct Service(Arc<Receiver>);

// === impl Receiver ===

impl Receiver {
    /// Starts it; its URL.
    pub(super) async fn start(self: &Arc<Self>, tls: Option<TlsAcceptor>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
        let receiver = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&receiver).connection(stream, tls.clone()));
            }
        });
        url
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let service = service_fn(move |request| Arc::clone(&self).call(request));
        // A connection that is broken off, as by a client that does not trust the certificate, is no failure of the receiver.
        match tls {
            None => drop(
                Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            ),
            Some(tls) => {
                let Ok(stream) = tls.accept(stream).await else { return };
                drop(
                    Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
            }
        }
    }

    async fn call(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<tonic::body::Body>, Infallible> {
        self.headers.lock().unwrap().push(request.headers().clone());
        Ok(match request.uri().path() {
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => self.grpc::<ExportTraceServiceRequest>(request).await,
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => self.grpc::<ExportLogsServiceRequest>(request).await,
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => {
                self.grpc::<ExportMetricsServiceRequest>(request).await
            }
            "/base/v1/traces" => self.http::<ExportTraceServiceRequest>(request).await,
            "/base/v1/logs" => self.http::<ExportLogsServiceRequest>(request).await,
            "/base/v1/metrics" => self.http::<ExportMetricsServiceRequest>(request).await,
            _ => Response::builder().status(404).body(tonic::body::Body::empty()).unwrap(),
        })
    }

    async fn grpc<E: Export>(self: Arc<Self>, request: Request<Incoming>) -> Response<tonic::body::Body> {
        let codec = ProstCodec::<E::Answer, E>::default();
        let mut grpc = tonic::server::Grpc::new(codec).accept_compressed(CompressionEncoding::Gzip);
        grpc.unary(Service(self), request).await
    }

    async fn http<E: Export>(self: Arc<Self>, request: Request<Incoming>) -> Response<tonic::body::Body> {
        assert_eq!(request.headers()[header::CONTENT_TYPE], "application/x-protobuf");
        let compressed = request
            .headers()
            .get(header::CONTENT_ENCODING)
            .is_some_and(|encoding| encoding == "gzip");
        let mut body = request.into_body().collect().await.unwrap().to_bytes();
        if compressed {
            let mut plain = Vec::new();
            GzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
            body = plain.into();
        }
        let message = E::decode(body).unwrap();
        let reply = self.replies.lock().unwrap().pop_front();
        let (status, partial) = match reply {
            Some(Reply::Http(status)) => (status, None),
            Some(Reply::Partial(count, words)) => (200, Some((count, words))),
            Some(Reply::Grpc(_)) => panic!("a gRPC status over HTTP"),
            None => (200, None),
        };
        if status == 200 {
            message.keep(&self);
        }
        let answer = Bytes::from(E::answer(partial).encode_to_vec());
        Response::builder()
            .status(status)
            .body(tonic::body::Body::new(Full::new(answer)))
            .unwrap()
    }
}

impl<E: Export> UnaryService<E> for Service {
    type Response = E::Answer;
    type Future = std::future::Ready<Result<tonic::Response<E::Answer>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<E>) -> Self::Future {
        let reply = self.0.replies.lock().unwrap().pop_front();
        std::future::ready(match reply {
            Some(Reply::Grpc(status)) => Err(status),
            Some(Reply::Http(_)) => panic!("an HTTP status over gRPC"),
            Some(Reply::Partial(count, words)) => {
                request.into_inner().keep(&self.0);
                Ok(tonic::Response::new(E::answer(Some((count, words)))))
            }
            None => {
                request.into_inner().keep(&self.0);
                Ok(tonic::Response::new(E::answer(None)))
            }
        })
    }
}

impl Export for ExportTraceServiceRequest {
    type Answer = ExportTraceServiceResponse;

    fn keep(self, receiver: &Receiver) {
        receiver.traces.lock().unwrap().push(self);
    }

    fn answer(partial: Option<(i64, &str)>) -> Self::Answer {
        let partial_success = partial.map(|(count, words)| ExportTracePartialSuccess {
            rejected_spans: count,
            error_message: words.to_owned(),
        });
        ExportTraceServiceResponse { partial_success }
    }
}

impl Export for ExportLogsServiceRequest {
    type Answer = ExportLogsServiceResponse;

    fn keep(self, receiver: &Receiver) {
        receiver.logs.lock().unwrap().push(self);
    }

    fn answer(partial: Option<(i64, &str)>) -> Self::Answer {
        let partial_success = partial.map(|(count, words)| ExportLogsPartialSuccess {
            rejected_log_records: count,
            error_message: words.to_owned(),
        });
        ExportLogsServiceResponse { partial_success }
    }
}

impl Export for ExportMetricsServiceRequest {
    type Answer = ExportMetricsServiceResponse;

    fn keep(self, receiver: &Receiver) {
        receiver.metrics.lock().unwrap().push(self);
    }

    fn answer(_: Option<(i64, &str)>) -> Self::Answer {
        ExportMetricsServiceResponse::default()
    }
}
