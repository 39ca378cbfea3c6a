//! Forms that take effect once: a double tap, a repeat over a slow line, or "back" and "send" again has the effect and
//! the answer of the first.
//!
//! Every form carries a random once-id beside its CSRF token. What is kept of a submission is bound to the session that
//! the form was rendered for, and encrypted under a key that takes the once-id itself: the database does not have it.

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

use super::context::{AdminContext, NOTICE, SESSION, VISITOR, cookie_name};
use super::csrf::Sent;
use super::fingerprint::Watched;
use super::frame::too_long;
use crate::app::{App, Signer};
use crate::error::{Error, Result};
use crate::extract::{Deadline, arriving};
use crate::submissions::{self, Claim, Outcome, RENEWAL, State, Submission};

/// The field in which a form's once-id comes.
pub const FIELD: &str = "once";

/// How long an answer is kept that shows a secret, or signs in.
const SECRETS_KEPT: Duration = Duration::from_secs(10 * 60);

/// How long any other answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The largest answer that is kept, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// The first and the longest pause between two looks at a submission that is being carried out.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

/// A form as it was rendered: its once-id, and the session or visitor that it was rendered for.
struct Key {
    id: Vec<u8>,
    secret: String,
    signer: Signer,
}

impl Key {
    fn new(signer: &Signer, whose: &str, once: Uuid) -> Key {
        let secret = format!("{whose} {once}");
        Key {
            id: signer.derive("form submission", &secret).to_vec(),
            secret,
            signer: signer.clone(),
        }
    }

    /// The cipher of one attempt's answer. It encrypts one message only, so the nonce may be constant.
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

