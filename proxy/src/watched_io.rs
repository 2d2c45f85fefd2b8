//! A client's socket that notes in its [`Activity`] what passes. Changes nothing of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::activity::Activity;

/// How a connection of HTTP/2 begins (RFC 9113, section 3.4); no method of HTTP/1 does.
const HTTP2_PREFACE_START: &[u8] = b"PRI";

pub(crate) struct WatchedIo<T> {
    inner: T,
    activity: Arc<Activity>,
    has_read: bool,
}

impl<T> WatchedIo<T> {
    pub(crate) const fn new(inner: T, activity: Arc<Activity>) -> Self {
        Self {
            inner,
            activity,
            has_read: false,
        }
    }

    fn noted<R>(&self, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        self.activity.wrote(written.is_pending());
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WatchedIo<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if !fresh.is_empty() {
            if !self.has_read {
                self.has_read = true;
                if fresh.starts_with(HTTP2_PREFACE_START) {
                    self.activity.is_multiplexed();
                }
            }
            self.activity.bytes_read();
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WatchedIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.noted(written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        if flushed.is_pending() { self.noted(flushed) } else { flushed }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(cx);
        if shut.is_pending() { self.noted(shut) } else { shut }
    }
}
