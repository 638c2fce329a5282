//! The rows of a running query: computed on the threads of queries, taken on those of clients. Whoever takes nothing holds
//! up the query, and nobody else.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use futures::{FutureExt, Stream, StreamExt};
use stratos_types::{Datum, Error, PgType, Result};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::context::StatementContext;
use super::error::{error_from, from_panic};
use super::frugal::Fallback;
use super::interrupt::GiveUpOnDrop;
use super::runtime::Prepared;
use crate::arrow::rows_of;
use crate::ir::OutputColumn;

/// Batches that a query computes before somebody takes them.
const BATCHES_AHEAD: usize = 1;

/// The rows of a statement, in batches whose columns are the statement's output columns in order. Dropping it cancels.
pub struct RowStream {
    columns: Vec<OutputColumn>,
    batches: mpsc::Receiver<Result<RecordBatch>>,
    /// The query; none once its end was seen.
    producer: Option<AbortOnDropHandle<()>>,
    /// For what the query is doing when it is aborted.
    _given_up: Option<GiveUpOnDrop>,
    /// A batch that [`RowStream::next_rows`] has begun, and its next row.
    begun: Option<(RecordBatch, usize)>,
}

impl RowStream {
    /// Starts a plan on the threads of queries.
    pub(super) fn start(
        columns: Vec<OutputColumn>,
        prepared: Prepared,
        fallback: Option<Fallback>,
        statement: &Arc<StatementContext>,
    ) -> RowStream {
        let given_up = Some(GiveUpOnDrop::new(statement));
        RowStream::produced(columns, &statement.runtime.threads(), given_up, |batches| async move {
            let mut fallback = fallback;
            let mut started = prepared.stream();
            drop(prepared);
            loop {
                let mut stream = match started {
                    Ok(stream) => stream,
                    Err(error) => {
                        // Nobody to tell means that nobody waits.
                        let _ = batches.send(Err(error)).await;
                        return;
                    }
                };
                started = loop {
                    let batch = match AssertUnwindSafe(stream.next()).catch_unwind().await {
                        Ok(None) => return,
                        Ok(Some(batch)) => batch.map_err(error_from),
                        Err(panic) => match from_panic(panic.as_ref()) {
                            Some(error) => Err(error),
                            None => resume_unwind(panic),
                        },
                    };
                    match (batch, fallback.take()) {
                        (Err(error), Some(fallback)) if fallback.helps(&error) => {
                            // What the first attempt holds must be free for the second.
                            drop(stream);
                            break fallback.start(&error).await;
                        }
                        (batch, _) => {
                            // Operators that have failed are in no state to go on.
                            let ends = batch.is_err();
                            if batches.send(batch).await.is_err() || ends {
                                return;
                            }
                        }
                    }
                };
            }
        })
    }

    fn produced<F>(
        columns: Vec<OutputColumn>,
        threads: &Handle,
        given_up: Option<GiveUpOnDrop>,
        produce: impl FnOnce(mpsc::Sender<Result<RecordBatch>>) -> F,
    ) -> RowStream
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let producer = Some(AbortOnDropHandle::new(threads.spawn(produce(sender))));
        RowStream { columns, batches, producer, _given_up: given_up, begun: None }
    }

    /// The next batch; none at the end.
    ///
    /// # Errors
    /// As execution's.
    pub async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        self.next().await.transpose()
    }

    /// Up to `max` further rows as Datums; none at the end. Not to be mixed with polling for batches.
    ///
    /// # Errors
    /// As execution's.
    pub async fn next_rows(&mut self, max: usize) -> Result<Option<Vec<Vec<Datum>>>> {
        loop {
            if let Some((batch, start)) = self.begun.take() {
                let rows = max.min(batch.num_rows() - start);
                if rows > 0 {
                    let types: Vec<PgType> = self.columns.iter().map(|c| c.ty.ty).collect();
                    let out = rows_of(&batch.slice(start, rows), &types)?;
                    self.begun = Some((batch, start + rows));
                    return Ok(Some(out));
                }
            }
            match self.next_batch().await? {
                Some(batch) => self.begun = Some((batch, 0)),
                None => return Ok(None),
            }
        }
    }

    /// The output columns.
    pub fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }
}

impl Stream for RowStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(batch) = ready!(self.batches.poll_recv(cx)) {
            return Poll::Ready(Some(batch));
        }
        // No more batches is the end of the rows only if the query came to its end.
        let Some(producer) = &mut self.producer else { return Poll::Ready(None) };
        let ended = ready!(producer.poll_unpin(cx));
        self.producer = None;
        Poll::Ready(ended.err().map(|_| Err(Error::internal("the query ended before its rows did"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> RecordBatch {
        RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()))
    }

    #[tokio::test]
    async fn a_query_that_dies_is_no_end_of_rows() {
        let mut stream = RowStream::produced(Vec::new(), &Handle::current(), None, |batches| async move {
            batches.send(Ok(batch())).await.unwrap();
            panic!("as planned");
        });
        assert!(stream.next_batch().await.unwrap().is_some());
        assert!(stream.next_batch().await.is_err());
        assert!(stream.next_batch().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_query_waits_for_its_reader_and_ends_with_it() {
        let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = sent.clone();
        let mut stream = RowStream::produced(Vec::new(), &Handle::current(), None, |batches| async move {
            while batches.send(Ok(batch())).await.is_ok() {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        stream.next_batch().await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(sent.load(std::sync::atomic::Ordering::Relaxed) <= 1 + BATCHES_AHEAD);
        drop(stream);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(Arc::strong_count(&sent), 1);
    }
}
