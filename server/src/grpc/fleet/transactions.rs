//! Transactions and totals.

use super::out::{epoch_out, uuid_out};
use crate::domain::fleet::{
    OutcomeFilter, SettlementFact, Transaction, TransactionCursor, TransactionFilter, TransactionKind,
};
use crate::domain::ids::MachineId;
use crate::error::ApiError;
use crate::grpc::fields::Fields;
use crate::grpc::page::ListCall;
use crate::operations::{Deps, fleet};
use tonic::Request;
use vend_core::id::{ProductId, TransactionId};
use vend_core::money::Currency;
use vend_core::record::{Body, CashIn, Payment, Settled, UnknownPolicy, Vend, VendOutcome};
use vend_core::time::{ClockQuality, Stamp};
use vendfleet_proto::v1;

pub(super) async fn list_transactions(
    deps: &Deps,
    request: Request<v1::ListTransactionsRequest>,
) -> Result<v1::ListTransactionsResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListTransactions", &message);
    let machine = fields.optional_uuid("machine_id", &message.machine_id);
    let kind = fields.member("kind", message.kind, kind_in);
    let product = fields.optional_uuid("product_id", &message.product_id);
    let outcome = fields.member("outcome", message.outcome, |n| {
        Some(match v1::VendOutcome::try_from(n).ok()? {
            v1::VendOutcome::Unspecified => return None,
            v1::VendOutcome::Success => OutcomeFilter::Success,
            v1::VendOutcome::Failure => OutcomeFilter::Failure,
            v1::VendOutcome::Unknown => OutcomeFilter::Unknown,
        })
    });
    let (from, before) = (message.received_from_ms, message.received_before_ms);
    for (field, bound) in [("received_from_ms", from), ("received_before_ms", before)] {
        if bound < 0 {
            fields.broke(field, "must not be negative");
        }
    }
    if before != 0 && before <= from {
        fields.broke("received_before_ms", "must be after received_from_ms, or zero");
    }
    let page = list.request::<TransactionCursor>(&mut fields, size, &token, (50, 500))?;
    let parsed = machine.zip(kind).zip(product.zip(outcome));
    let ((machine, kind), (product, outcome)) = fields.finish(parsed)?;
    let filter = TransactionFilter {
        machine: machine.map(MachineId),
        kind,
        product: product.map(|id| ProductId(id.into_bytes())),
        outcome,
        received_from_ms: from,
        received_before_ms: before,
    };
    let page = fleet::list_transactions(deps, &filter, &page).await?;
    let next_page_token = list.token(&page);
    let transactions = page.items.into_iter().map(transaction_out).collect();
    Ok(v1::ListTransactionsResponse { transactions, next_page_token })
}

pub(super) async fn get_transaction(
    deps: &Deps,
    request: Request<v1::GetTransactionRequest>,
) -> Result<v1::GetTransactionResponse, ApiError> {
    let message = request.get_ref();
    let mut fields = Fields::default();
    let machine = fields.uuid("machine_id", &message.machine_id).map(MachineId);
    let id = fields.uuid("transaction_id", &message.transaction_id).map(|id| TransactionId(id.into_bytes()));
    let kind = fields.member("kind", message.kind, kind_in);
    let ((machine, id), kind) = fields.finish(machine.zip(id).zip(kind))?;
    let kind = kind.unwrap_or(TransactionKind::Vend);
    let transaction = fleet::get_transaction(deps, machine, id, kind).await?;
    Ok(v1::GetTransactionResponse { transaction: Some(transaction_out(transaction)) })
}

pub(super) async fn get_machine_totals(
    deps: &Deps,
    request: Request<v1::GetMachineTotalsRequest>,
) -> Result<v1::GetMachineTotalsResponse, ApiError> {
    let mut fields = Fields::default();
    let machine = fields.uuid("machine_id", &request.get_ref().machine_id).map(MachineId);
    let totals = fleet::get_totals(deps, fields.finish(machine)?).await?;
    let (as_of_epoch, as_of_seq) = totals.as_of.map_or((String::new(), 0), |(e, s)| (epoch_out(e), s));
    Ok(v1::GetMachineTotalsResponse {
        reported: Some(vendfleet_wire::totals_to_proto(&totals.reported)),
        counted: Some(vendfleet_wire::totals_to_proto(&totals.counted)),
        missing: Some(vendfleet_wire::totals_to_proto(&totals.missing)),
        as_of_epoch,
        as_of_seq,
        disagreement: totals.disagreement.map(|d| v1::CounterDisagreement {
            epoch: epoch_out(d.epoch),
            seq: d.seq,
            field: d.field.to_owned(),
            reported: d.reported,
            counted: d.counted,
        }),
        currency_code: match totals.currency {
            Currency::NONE => String::new(),
            currency => currency.to_string(),
        },
    })
}

