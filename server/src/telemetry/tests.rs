use super::*;
use crate::context::Context;

fn take(x_trace_id: Option<&str>, traceparent: Option<&str>) -> Trace {
    Trace::take(x_trace_id, traceparent, &Context::manual(0, 7).0)
}

#[test]
fn a_well_formed_id_is_kept_and_a_malformed_one_replaced() {
    assert_eq!(take(Some("order-42_A"), None).id, "order-42_A");
    for bad in ["", "a b", "x\ny", "naïve", &"a".repeat(65)] {
        let made = take(Some(bad), None);
        assert_ne!(made.id, bad);
        assert_eq!(made.id.len(), 32, "{bad:?}");
    }
}

#[test]
fn a_traceparent_is_continued_under_a_span_of_our_own() {
    let trace = take(None, Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    assert_eq!(trace.id, "0af7651916cd43dd8448eb211c80319c");
    assert!(trace.traceparent().starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    assert!(trace.traceparent().ends_with("-01") && !trace.traceparent().contains("b7ad6b7169203331"));
}

#[test]
fn a_malformed_traceparent_is_not_continued() {
    for bad in [
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "nonsense",
    ] {
        let trace = take(None, Some(bad));
        assert!(!bad.contains(&trace.w3c_trace_id), "{bad}");
    }
}
