//! Requests about sessions, held to their rules.

use crate::domain::fleet::Tags;
use crate::domain::ids::{MachineId, PurchaseId, SessionId};
use crate::domain::pool::{MachineKind, Mode, Pick};
use crate::domain::request::RequestKey;
use crate::domain::text::Label;
use crate::grpc::fields::Fields;
use crate::operations::pool::{NewChoice, SessionName};
use std::time::Duration;
use vend_core::id::ProductId;
use vendfleet_proto::v1;

/// Longest wait for a machine, ms.
const MAX_WAIT_MS: u32 = 60_000;
/// Longest session token looked at, bytes.
const MAX_TOKEN_BYTES: usize = 128;

pub(super) fn wait(fields: &mut Fields, wait_ms: u32) -> Option<Duration> {
    if wait_ms > MAX_WAIT_MS {
        fields.broke("wait_ms", format!("must be 0 to {MAX_WAIT_MS}"));
        return None;
    }
    Some(Duration::from_millis(wait_ms.into()))
}

/// The filter; tags are put in order in the message too, so that order does not make another request.
pub(super) fn pick(fields: &mut Fields, message: &mut v1::StartWorkRequest) -> Option<Pick> {
    let group = fields.optional_label("group", &message.group);
    let mut labels = Some(Vec::new());
    for (index, tag) in message.tags.iter().enumerate().take(Tags::MAX + 1) {
        let label = fields.take(&format!("tags[{index}]"), Label::parse(tag));
        labels = labels.zip(label).map(|(mut labels, label)| {
            labels.push(label);
            labels
        });
    }
    let tags = labels.and_then(|labels| fields.take("tags", Tags::new(labels)));
    let product = fields.optional_uuid("product_id", &message.product_id);
    let kind = fields.member("kind", message.kind, |n| MachineKind::from_number(i64::from(n)));
    message.tags.sort_unstable();
    Some(Pick {
        group: group?.map(|group| group.as_str().to_owned()),
        tags: tags?.iter().map(str::to_owned).collect(),
        product: product?.map(|product| ProductId(product.into_bytes())),
        kind: kind?,
    })
}

pub(super) fn choice(
    fields: &mut Fields,
    key: Option<RequestKey>,
    message: &v1::ChooseProductRequest,
) -> Option<NewChoice> {
    let session = fields.uuid("session_id", &message.session_id).map(SessionId);
    let token = fields.text::<1, MAX_TOKEN_BYTES>("session_token", &message.session_token);
    let product = fields.uuid("product_id", &message.product_id);
    let expected_price = match &message.expected_price {
        None => Some(None),
        Some(price) => fields.price("expected_price", price).map(Some),
    };
    let mode = fields.required_member("payment", message.payment, |n| Mode::from_number(i64::from(n)));
    Some(NewChoice {
        key: key?,
        session: session?,
        token: token?.into_string(),
        product: ProductId(product?.into_bytes()),
        expected_price: expected_price?,
        mode: mode?,
    })
}

pub(super) fn session_name(
    fields: &mut Fields,
    message: &v1::GetMachineSessionRequest,
) -> Option<SessionName> {
    match (message.machine_id.as_str(), message.session_id.as_str(), message.purchase_id.as_str()) {
        (machine, "", "") if !machine.is_empty() => {
            fields.uuid("machine_id", machine).map(|id| SessionName::Machine(MachineId(id)))
        }
        ("", "", purchase) if !purchase.is_empty() => {
            fields.uuid("purchase_id", purchase).map(|id| SessionName::Purchase(PurchaseId(id)))
        }
        ("", session, "") => fields.uuid("session_id", session).map(|id| SessionName::Session(SessionId(id))),
        _ => {
            fields.broke("session_id", "exactly one of machine_id, session_id and purchase_id must be given");
            None
        }
    }
}
