//! Webhook signatures.
//!
//! Verified by our own code, because async-stripe checks the signature and parses the event in one step, and its parser
//! fails on events that must be stored. Source: <https://docs.stripe.com/webhooks#verify-manually>

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::Secret;

/// Maximum age of a signature in seconds: Stripe's own default.
const TOLERANCE: i64 = 300;

/// Reasons for rejecting a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the Stripe-Signature header is missing or not of the form t=…,v1=…")]
    Malformed,
    #[error("the signature is older than five minutes")]
    TooOld,
    #[error("no signature matches the body")]
    Mismatch,
}

/// Verifies that one of the secrets signed a body at most five minutes before `now` (Unix seconds). While a secret is
/// rotated, the header may have several signatures, and the shop several secrets. A time in the future is accepted, as
/// in Stripe's own libraries: a signer could as well have waited.
///
/// # Errors
/// See [`SignatureError`].
pub fn verify(
    body: &[u8],
    header: &str,
    secrets: &[Secret],
    now: i64,
) -> Result<(), SignatureError> {
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", value)) => time = value.parse::<i64>().ok(),
            Some(("v1", value)) => signatures.extend(decode(value)),
            _ => {}
        }
    }
    let time = time.ok_or(SignatureError::Malformed)?;
    if signatures.is_empty() {
        return Err(SignatureError::Malformed);
    }
    let matches = secrets.iter().any(|secret| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(time.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        signatures
            .iter()
            .any(|signature| mac.clone().verify_slice(signature).is_ok())
    });
    if !matches {
        return Err(SignatureError::Mismatch);
    }
    if time < now - TOLERANCE {
        return Err(SignatureError::TooOld);
    }
    Ok(())
}

fn decode(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hex, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(secret: &str, time: i64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
        mac.update(format!("{time}.{body}").as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    #[test]
    fn a_signature_is_believed_only_for_its_body_secret_and_time() {
        let secrets = [Secret::new("whsec_new"), Secret::new("whsec_old")];
        let check = |header: &str, body: &str| verify(body.as_bytes(), header, &secrets, 1_000_000);
        let old = sign("whsec_old", 1_000_000, "{}");
        assert_eq!(check(&format!("t=1000000,v1={old}"), "{}"), Ok(()));
        assert_eq!(
            check(
                &format!("t=1000000,v1={},v0=x,v1={old}", "0".repeat(64)),
                "{}"
            ),
            Ok(())
        );
        assert_eq!(
            check(&format!("t=1000000,v1={old}"), "{ }"),
            Err(SignatureError::Mismatch)
        );
        assert_eq!(
            check(&format!("t=1000001,v1={old}"), "{}"),
            Err(SignatureError::Mismatch)
        );
        let stranger = sign("whsec_other", 1_000_000, "{}");
        assert_eq!(
            check(&format!("t=1000000,v1={stranger}"), "{}"),
            Err(SignatureError::Mismatch)
        );
        let future = sign("whsec_new", 2_000_000, "{}");
        assert_eq!(check(&format!("t=2000000,v1={future}"), "{}"), Ok(()));
        let edge = sign("whsec_new", 999_700, "{}");
        assert_eq!(check(&format!("t=999700,v1={edge}"), "{}"), Ok(()));
        let stale = sign("whsec_new", 999_699, "{}");
        assert_eq!(
            check(&format!("t=999699,v1={stale}"), "{}"),
            Err(SignatureError::TooOld)
        );
        for junk in [
            "",
            "t=",
            "v1=",
            "t=1,v1=zz",
            &format!("v1={old}"),
            "t=x,v1=y",
            "é=é",
        ] {
            assert_eq!(check(junk, "{}"), Err(SignatureError::Malformed), "{junk}");
        }
    }
}
