//! The phases of a call, in their order. Each is a type, and each step consumes one to make the next:
//!
//! Received -> (Signed ->) Identified -> Asked -> Admitted -> Forwarded -> answer
//!
//! 1. Before a call is identified it leaves no row; after, it leaves exactly one, whichever way it ends.
//! 2. No upstream is contacted without an `OpenCall`.
//! 3. The future runs to its end also without a client (`presence.rs`), so no row depends on whether one waits.

use http::Response;

use crate::body::AnswerBody;
use crate::received::{Received, Recognized};
use crate::{call_id, headers, told};

/// Answers a request.
pub(crate) async fn answer(received: Received) -> Response<AnswerBody> {
    let id = call_id::header_value(received.call_id());
    let mut answer = follow(received).await;
    answer.headers_mut().insert(headers::CALL_ID, id);
    answer
}

async fn follow(received: Received) -> Response<AnswerBody> {
    let mut identified = match received.identify() {
        Ok(Recognized::Identified(identified)) => identified,
        // Boxed: what is rare shall not make every call's future larger.
        Ok(Recognized::Signed(signed)) => match Box::pin(signed.verify()).await {
            Ok(identified) => identified,
            Err(refusal) => return *refusal,
        },
        Err(refusal) => return *refusal,
    };
    let asked = match identified.ask().await {
        Ok(asked) => asked,
        // Boxed likewise.
        Err(fault) => return Box::pin(identified.refuse(fault)).await,
    };
    let mut admitted = match identified.admit(asked).await {
        Ok(admitted) => admitted,
        Err(refusal) => return *refusal,
    };
    let told = admitted.asked.permitted.told.take();
    let mut answer = match admitted.forward().await {
        Ok(forwarded) => forwarded.answer().await,
        Err(failed) => failed.answer().await,
    };
    told::add(told, answer.headers_mut());
    answer
}
