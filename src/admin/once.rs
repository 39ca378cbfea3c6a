//! Idempotent forms: a double tap, a retry on a slow connection, or "back" and "send" again returns the first response
//! without a second effect.
//!
//! Every form has a random once-id beside its CSRF token. The stored submission belongs to the session that the form
//! was rendered for. The response is encrypted under a key derived from the once-id, which the database does not store.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Response as HttpResponse, StatusCode, header,
};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, StreamExt};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{Instrument, Span, warn};
use uuid::Uuid;

use super::context::{AdminContext, NOTICE, SESSION, VISITOR, cookie_name, too_long};
use super::csrf::Sent;
use super::fingerprint::Watched;
use crate::app::{App, Signer};
use crate::audit::submissions::{
    self, Claim, RENEWAL, Submission, SubmissionOutcome, SubmissionState,
};
use crate::error::{Code, Error, Result};
use crate::http::{Deadline, arriving};
use crate::products::intakes::LIMITS;

/// Retention of a response that shows a secret or signs a user in.
const SECRETS_KEPT: Duration = Duration::from_secs(10 * 60);

/// Retention of any other response.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Size limit of a stored response, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// First and longest pause between two checks of a submission that is still running.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

/// The once-id of a form and the session or visitor that it was rendered for.
struct SubmissionKey {
    id: Vec<u8>,
    secret: String,
    signer: Signer,
}

impl SubmissionKey {
    fn new(signer: &Signer, whose: &str, once: Uuid) -> SubmissionKey {
        let secret = format!("{whose} {once}");
        SubmissionKey {
            id: signer.derive("form submission", &secret).to_vec(),
            secret,
            signer: signer.clone(),
        }
    }

    /// Returns the cipher of one attempt's response. Each key encrypts one message only, so the nonce may be constant.
    fn cipher(&self, attempt: Uuid) -> Result<(LessSafeKey, Nonce)> {
        let key = self
            .signer
            .derive("form answer", &format!("{} {attempt}", self.secret));
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key)
            .map_err(|_| anyhow::anyhow!("a key of 32 bytes was refused"))?;
        Ok((LessSafeKey::new(key), Nonce::assume_unique_for_key([0; 12])))
    }

    fn encrypt(&self, attempt: Uuid, mut text: Vec<u8>) -> Result<Vec<u8>> {
        let (key, nonce) = self.cipher(attempt)?;
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut text)
            .map_err(|_| anyhow::anyhow!("an answer could not be encrypted"))?;
        Ok(text)
    }

    /// Decrypts a response; `None` if it was encrypted under another `SECRET_KEY`.
    fn decrypt(&self, attempt: Uuid, mut sealed: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let (key, nonce) = self.cipher(attempt)?;
        let text = key.open_in_place(nonce, Aad::empty(), &mut sealed);
        Ok(text.ok().map(|text| text.to_vec()))
    }
}

/// A stored response.
#[derive(Serialize, Deserialize)]
struct StoredResponse {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl StoredResponse {
    /// Returns the response to store, and an equal response to send. Errors are not stored, so a retry is evaluated
    /// again.
    async fn of(response: Response) -> (Option<StoredResponse>, Response) {
        let is_small = |body: &Body| body.size_hint().upper().is_some_and(|size| size <= LARGEST);
        if response.extensions().get::<Arc<Error>>().is_some() || !is_small(response.body()) {
            return (None, response);
        }
        let (parts, body) = response.into_parts();
        let body = match axum::body::to_bytes(body, LARGEST as usize).await {
            Ok(body) => body,
            Err(error) => {
                let error = anyhow::Error::from(error).context("reading our own answer");
                return (None, Error::Internal(error).into_response());
            }
        };
        let headers = parts.headers.iter().map(|(name, value)| {
            let value = value.to_str().ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        });
        let headers: Option<Vec<(String, String)>> = headers.collect();
        let text = String::from_utf8(body.to_vec()).ok();
        let answer = headers.zip(text).map(|(headers, body)| StoredResponse {
            status: parts.status.as_u16(),
            headers,
            body,
        });
        (answer, HttpResponse::from_parts(parts, Body::from(body)))
    }

