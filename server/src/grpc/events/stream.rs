//! From a reader to a stream of messages with a bounded buffer, and the end of a reader that takes nothing.
//!
//! The stream's age, the end on a drain and the caller's deadline are the shell's: it drops the stream.

use crate::domain::event::{Cursor, MAX_CURSOR_BYTES};
use crate::error::ApiError;
use crate::grpc::fields::Fields;
use crate::operations::events::{Delivery, EventSettings, Reader, slow_consumer};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tonic::Status;

/// Messages made for a stream before they are taken.
const MESSAGES_AHEAD: usize = 16;

/// A stream of messages that ends with what its reader ended with.
#[derive(Debug)]
pub struct Outgoing<M> {
    messages: mpsc::Receiver<M>,
    ending: Option<oneshot::Receiver<ApiError>>,
}

/// `cursor` of a request.
pub(crate) fn cursor(fields: &mut Fields, text: &str) -> Option<Cursor> {
    let parsed = Cursor::parse(text);
    if parsed.is_none() {
        let rule = if text.len() > MAX_CURSOR_BYTES {
            "must be at most 256 bytes"
        } else {
            "must be one received from a stream"
        };
        fields.broke("cursor", rule);
    }
    parsed
}

/// Reads as long as somebody takes.
pub(crate) fn stream<M: Send + 'static>(
    mut reader: Reader,
    settings: EventSettings,
    to: impl Fn(Delivery) -> M + Send + 'static,
) -> Outgoing<M> {
    let (sender, messages) = mpsc::channel(MESSAGES_AHEAD);
    let (end, ending) = oneshot::channel();
    tokio::spawn(async move {
        let ended = tokio::select! {
            error = pump(&mut reader, &sender, settings, to) => error,
            // The caller went away: its reader goes with it.
            () = sender.closed() => return,
        };
        // Before the sender is dropped: the stream asks once it finds no more messages.
        let _ = end.send(ended);
    });
    Outgoing { messages, ending: Some(ending) }
}

async fn pump<M>(
    reader: &mut Reader,
    sender: &mpsc::Sender<M>,
    settings: EventSettings,
    to: impl Fn(Delivery) -> M,
) -> ApiError {
    loop {
        let delivery = match reader.next().await {
            Ok(delivery) => delivery,
            Err(error) => return error,
        };
        match tokio::time::timeout(settings.slow_consumer, sender.reserve()).await {
            Ok(Ok(place)) => place.send(to(delivery)),
            Ok(Err(_)) => return ApiError::unavailable("the stream was closed"),
            Err(_) => return slow_consumer(settings.buffer_events),
        }
    }
}

impl<M> Stream for Outgoing<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match std::task::ready!(self.messages.poll_recv(cx)) {
            Some(message) => Poll::Ready(Some(Ok(message))),
            None => Poll::Ready(self.ending.take().map(|mut ending| {
                let gone = |_| ApiError::internal("the task of an event stream ended without a word");
                Err(ending.try_recv().unwrap_or_else(gone).into())
            })),
        }
    }
}
