//! JetStream: the connection, the stream, and messages that count as sent once they are acknowledged.

use super::message::{CONTENT_TYPE, Message, SUBJECTS};
use crate::config::NatsConfig;
use crate::context::Context;
use async_nats::connection::State;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::{Client, ConnectOptions, ServerAddr, jetstream};
use std::time::Duration;

/// Longest wait for an answer of JetStream: to one request, and to one message.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for a connection's handshake.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Pause before connecting again grows from this, doubling, with jitter.
const RECONNECT_FIRST: Duration = Duration::from_millis(100);
/// And never longer than this.
const RECONNECT_MOST: Duration = Duration::from_secs(5);
/// How often the connection is looked at while it is away.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a stream that is made here keeps messages. A stream that is there already keeps its own rule.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Shortest window in which a stream that is made here tells repeats.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// Why messages can't be sent. The words are for the operator's log.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A setting that can't be used.
    #[error("`{key}`: {cause}")]
    Config {
        /// The config key.
        key: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// No connection.
    #[error("not connected")]
    Away,
    /// The stream can't be found or made.
    #[error("stream {name}: {cause}")]
    Stream {
        /// Its name.
        name: String,
        /// What JetStream said.
        cause: String,
    },
    /// A message was not acknowledged.
    #[error("event {id} was not acknowledged: {cause}")]
    Refused {
        /// The event.
        id: String,
        /// What JetStream said.
        cause: String,
    },
}

/// A connection to NATS that mends itself, and the stream.
#[derive(Clone, Debug)]
pub struct Broker {
    client: Client,
    jetstream: jetstream::Context,
    stream: Config,
    prefix: String,
}

/// What became of a list of messages.
#[derive(Debug, Default)]
pub struct Sent {
    /// So many of them, from the first on, are stored.
    pub stored: usize,
    /// So many of those were there already.
    pub repeats: usize,
    /// Why the next one is not.
    pub failed: Option<BrokerError>,
}

impl Broker {
    /// Begins to connect; whether NATS is there or not makes no difference to the caller.
    ///
    /// # Errors
    /// A setting that can't be used.
    pub async fn open(config: &NatsConfig, context: &Context) -> Result<Self, BrokerError> {
        let bad = |key: &'static str, cause: &dyn std::fmt::Display| BrokerError::Config {
            key,
            cause: cause.to_string(),
        };
        let servers: Vec<ServerAddr> = config
            .url
            .split(',')
            .map(|url| url.trim().parse().map_err(|cause| bad("nats.url", &cause)))
            .collect::<Result<_, _>>()?;
        let options = match config.credentials_file.as_str() {
            "" => ConnectOptions::new(),
            file => ConnectOptions::with_credentials_file(file)
                .await
                .map_err(|cause| bad("nats.credentials_file", &cause))?,
        };
        let clock = context.clone();
        let options = options
            .name("vendfleet")
            .connection_timeout(CONNECT_WITHIN)
            .request_timeout(Some(ANSWER_WITHIN))
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(move |attempts| reconnect_after(&clock, attempts));
        let client = options.connect(servers).await.map_err(|cause| bad("nats.url", &cause))?;
        let jetstream = ContextBuilder::new().timeout(ANSWER_WITHIN).build(client.clone());
        let prefix = config.subject_prefix.clone();
        let stream = Config {
            name: config.stream.clone(),
            description: Some("What happened in a Vendfleet, as CloudEvents".to_owned()),
            subjects: SUBJECTS.iter().map(|subject| format!("{prefix}{subject}")).collect(),
            storage: StorageType::File,
            num_replicas: usize::try_from(config.replicas).unwrap_or(1),
            discard: DiscardPolicy::Old,
            max_age: KEEP,
            // Whoever takes over repeats what its predecessor had sent and not noted.
            duplicate_window: DUPLICATE_WINDOW.max(Duration::from_millis(config.lease_ms) * 3),
            ..Config::default()
        };
        Ok(Self { client, jetstream, stream, prefix })
    }

    /// Whether the connection stands, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits until the connection stands.
    pub async fn connected(&self) {
        while !self.is_connected() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Makes the stream when it is missing; one that is there stays as it is.
    ///
    /// # Errors
    /// JetStream does not answer, or refuses to make it.
    pub async fn ensure_stream(&self) -> Result<(), BrokerError> {
        let made = self.jetstream.get_or_create_stream(self.stream.clone()).await;
        made.map(drop)
            .map_err(|cause| BrokerError::Stream { name: self.stream.name.clone(), cause: text(&cause) })
    }

    /// Sends messages in order and waits until each is stored in the stream.
    pub async fn send(&self, messages: Vec<Message>) -> Sent {
        let mut sent = Sent::default();
        let mut waiting = Vec::with_capacity(messages.len());
        for message in messages {
            let Message { subject, id, traceparent, payload } = message;
            let mut publish = PublishMessage::build()
                .message_id(&id)
                // No other stream may take it for us.
                .expected_stream(&self.stream.name)
                .header("Content-Type", CONTENT_TYPE)
                .payload(payload.into());
            if !traceparent.is_empty() {
                publish = publish.header("traceparent", traceparent.as_str());
            }
            match self.jetstream.send_publish(format!("{}{subject}", self.prefix), publish).await {
                Ok(acknowledged) => waiting.push((id, acknowledged)),
                Err(cause) => {
                    sent.failed = Some(BrokerError::Refused { id, cause: text(&cause) });
                    break;
                }
            }
        }
        for (id, acknowledged) in waiting {
            match acknowledged.await {
                Ok(ack) => {
                    sent.stored += 1;
                    sent.repeats += usize::from(ack.duplicate);
                }
                Err(cause) => {
                    sent.failed = Some(BrokerError::Refused { id, cause: text(&cause) });
                    break;
                }
            }
        }
        sent
    }
}

/// An error with what lies under it, for the log.
fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(under) = cause {
        text = format!("{text}: {under}");
        cause = under.source();
    }
    text
}

fn reconnect_after(context: &Context, attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let most = RECONNECT_FIRST.saturating_mul(1 << doublings).min(RECONNECT_MOST);
    // Half is always waited: an address that refuses at once must not be asked in a tight loop.
    most / 2 + context.jitter(most / 2)
}
