//! Serves one client connection: HTTP/1.1 or HTTP/2, whichever its first bytes say, under the watch of its [`Activity`].

use std::pin::pin;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::activity::{self, Activity, Verdict};
use crate::body::AnswerBody;
use crate::call;
use crate::gateway::Shared;
use crate::presence::{Exchange, Presence};
use crate::received::Received;
use crate::stream_watch::StreamExecutor;
use crate::watched_io::WatchedIo;

/// HTTP/2 windows towards clients, in bytes: of a stream and of a connection. They bound what prompts can pile up unread.
const HTTP2_WINDOWS: (u32, u32) = (1024 * 1024, 4 * 1024 * 1024);
/// What hyper buffers of an HTTP/2 stream that its client does not read, in bytes.
const HTTP2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Up to this many headers hyper parses without allocating.
const HYPER_HEADER_COUNT: usize = 100;
/// Smallest read buffer that hyper accepts, in bytes.
const HYPER_BUFFER_BYTES_MIN: usize = 8192;
/// The part of hyper's own limits on the head beyond ours, so that ours can answer with a code: hyper's answers have none.
const HEAD_MARGIN: usize = 2;

/// How connections are served.
pub(crate) struct Connections {
    shared: Arc<Shared>,
    http: auto::Builder<StreamExecutor>,
}

/// The service of one connection.
struct Door {
    shared: Arc<Shared>,
    is_tls: bool,
    activity: Arc<Activity>,
}

impl Connections {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let limits = &shared.limits;
        let mut http = auto::Builder::new(StreamExecutor {
            stall: limits.client_stall,
            tasks: shared.connections.clone(),
        });
        let head_bytes = limits.header_bytes_max.saturating_mul(HEAD_MARGIN);
        {
            let mut http1 = http.http1();
            // The watchdog below bounds heads and idle connections without a timer for each request.
            http1
                .header_read_timeout(None)
                .max_buf_size(head_bytes.max(HYPER_BUFFER_BYTES_MIN));
            if limits.header_count_max > HYPER_HEADER_COUNT {
                http1.max_headers(limits.header_count_max);
            }
        }
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.http2_streams_max)
            .initial_stream_window_size(HTTP2_WINDOWS.0)
            .initial_connection_window_size(HTTP2_WINDOWS.1)
            .max_send_buf_size(HTTP2_SEND_BUFFER_BYTES)
            .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(limits.http2_ping_interval)
            .keep_alive_timeout(limits.http2_ping_timeout);
        Self {
            shared: Arc::clone(shared),
            http,
        }
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Serves a connection to its end.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection; its calls go on and settle in tasks of their own.
    pub(crate) async fn serve<T>(&self, socket: T, is_tls: bool)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = &self.shared;
        let activity = Arc::new(Activity::new());
        let io = TokioIo::new(WatchedIo::new(socket, Arc::clone(&activity)));
        let door = Door {
            shared: Arc::clone(shared),
            is_tls,
            activity: Arc::clone(&activity),
        };
        // Tokens of its own: waiting on those of all connections would take their lock in every poll.
        let (stop, cut) = (shared.stop.child_token(), shared.cut.child_token());
        let period = activity::period(&shared.limits);
        let mut connection = pin!(self.http.serve_connection(io, door));
        // The cut comes after the stop, so only one of them is waited for at a time.
        let mut signal = pin!(stop.cancelled());
        let mut stopped = false;
        let mut watchdog = pin!(tokio::time::sleep(period));
        let mut retiring = false;
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "lost a connection");
                    }
                    return;
                }
                () = signal.as_mut() => {
                    if stopped {
                        return;
                    }
                    stopped = true;
                    signal.set(cut.cancelled());
                    if !retiring {
                        retiring = true;
                        connection.as_mut().graceful_shutdown();
                    }
                }
                () = watchdog.as_mut() => {
                    match activity.verdict(&shared.limits) {
                        Verdict::Keep => {}
                        Verdict::Retire if !retiring => {
                            retiring = true;
                            connection.as_mut().graceful_shutdown();
                        }
                        // It was asked to go and has had a period to do so.
                        Verdict::Retire => return,
                        Verdict::Cut(reason) => {
                            tracing::info!(reason, "cut off a connection");
                            return;
                        }
                    }
                    watchdog.as_mut().reset(tokio::time::Instant::now() + period);
                }
            }
        }
    }
}

impl Service<Request<Incoming>> for Door {
    type Response = Response<AnswerBody>;
    type Error = std::convert::Infallible;
    type Future = Exchange;

    fn call(&self, request: Request<Incoming>) -> Exchange {
        let flight = self.activity.begin(&self.shared.open);
        let presence = Presence::default();
        let received = Received::new(Arc::clone(&self.shared), presence.clone(), request, self.is_tls);
        let call = Box::pin(call::answer(received));
        Exchange::new(call, presence, flight, self.shared.calls.clone(), self.shared.runtime.clone())
    }
}