    /// The text, unless it was encrypted under another `SECRET_KEY`.
    fn decrypt(&self, attempt: Uuid, mut sealed: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let (key, nonce) = self.cipher(attempt)?;
        let text = key.open_in_place(nonce, Aad::empty(), &mut sealed);
        Ok(text.ok().map(|text| text.to_vec()))
    }
}

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    /// The answer to keep, and the same response again. Errors are not kept: whoever sends the form again is told anew.
    async fn of(response: Response) -> (Option<Answer>, Response) {
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
        let answer = headers.zip(text).map(|(headers, body)| Answer {
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

/// Waits for a submission that somebody else carries out.
struct Patience {
    ends: Instant,
    pause: Duration,
}

impl Patience {
    fn new(app: &App) -> Patience {
        Patience {
            // Somewhat less than any request has.
            ends: Instant::now() + app.config.request_timeout * 3 / 4,
            pause: PAUSES.0,
        }
    }

    /// Waits until it is time for another look.
    ///
    /// # Errors
    /// 409 `already_sent` after too long.
    async fn wait(&mut self) -> Result<()> {
        if Instant::now() > self.ends {
            return Err(already_sent(
                "This form was sent before, and is still being worked on. Wait a moment, then load the page again to \
                 see how things are.",
            ));
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
        Ok(())
    }
}

/// Carries a form out, or gives the answer of the first time again. Of two at once the second waits for the first. A
/// form without a once-id, as a page of the previous version has it, is carried out each time.
///
/// # Errors
/// 409 `already_sent` for a form that was sent before with something else in it, or whose answer is not kept any more.
pub async fn carry_out(
    context: &AdminContext,
    sent: Sent,
    request: Request,
    next: Next,
) -> Result<Response> {
    let (Some(once), Some(whose)) = (sent.once, &sent.whose) else {
        return Ok(next.run(request).await);
    };
    let key = Key::new(&context.app.signer, whose, once);
    let credential = credential(&context.app, request.headers());
    let mut patience = Patience::new(&context.app);
    // The attempt that this one waits for.
    let mut awaited = None;
    loop {
        let mut conn = context.app.db.acquire().await?;
        if awaited.is_none()
            && let Some(claim) = submissions::claim(&mut conn, &key.id, &credential).await?
        {
            drop(conn);
            return run(context, key, claim, sent, request, next).await;
        }
        // Nothing where the sweep has forgotten it between the two statements.
        let Some(found) = submissions::find(&mut conn, &key.id).await? else {
            awaited = None;
            continue;
        };
        if found.state == State::Running && found.is_leased {
            drop(conn);
            awaited = Some(found.attempt);
            patience.wait().await?;
            continue;
        }
        let is_awaited = awaited == Some(found.attempt);
        if is_awaited
            && found.state == State::Failed
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

/// Whether a form that was sent before is carried out (again).
fn may_be_carried_out(found: &Submission, sent: &Sent) -> bool {
    match found.state {
        _ if found.took_effect => false,
        State::Running | State::Failed => true,
        // It changed nothing: what was sent with something else in it is not a repeat.
        State::Done => sent.digest().is_some() && !is_same(found, sent.digest()),
    }
}

/// The answer of the first time for a browser whose session that answer began, renewed or ended: without it, it would
/// be sent away. Nothing for any other.
pub async fn repeat(
    context: &AdminContext,
    sent: Sent,
    request: Request,
) -> Result<Option<Response>> {
    let (Some(once), Some(whose)) = (sent.once, &sent.whose) else {
        return Ok(None);
    };
    let key = Key::new(&context.app.signer, whose, once);
    let credential = credential(&context.app, request.headers());
    let mut patience = Patience::new(&context.app);
    loop {
        let found = submissions::find(&mut *context.app.db.acquire().await?, &key.id).await?;
        let Some(found) = found else {
            return Ok(None);
        };
        let is_theirs = found.credential == credential;
        if found.state == State::Running && found.is_leased && is_theirs {
            patience.wait().await?;
            continue;
        }
        let Some(successor) = &found.successor else {
            return Ok(None);
        };
        if found.state != State::Done || !is_theirs && *successor != credential {
            return Ok(None);
        }
        return again(context, &key, &found, sent, request).await.map(Some);
    }
}

/// The answer of a form that was carried out, if the same was sent.
async fn again(
    context: &AdminContext,
    key: &Key,
    found: &Submission,
    sent: Sent,
    request: Request,
) -> Result<Response> {
    let digest = match sent.digest() {
        Some(digest) => Some(digest.to_vec()),
        // An upload: it is read to its end, and let go.
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

/// Whether this was sent before.
fn is_same(found: &Submission, digest: Option<&[u8]>) -> bool {
    digest.is_some() && found.fingerprint.as_deref() == digest
}

fn kept(key: &Key, found: &Submission) -> Result<Option<Answer>> {
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
    let limits = context.app.media.limits();
    // Somewhat more than any handler takes: what is larger is told by the digest anyway.
    let most = limits.file_bytes * limits.files as u64 + 2 * LARGEST;
    let Some(mut fingerprint) = sent.fingerprint(&context.app.signer) else {
        return Ok(None);
    };
    let mut parts = std::pin::pin!(arriving(request, most));
    while let Some(part) = parts.next().await {
        fingerprint.update(&part?);
    }
    Ok(fingerprint.finish())
}

/// Carries a claimed form out in a task of its own, so that one whose sender has gone away is not left half done and the
/// next try finds its answer.
async fn run(
    context: &AdminContext,
    key: Key,
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
            // The lease runs out; the mark tells the next try whether anything was changed.
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

/// Renews the lease of a form for as long as it is carried out.
async fn renew(app: &App, claim: &Claim) -> Infallible {
    loop {
        tokio::time::sleep(RENEWAL).await;
        let renewed = async { claim.renew(&mut *app.db.acquire().await?).await };
        if let Err(error) = renewed.await {
            warn!(%error, "the lease of a form could not be renewed");
        }
    }
}

async fn close(app: &App, claim: &Claim, outcome: &Outcome) -> Result<()> {
    claim.close(&mut *app.db.acquire().await?, outcome).await
}

/// What is recorded of a response, and the response again.
async fn outcome(
    app: &App,
    key: &Key,
    claim: &Claim,
    fingerprint: Option<Vec<u8>>,
    response: Response,
) -> (Outcome, Response) {
    let successor = session_set(app, response.headers());
    let is_redirect = response.status().is_redirection();
    let is_secret = !is_redirect || sets_more_than_a_message(app, response.headers());
    let (answer, response) = Answer::of(response).await;
    let sealed = answer
        .and_then(|answer| serde_json::to_vec(&answer).ok())
        .and_then(|text| key.encrypt(claim.attempt(), text).ok());
    let outcome = Outcome {
        // A page that marked no change is a question, a preview or a form with its field errors: it may be sent again.
        is_final: is_redirect,
        fingerprint,
        successor,
        answer: sealed,
        keep_for: if is_secret { SECRETS_KEPT } else { KEPT },
    };
    (outcome, response)
}

/// The cookies that a response sets, by name.
fn cookies_set(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(header::SET_COOKIE).iter();
    lines.filter_map(|line| line.to_str().ok()?.split(';').next()?.split_once('='))
}

/// The keyed hash of the session's cookie that a response sets or takes away.
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

/// The keyed hash of the cookie by which we know this browser.
fn credential(app: &App, headers: &HeaderMap) -> Vec<u8> {
    let cookie = |name| AdminContext::cookie(app, headers, name);
    let value = cookie(SESSION).or_else(|| cookie(VISITOR));
    hashed(app, &value.unwrap_or_default())
}

fn hashed(app: &App, cookie: &str) -> Vec<u8> {
    app.signer.derive("form credential", cookie).to_vec()
}

/// The code of what is told to whoever sends a form again that is done, where its answer cannot be given.
pub const ALREADY_SENT: &str = "already_sent";

fn already_sent(sentence: &str) -> Error {
    Error::Conflict(ALREADY_SENT, sentence.to_owned())
}
