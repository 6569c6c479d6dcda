//! The codec of every generated client and server: prost's own, with buffers as small as the messages are.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};

/// What tonic sets aside for each message before it is there, each way, in bytes; larger messages grow their buffer. tonic's
/// own 8 KiB are more than nearly every message of the contract takes, and thousands of calls at once are as large as
/// their buffers.
const BUFFER_BYTES: usize = 512;
/// What a stream gathers before it hands it on, in bytes: tonic's own.
const YIELD_BYTES: usize = 32 * 1024;

/// [`tonic_prost::ProstCodec`] with small buffers.
#[derive(Debug, Clone)]
pub struct SmallCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = tonic_prost::ProstEncoder<T>;
    type Decoder = tonic_prost::ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        tonic_prost::ProstEncoder::new(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        tonic_prost::ProstDecoder::new(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }
}
