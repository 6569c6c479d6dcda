//! One stream, followed: opened again from the last cursor whenever it ends or is lost.

use super::{Session, wait_before_next};
use crate::failure::{Failure, Refusal};
use std::time::Duration;
use tonic::{Response, Status, Streaming};

/// The contract: a stream on which nothing else came says so this often.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Heartbeats missed before a stream counts as lost.
const MISSED: u32 = 3;

/// Where to go on, and whether that is wanted.
pub(crate) struct Seen {
    /// The cursor of the message.
    pub(crate) cursor: String,
    /// Nothing more is wanted.
    pub(crate) done: bool,
}

/// Where a stream is opened: with a cursor, or as the first request says.
pub(crate) enum Whence {
    /// As asked for.
    Start,
    /// After the message with this cursor.
    After(String),
}

impl Session<'_> {
    /// Follows a stream until `see` has enough. A stream that ends, falls silent or is lost is opened again from the last
    /// cursor; only attempts in a row without any message are counted.
    pub(crate) async fn follow<M>(
        &self,
        open: impl AsyncFn(&Whence) -> Result<Response<Streaming<M>>, Status>,
        mut see: impl FnMut(M) -> Result<Seen, Failure>,
    ) -> Result<(), Failure> {
        let mut whence = Whence::Start;
        let mut attempt = 1;
        loop {
            let lost = match tokio::time::timeout(self.timeout, open(&whence)).await {
                Err(_) => Some(silent(self.timeout)),
                Ok(Err(status)) => Some(status),
                Ok(Ok(answer)) => {
                    let mut stream = answer.into_inner();
                    let patience = self.timeout.max(HEARTBEAT * MISSED);
                    loop {
                        match tokio::time::timeout(patience, stream.message()).await {
                            Err(_) => break Some(silent(patience)),
                            Ok(Err(status)) => break Some(status),
                            // The server lets go of long streams by itself.
                            Ok(Ok(None)) => break None,
                            Ok(Ok(Some(message))) => {
                                let Seen { cursor, done } = see(message)?;
                                if done {
                                    return Ok(());
                                }
                                whence = Whence::After(cursor);
                                attempt = 1;
                            }
                        }
                    }
                }
            };
            let status = lost.unwrap_or_else(|| Status::unavailable("the stream ended"));
            let refusal = Refusal::new(&status);
            match wait_before_next(&refusal, attempt, self.context.chance()) {
                Some(wait) if attempt < self.attempts => tokio::time::sleep(wait).await,
                _ => return Err(Failure::Call(Box::new(refusal))),
            }
            attempt += 1;
        }
    }
}

fn silent(waited: Duration) -> Status {
    Status::unavailable(format!("nothing came for {} s", waited.as_secs()))
}
