//! Changes of what somebody else may have changed since: each is bound to an etag.

use crate::call::Session;
use crate::failure::Failure;
use crate::output::Output;

/// The etag that a change is bound to: the one given, else the present one.
pub(crate) async fn etag(
    given: Option<String>,
    session: &Session<'_>,
    present: impl AsyncFnOnce() -> Result<String, Failure>,
) -> Result<String, Failure> {
    match given {
        Some(etag) => Ok(etag),
        // The first try may have changed the etag: the same request id with another etag is another request.
        None if session.is_repeat() => {
            Err(Failure::usage("--request-id: an update is repeated with the --etag of its first try"))
        }
        None => present().await,
    }
}

/// What came of it; a change that may have been made says what else its repeat needs.
pub(crate) fn told<A>(answer: Result<A, Failure>, etag: &str, output: &mut Output<'_>) -> Result<A, Failure> {
    if answer.as_ref().is_err_and(Failure::may_have_been_done) {
        output.hint(&format!("to repeat it, add --etag {etag} too"))?;
    }
    answer
}
