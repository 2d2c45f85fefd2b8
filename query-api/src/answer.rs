//! What a query gives back: batches as they are made, or the bytes of a format.
//!
//! Invariant: both end with `None` only if everything was delivered. A task that dies, or is cancelled, ends them with an error.

use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use crate::{Error, Format};

/// Rows that are encoded at a time, so that a chunk of wide rows stays small.
const ROWS_ENCODED: usize = 1_024;
/// Chunks that wait for the client.
const CHUNKS_WAITING: usize = 2;

/// One step of a stream that says when it is over.
pub(crate) enum Item<T> {
    Part(T),
    Failed(Error),
    End,
}

/// A stream over a channel whose silent end is an error.
struct Checked<T> {
    items: mpsc::Receiver<Item<T>>,
    over: bool,
}

impl<T> Checked<T> {
    async fn next(&mut self) -> Option<Result<T, Error>> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        self.items.poll_recv(context).map(|item| {
            self.over = !matches!(item, Some(Item::Part(_)));
            match item {
                Some(Item::Part(part)) => Some(Ok(part)),
                Some(Item::Failed(error)) => Some(Err(error)),
                Some(Item::End) => None,
                None => Some(Err(Error::internal("the query's task ended without saying so"))),
            }
        })
    }
}

/// The rows of a query, in batches, as they are made.
///
/// Dropping it cancels the query, and frees its memory and its slot.
pub struct Answer {
    id: u64,
    schema: SchemaRef,
    batches: Checked<RecordBatch>,
    handle: Handle,
    cancel: DropGuard,
}

impl Answer {
    pub(crate) fn new(
        id: u64,
        schema: SchemaRef,
        batches: mpsc::Receiver<Item<RecordBatch>>,
        handle: Handle,
        cancel: DropGuard,
    ) -> Self {
        Self {
            id,
            schema,
            batches: Checked {
                items: batches,
                over: false,
            },
            handle,
            cancel,
        }
    }

    /// Number of the query since the engine started, as the log has it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Names and types of the columns; no two names are equal.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Writes the rows in a format, on the engine's threads.
    ///
    /// # Errors
    /// [`Error::Unencodable`] if the format does not have a column's type.
    pub fn encode(self, format: Format) -> Result<ByteStream, Error> {
        let mut writer = format.writer(&self.schema)?;
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
        let Self {
            mut batches,
            handle,
            cancel,
            ..
        } = self;
        handle.spawn(async move {
            loop {
                let mut bytes = Vec::new();
                let item = match batches.next().await {
                    Some(Ok(batch)) => {
                        for start in (0..batch.num_rows()).step_by(ROWS_ENCODED) {
                            let rows = batch.slice(start, ROWS_ENCODED.min(batch.num_rows() - start));
                            if let Err(error) = writer.write(&rows, &mut bytes) {
                                let _ = sender.send(Item::Failed(error)).await;
                                return;
                            }
                            if !send(&sender, &mut bytes).await {
                                return;
                            }
                        }
                        continue;
                    }
                    Some(Err(error)) => Item::Failed(error),
                    None => match writer.finish(&mut bytes) {
                        Ok(()) if !send(&sender, &mut bytes).await => return,
                        Ok(()) => Item::End,
                        Err(error) => Item::Failed(error),
                    },
                };
                // If nobody listens any more, nobody is to be told.
                let _ = sender.send(item).await;
                return;
            }
        });
        Ok(ByteStream {
            chunks: Checked {
                items: receiver,
                over: false,
            },
            _cancel: cancel,
        })
    }
}

/// Sends what was written, if anything was; false if nobody listens.
async fn send(sender: &mpsc::Sender<Item<Bytes>>, bytes: &mut Vec<u8>) -> bool {
    bytes.is_empty() || sender.send(Item::Part(std::mem::take(bytes).into())).await.is_ok()
}

impl Stream for Answer {
    type Item = Result<RecordBatch, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll(context)
    }
}

/// The bytes of an encoded answer, as they are made.
///
/// After an error the bytes so far are not a whole answer. Dropping it cancels the query.
pub struct ByteStream {
    chunks: Checked<Bytes>,
    _cancel: DropGuard,
}

impl ByteStream {
    /// All bytes at once.
    ///
    /// # Errors
    /// What the query ended with.
    pub async fn collect(mut self) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next().await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all)
    }
}

impl Stream for ByteStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.poll(context)
    }
}