    fn into_response(self) -> Result<Response> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).map_err(anyhow::Error::from)?;
        for (name, value) in self.headers {
            let name: HeaderName = name.parse().map_err(anyhow::Error::from)?;
            let value: HeaderValue = value.parse().map_err(anyhow::Error::from)?;
            response.headers_mut().append(name, value);
        }
        Ok(response)
    }
}

/// Waits for a submission that another request is processing.
struct Patience {
    ends: Instant,
    pause: Duration,
}

impl Patience {
    fn new(app: &App) -> Patience {
        Patience {
            // Shorter than the timeout of the request.
            ends: Instant::now() + app.config.server.request_timeout * 3 / 4,
            pause: PAUSES.0,
        }
    }

    /// Pauses before the next check.
    ///
    /// # Errors
    /// 409 `already_sent` when the total wait is over.
    async fn wait(&mut self) -> Result<()> {
        if Instant::now() > self.ends {
            return Err(already_sent(
                "This form was sent before and is still being processed. Wait a moment, then load the page again to \
                 see how things are.",
            ));
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
        Ok(())
    }
}

/// Processes a form, or returns the stored response of an earlier submission. Of two simultaneous submissions, the
/// second waits for the first. A form without a once-id, as rendered by the previous version, is processed each time.
///
/// # Errors
/// 409 `already_sent` if the form was submitted before with other content, or if its response is no longer stored.
pub async fn carry_out(
    context: &AdminContext,
    sent: Sent,
    request: Request,
    next: Next,
) -> Result<Response> {
    let (Some(once), Some(whose)) = (sent.once, &sent.whose) else {
        return Ok(next.run(request).await);
    };
    let key = SubmissionKey::new(&context.app.signer, whose, once);
    let credential = credential(&context.app, request.headers());
    let mut patience = Patience::new(&context.app);
    // The attempt that this request is waiting for.
    let mut awaited = None;
    loop {
        let mut conn = context.app.db.acquire().await?;
        if awaited.is_none()
            && let Some(claim) = submissions::claim(&mut conn, &key.id, &credential).await?
        {
            drop(conn);
            return run(context, key, claim, sent, request, next).await;
        }
        // The sweep may delete the row between the two statements.
        let Some(found) = submissions::find(&mut conn, &key.id).await? else {
            awaited = None;
            continue;
        };
        if found.state == SubmissionState::Running && found.is_leased {
            drop(conn);
            awaited = Some(found.attempt);
            patience.wait().await?;
            continue;
        }
        let is_awaited = awaited == Some(found.attempt);
        if is_awaited
            && found.state == SubmissionState::Failed
            && is_same(&found, sent.digest())
            && let Some(answer) = kept(&key, &found)?
        {
            return answer.into_response();
        }
        if !may_be_carried_out(&found, &sent) {
            drop(conn);
            return again(context, &key, &found, sent, request).await;
        }
        let claim = submissions::reclaim(&mut conn, &key.id, &found, &credential).await?;
        if let Some(claim) = claim {
            drop(conn);
            return run(context, key, claim, sent, request, next).await;
        }
    }
}

/// Reports whether a form that was submitted before may be processed again.
fn may_be_carried_out(found: &Submission, sent: &Sent) -> bool {
    match found.state {
        _ if found.took_effect => false,
        SubmissionState::Running | SubmissionState::Failed => true,
        // It changed nothing, so other content under the same once-id is not a repeat.
        SubmissionState::Done => sent.digest().is_some() && !is_same(found, sent.digest()),
    }
}

/// Returns the stored response to a browser whose session was started, renewed or ended by that response. Without this,
/// the retry would be redirected to sign-in. Returns `None` for any other browser.
pub async fn repeat(
    context: &AdminContext,
    sent: Sent,
    request: Request,
) -> Result<Option<Response>> {
    let (Some(once), Some(whose)) = (sent.once, &sent.whose) else {
        return Ok(None);
    };
    let key = SubmissionKey::new(&context.app.signer, whose, once);
    let credential = credential(&context.app, request.headers());
    let mut patience = Patience::new(&context.app);
    loop {
        let found = submissions::find(&mut *context.app.db.acquire().await?, &key.id).await?;
        let Some(found) = found else {
            return Ok(None);
        };
        let is_theirs = found.credential == credential;
        if found.state == SubmissionState::Running && found.is_leased && is_theirs {
            patience.wait().await?;
            continue;
        }
        let Some(successor) = &found.successor else {
            return Ok(None);
        };
        if found.state != SubmissionState::Done || !is_theirs && *successor != credential {
            return Ok(None);
        }
        return again(context, &key, &found, sent, request).await.map(Some);
    }
}

/// Returns the stored response if the same content was sent.
async fn again(
    context: &AdminContext,
    key: &SubmissionKey,
    found: &Submission,
    sent: Sent,
    request: Request,
) -> Result<Response> {
    let digest = match sent.digest() {
        Some(digest) => Some(digest.to_vec()),
        // Hashing an upload requires reading it to the end; its content is then discarded.
        None if found.fingerprint.is_some() => read_to_the_end(context, &sent, request).await?,
        None => None,
    };
    let is_known = digest.is_some() && found.fingerprint.is_some();
    if is_known && !is_same(found, digest.as_deref()) {
        return Err(already_sent(
            "This form was sent before with something else in it, and that is done. Nothing was changed this time. Load \
             the page again to see how things are now.",
        ));
    }
    match kept(key, found)? {
        Some(answer) => answer.into_response(),
        None => Err(already_sent(
            "This form was sent before, and that is done; nothing was done twice. What it answered is not kept any \
             more. Load the page again to see how things are now.",
        )),
    }
}

/// Reports whether the same content was submitted before.
fn is_same(found: &Submission, digest: Option<&[u8]>) -> bool {
    digest.is_some() && found.fingerprint.as_deref() == digest
}

fn kept(key: &SubmissionKey, found: &Submission) -> Result<Option<StoredResponse>> {
    let Some(sealed) = &found.answer else {
        return Ok(None);
    };
    let text = key.decrypt(found.attempt, sealed.clone())?;
    Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
}

async fn read_to_the_end(
    context: &AdminContext,
    sent: &Sent,
    request: Request,
) -> Result<Option<Vec<u8>>> {
    let limits = context.app.storage.limits();
    // Slightly above the limit of any handler, so every upload that one accepts can be compared.
    let images = limits.file_bytes * limits.files as u64;
    let photographs = LIMITS.file_bytes * LIMITS.files as u64;
    let most = images.max(photographs) + 2 * LARGEST;
    let Some(mut fingerprint) = sent.fingerprint(&context.app.signer) else {
        return Ok(None);
    };
    let mut parts = std::pin::pin!(arriving(request, most));
    while let Some(part) = parts.next().await {
        fingerprint.update(&part?);
    }
    Ok(fingerprint.finish())
}

/// Processes a claimed form in its own task. A client that disconnects does not interrupt it, and a retry finds its
/// response.
async fn run(
    context: &AdminContext,
    key: SubmissionKey,
    claim: Claim,
    sent: Sent,
    mut request: Request,
    next: Next,
) -> Result<Response> {
    let mut context = context.clone();
    context.submission = Some(claim.clone());
    request.extensions_mut().insert(context.clone());
    let deadline: Option<Deadline> = request.extensions().get().cloned();
    let (request, watched) = match sent.fingerprint(&context.app.signer) {
        Some(fingerprint) => {
            let (parts, body) = request.into_parts();
            let (body, watched) = Watched::new(body, fingerprint);
            (Request::from_parts(parts, body), Some(watched))
        }
        None => (request, None),
    };
    let task = async move {
        let answered = AssertUnwindSafe(next.run(request)).catch_unwind();
        let response = tokio::select! {
            answer = answered => answer.unwrap_or_else(|_| {
                Error::Internal(anyhow::anyhow!("a page panicked")).into_response()
            }),
            () = passed(deadline) => too_long().into_response(),
            never = renew(&context.app, &claim) => match never {},
        };
        let digest = match watched {
            Some(watched) => watched.finish(),
            None => sent.digest().map(<[u8]>::to_vec),
        };
        let (outcome, response) = outcome(&context.app, &key, &claim, digest, response).await;
        if let Err(error) = close(&context.app, &claim, &outcome).await {
            // The lease will expire; the mark then tells the next attempt whether anything was changed.
            warn!(%error, "the answer to a form could not be recorded");
        }
        response
    };
    let task = tokio::spawn(task.instrument(Span::current()));
    Ok(task.await.map_err(anyhow::Error::from)?)
}

async fn passed(deadline: Option<Deadline>) {
    match deadline {
        Some(deadline) => deadline.passed().await,
        None => std::future::pending().await,
    }
}

/// Renews the lease while the form is being processed.
async fn renew(app: &App, claim: &Claim) -> Infallible {
    loop {
        tokio::time::sleep(RENEWAL).await;
        let renewed = async { claim.renew(&mut *app.db.acquire().await?).await };
        if let Err(error) = renewed.await {
            warn!(%error, "the lease of a form could not be renewed");
        }
    }
}

async fn close(app: &App, claim: &Claim, outcome: &SubmissionOutcome) -> Result<()> {
    claim.close(&mut *app.db.acquire().await?, outcome).await
}

/// Returns the outcome to record, and the response to send.
async fn outcome(
    app: &App,
    key: &SubmissionKey,
    claim: &Claim,
    fingerprint: Option<Vec<u8>>,
    response: Response,
) -> (SubmissionOutcome, Response) {
    let successor = session_set(app, response.headers());
    let is_redirect = response.status().is_redirection();
    let is_secret = !is_redirect || sets_more_than_a_message(app, response.headers());
    let (answer, response) = StoredResponse::of(response).await;
    let sealed = answer
        .and_then(|answer| serde_json::to_vec(&answer).ok())
        .and_then(|text| key.encrypt(claim.attempt(), text).ok());
    let outcome = SubmissionOutcome {
        // A page without a mark changed nothing: a question, a preview, or a refused form. It may be sent again.
        is_final: is_redirect,
        fingerprint,
        successor,
        answer: sealed,
        keep_for: if is_secret { SECRETS_KEPT } else { KEPT },
    };
    (outcome, response)
}

/// Returns the cookies that a response sets, by name.
fn cookies_set(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(header::SET_COOKIE).iter();
    lines.filter_map(|line| line.to_str().ok()?.split(';').next()?.split_once('='))
}

/// Returns the keyed hash of the session cookie that a response sets or removes.
fn session_set(app: &App, headers: &HeaderMap) -> Option<Vec<u8>> {
    let name = cookie_name(app, SESSION);
    let mut set = cookies_set(headers);
    let (_, value) = set.find(|(key, _)| *key == name)?;
    Some(hashed(app, value))
}

fn sets_more_than_a_message(app: &App, headers: &HeaderMap) -> bool {
    let message = cookie_name(app, NOTICE);
    cookies_set(headers).any(|(key, _)| key != message)
}

/// Returns the keyed hash of the cookie that identifies this browser.
fn credential(app: &App, headers: &HeaderMap) -> Vec<u8> {
    let cookie = |name| AdminContext::cookie(app, headers, name);
    let value = cookie(SESSION).or_else(|| cookie(VISITOR));
    hashed(app, &value.unwrap_or_default())
}

fn hashed(app: &App, cookie: &str) -> Vec<u8> {
    app.signer.derive("form credential", cookie).to_vec()
}

/// The error for a form that was already processed and whose response cannot be returned.
fn already_sent(sentence: &str) -> Error {
    Error::Conflict(Code::AlreadySent, sentence.to_owned())
}