fn kind_in(number: i32) -> Option<TransactionKind> {
    Some(match v1::TransactionKind::try_from(number).ok()? {
        v1::TransactionKind::Unspecified => return None,
        v1::TransactionKind::Vend => TransactionKind::Vend,
        v1::TransactionKind::CashIn => TransactionKind::CashIn,
    })
}

pub(crate) fn transaction_out(transaction: Transaction) -> v1::Transaction {
    let Transaction { stored, epoch, record, id, settlements } = transaction;
    let common = v1::Transaction {
        machine_id: stored.machine.to_string(),
        transaction_id: uuid_out(&id.0),
        epoch: epoch_out(epoch),
        seq: stored.seq,
        settlements: settlements.iter().map(settlement_out).collect(),
        stamp: Some(stamp_out(&record.stamp)),
        happened: Some(v1::TimeEstimate {
            time_ms: stored.latest_ms,
            earliest_ms: stored.earliest_ms,
            latest_ms: stored.latest_ms,
        }),
        received_time_ms: stored.received_at_ms,
        ..v1::Transaction::default()
    };
    match record.body {
        Body::Vend(vend) => vend_out(common, vend),
        Body::CashIn(cash) => cash_in_out(common, &cash),
        _ => common,
    }
}

fn vend_out(common: v1::Transaction, vend: Vend) -> v1::Transaction {
    let (outcome, policy) = match vend.outcome {
        VendOutcome::Success => (v1::VendOutcome::Success, v1::UnknownPolicy::Unspecified),
        VendOutcome::Failure => (v1::VendOutcome::Failure, v1::UnknownPolicy::Unspecified),
        VendOutcome::Unknown(UnknownPolicy::Refund) => (v1::VendOutcome::Unknown, v1::UnknownPolicy::Refund),
        VendOutcome::Unknown(UnknownPolicy::Keep) => (v1::VendOutcome::Unknown, v1::UnknownPolicy::Keep),
        VendOutcome::Unknown(UnknownPolicy::Ask) => (v1::VendOutcome::Unknown, v1::UnknownPolicy::Ask),
    };
    let (payment, payment_reference, offline) = match vend.payment {
        Payment::Cash => (v1::PaymentMethod::Cash, String::new(), false),
        Payment::Cashless { reference, offline } => (v1::PaymentMethod::Cashless, reference, offline),
        Payment::Remote => (v1::PaymentMethod::Remote, String::new(), false),
        Payment::Free => (v1::PaymentMethod::Free, String::new(), false),
        Payment::Test => (v1::PaymentMethod::Test, String::new(), false),
    };
    v1::Transaction {
        kind: v1::TransactionKind::Vend.into(),
        currency_code: vend.currency.as_str().to_owned(),
        price_minor: vend.price_minor,
        slot: vend.slot.into(),
        product_id: uuid_out(&vend.product.0),
        config_id: uuid_out(&vend.config.0),
        payment: payment.into(),
        payment_reference,
        offline,
        outcome: outcome.into(),
        unknown_policy: policy.into(),
        cash_in_minor: vend.cash_in_minor,
        payout_intent_minor: vend.payout_intent_minor,
        owed_minor: vend.owed_minor,
        command_number: vend.command_number,
        ..common
    }
}

fn cash_in_out(common: v1::Transaction, cash: &CashIn) -> v1::Transaction {
    v1::Transaction {
        kind: v1::TransactionKind::CashIn.into(),
        currency_code: cash.currency.as_str().to_owned(),
        payment: v1::PaymentMethod::Cash.into(),
        cash_in_minor: cash.amount_minor,
        ..common
    }
}

pub(crate) fn settlement_out(fact: &SettlementFact) -> v1::Settlement {
    let what = match fact.settlement.what {
        Settled::PaidOut => v1::SettlementKind::PaidOut,
        Settled::PayoutUnknown => v1::SettlementKind::PayoutUnknown,
        Settled::Owed => v1::SettlementKind::Owed,
        Settled::Captured => v1::SettlementKind::Captured,
        Settled::Voided => v1::SettlementKind::Voided,
        Settled::CashlessUnknown => v1::SettlementKind::CashlessUnknown,
    };
    v1::Settlement {
        settlement_id: uuid_out(&fact.settlement.settlement_id.0),
        epoch: epoch_out(fact.epoch),
        seq: fact.seq,
        what: what.into(),
        amount_minor: fact.settlement.amount_minor,
        received_time_ms: fact.received_at_ms,
    }
}

fn stamp_out(stamp: &Stamp) -> v1::Stamp {
    let quality = match stamp.at.clock {
        ClockQuality::Unset => v1::ClockQuality::Unspecified,
        ClockQuality::FreeRunning => v1::ClockQuality::FreeRunning,
        ClockQuality::Synced => v1::ClockQuality::Synced,
    };
    v1::Stamp {
        boot_id: stamp.boot.0.to_vec(),
        uptime_ms: stamp.at.uptime_ms,
        wall_ms: stamp.at.wall_ms,
        clock_quality: quality.into(),
    }
}
