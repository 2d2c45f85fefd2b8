//! gRPC over what [`super::receiver`] accepts: the same acts, said by gRPC's statuses.

use std::convert::Infallible;
use std::io::Read;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use flate2::read::GzDecoder;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::HeaderMap;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::receiver::{Act, Request, Response, Server};

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// Serves a connection until the client goes, or an act cuts it.
pub(super) async fn serve(server: Arc<Server>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let cut = CancellationToken::new();
    let service = service_fn(|request| call(Arc::clone(&server), request, cut.clone()));
    let builder = Builder::new(TokioExecutor::new());
    tokio::select! {
        // A connection that the client breaks off is no failure of the far side.
        _ = builder.serve_connection(TokioIo::new(stream), service) => {}
        () = cut.cancelled() => {}
    }
}

async fn call(
    server: Arc<Server>,
    request: http::Request<Incoming>,
    cut: CancellationToken,
) -> Result<http::Response<Body>, Infallible> {
    let request = read(request).await;
    Ok(match server.act(&request) {
        None => answer(&(server.handler)(&request), false),
        Some(Act::Answer(response)) => answer(&response, false),
        Some(Act::Slow) => answer(&(server.handler)(&request), true),
        Some(Act::Hang) => {
            // Until the client resets the stream.
            let _hung = server.clock.hung();
            std::future::pending().await
        }
        Some(act @ (Act::Cut | Act::TakeAndCut)) => {
            if matches!(act, Act::TakeAndCut) {
                drop((server.handler)(&request));
            }
            cut.cancel();
            std::future::pending().await
        }
        Some(Act::Garbage) => response(HeaderMap::new(), vec![Frame::data(Bytes::from_static(b"<html>"))]),
    })
}

/// A request whose message is out of its frame.
async fn read(request: http::Request<Incoming>) -> Request {
    let (parts, body) = request.into_parts();
    let framed = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let mut body = Vec::new();
    match framed.split_at_checked(5) {
        Some(([0, ..], message)) => body.extend_from_slice(message),
        Some(([1, ..], message)) => drop(GzDecoder::new(message).read_to_end(&mut body).unwrap()),
        // The client broke off.
        _ => {}
    }
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    Request {
        path: parts.uri.path().to_owned(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body,
    }
}

fn answer(said: &Response, slowly: bool) -> http::Response<Body> {
    let mut status = HeaderMap::new();
    let code = match said.status {
        200 => "0",
        400 => "3",
        401 => "16",
        429 => "8",
        503 => "14",
        other => panic!("{other} has no code here"),
    };
    status.insert("grpc-status", code.parse().unwrap());
    if code != "0" {
        status.insert("grpc-message", String::from_utf8_lossy(&said.body).parse().unwrap());
        if let Some((_, seconds)) = said.headers.iter().find(|(name, _)| *name == "retry-after") {
            status.insert(
                "grpc-status-details-bin",
                retry_info(seconds.parse().unwrap()).parse().unwrap(),
            );
        }
        // "Trailers-Only": the status is among the headers.
        return response(status, Vec::new());
    }
    let length = u32::try_from(said.body.len()).unwrap().to_be_bytes();
    let message = [&[0][..], &length, &said.body].concat();
    let pieces: Vec<_> = if slowly {
        message.chunks(1).map(Bytes::copy_from_slice).collect()
    } else {
        vec![message.into()]
    };
    let frames = pieces.into_iter().map(Frame::data);
    response(HeaderMap::new(), frames.chain([Frame::trailers(status)]).collect())
}

fn response(headers: HeaderMap, frames: Vec<Frame<Bytes>>) -> http::Response<Body> {
    let frames = stream::iter(frames).then(async |frame| {
        tokio::task::yield_now().await;
        Ok(frame)
    });
    let mut response = http::Response::new(StreamBody::new(frames.boxed()));
    *response.headers_mut() = headers;
    response
        .headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    response
}

/// `google.rpc.Status` with a `google.rpc.RetryInfo`, byte by byte as protobuf writes them: every length is below 128 and so one byte.
fn retry_info(seconds: u8) -> String {
    assert!(seconds < 128, "{seconds} is more than one byte of a varint");
    let field = |number: u8, content: &[u8]| [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat();
    let info = field(1, &[1 << 3, seconds]);
    let any = [field(1, b"type.googleapis.com/google.rpc.RetryInfo"), field(2, &info)].concat();
    STANDARD_NO_PAD.encode([&[1 << 3, 8][..], &field(3, &any)].concat())
}
