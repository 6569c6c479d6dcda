//! Page tokens: opaque, and bound to the call and its filter, so that one made for another list is refused.

use crate::auth::SecretKey;
use crate::domain::page::{Keyset, Page, PageRequest};
use crate::error::{ApiError, Reason};
use crate::grpc::fields::Fields;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use sha2::{Digest as _, Sha256};

const MAC_BYTES: usize = 16;
/// Longest token taken, bytes; ours are shorter.
const MAX_TOKEN_BYTES: usize = 512;

/// One list call: what a token must have been made for.
pub(crate) struct ListCall {
    key: SecretKey,
    bound_to: [u8; 32],
}

impl ListCall {
    /// `filter` is the request with page size and token cleared.
    pub(crate) fn new(key: &SecretKey, method: &str, filter: &impl Message) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"vendfleet.page\0");
        hasher.update(method);
        hasher.update([0]);
        hasher.update(filter.encode_to_vec());
        Self { key: key.clone(), bound_to: hasher.finalize().into() }
    }

    /// The page asked for. A bad size is noted in `fields`.
    ///
    /// # Errors
    /// PAGE_TOKEN_INVALID.
    pub(crate) fn request<C: Keyset>(
        &self,
        fields: &mut Fields,
        size: i32,
        token: &str,
        (default, most): (usize, usize),
    ) -> Result<PageRequest<C>, ApiError> {
        let size = match usize::try_from(size) {
            Ok(0) => default,
            Ok(size) if size <= most => size,
            _ => {
                fields.broke("page_size", format!("must be 0 to {most}"));
                default
            }
        };
        let after = if token.is_empty() { None } else { Some(self.open(token).ok_or_else(invalid)?) };
        Ok(PageRequest { size, after })
    }

    /// The token of the next page; empty when there is none.
    pub(crate) fn token<T, C: Keyset>(&self, page: &Page<T, C>) -> String {
        page.next.as_ref().map(|key| self.seal(&key.to_bytes())).unwrap_or_default()
    }

    fn seal(&self, cursor: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode([&self.mac(cursor)[..MAC_BYTES], cursor].concat())
    }

    fn open<C: Keyset>(&self, token: &str) -> Option<C> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (mac, cursor) = bytes.split_at_checked(MAC_BYTES)?;
        (mac == &self.mac(cursor)[..MAC_BYTES]).then(|| C::from_bytes(cursor))?
    }

    fn mac(&self, cursor: &[u8]) -> [u8; 32] {
        self.key.hash(&[&self.bound_to, cursor].concat())
    }
}

fn invalid() -> ApiError {
    ApiError::new(
        Reason::PageTokenInvalid,
        "page_token: must be next_page_token of this same call with the same filter",
    )
}
