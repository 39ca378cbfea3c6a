//! A mail server on loopback, told to misbehave where a test needs it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mailin::{Action, AuthMechanism, Handler, Response, Session, SessionBuilder, response};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use uuid::Uuid;

use super::mail::Mail;

/// Failure of every email until it is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The line is cut before a word is said.
    HangUp,
    /// Nobody says anything.
    Silence,
    /// 421 instead of a greeting.
    Busy,
    /// This code at `RCPT` for this address.
    Recipient(u16, &'static str),
    /// 554 once the email was read.
    Spam,
    /// These bytes, in place of the answer to what begins so; `.` is the end of an email.
    Words(&'static str, &'static [u8]),
    /// The email is taken, and the line cut before that is said.
    DropAfterData,
    /// The email is not taken until [`MailServer::mend`] is called.
    HoldBeforeReply,
}

/// Encryption of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    None,
    StartTls,
    Tls,
}

/// An email as the server has it.
#[derive(Clone, Debug)]
pub struct Received {
    pub from: String,
    pub recipients: Vec<String>,
    pub raw: Vec<u8>,
}

impl Received {
    pub fn mail(&self) -> Mail {
        Mail::read(&self.raw)
    }
}

pub struct MailServer {
    pub address: SocketAddr,
    /// The certificate that ours is signed by, where there is TLS.
    pub ca_file: PathBuf,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    trouble: Mutex<Option<Trouble>>,
    mended: Notify,
    data_read: Notify,
    received: Mutex<Vec<Received>>,
    connections: Mutex<u32>,
    login: Option<(String, String)>,
}

impl MailServer {
    pub async fn start() -> MailServer {
        MailServer::start_with(Safety::None, None).await
    }

    /// With TLS, and a login that it asks for.
    pub async fn start_with(safety: Safety, login: Option<(&str, &str)>) -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        MailServer::on(listener, safety, login)
    }

    pub fn on(listener: TcpListener, safety: Safety, login: Option<(&str, &str)>) -> MailServer {
        let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a key");
        let ca_file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("ca-{}.pem", Uuid::new_v4().simple()));
        std::fs::write(&ca_file, pem(key.cert.der())).expect("a file");
        let secret = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(
            tokio_rustls::rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], PrivateKeyDer::Pkcs8(secret))
        .expect("a certificate");
        let tls = TlsAcceptor::from(Arc::new(config));
        let state = Arc::new(State {
            login: login.map(|(user, password)| (user.to_owned(), password.to_owned())),
            ..State::default()
        });
        let address = listener.local_addr().expect("a bound listener");
        let task = tokio::spawn(accept(listener, safety, tls, state.clone()));
        MailServer {
            address,
            ca_file,
            state,
            task,
        }
    }

    /// The setting that names it.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub fn misbehave(&self, trouble: Trouble) {
        *self.state.trouble.lock().expect("no panic") = Some(trouble);
    }

    pub fn mend(&self) {
        *self.state.trouble.lock().expect("no panic") = None;
        self.state.mended.notify_waiters();
    }

    /// Waits until an email was read whole that is held.
    pub async fn holds_an_email(&self) {
        self.state.data_read.notified().await;
    }

    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().expect("no panic").clone()
    }

    pub fn connections(&self) -> u32 {
        *self.state.connections.lock().expect("no panic")
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.ca_file);
    }
}

fn pem(certificate: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(certificate);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("ASCII"))
        .collect();
    let label = "CERTIFICATE";
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

async fn accept(listener: TcpListener, safety: Safety, tls: TlsAcceptor, state: Arc<State>) {
    while let Ok((line, _)) = listener.accept().await {
        *state.connections.lock().expect("no panic") += 1;
        let (tls, state) = (tls.clone(), state.clone());
        tokio::spawn(async move {
            // A client that goes away in the middle is its own affair.
            let _ = talk(line, safety, tls, state).await;
        });
    }
}

async fn talk(
    mut line: TcpStream,
    safety: Safety,
    tls: TlsAcceptor,
    state: Arc<State>,
) -> std::io::Result<()> {
    match state.trouble() {
        Some(Trouble::HangUp) => return Ok(()),
        Some(Trouble::Silence) => {
            // Until the client goes away.
            let mut rest = Vec::new();
            return tokio::io::AsyncReadExt::read_to_end(&mut line, &mut rest)
                .await
                .map(drop);
        }
        Some(Trouble::Busy) => return line.write_all(b"421 too busy\r\n").await,
        _ => {}
    }
    let peer = line.peer_addr()?.ip();
    let mut session = SessionBuilder::new("mail.test");
    if safety == Safety::StartTls {
        session.enable_start_tls();
    }
    if state.login.is_some() {
        session.enable_auth(AuthMechanism::Plain);
        session.enable_auth(AuthMechanism::Login);
        if safety == Safety::None {
            session.insecure_enable_plaintext_auth();
        }
    }
    let clerk = Clerk {
        state: state.clone(),
        signed_in: false,
        email: None,
    };
    let mut session = session.build(peer, clerk);
    match safety {
        Safety::Tls => {
            session.tls_active();
            let line = tls.accept(line).await?;
            converse(line, &mut session, &state, true).await.map(drop)
        }
        _ => {
            let upgrade = converse(line, &mut session, &state, true).await?;
            let Some(line) = upgrade else {
                return Ok(());
            };
            let line = tls.accept(line).await?;
            session.tls_active();
            converse(line, &mut session, &state, false).await.map(drop)
        }
    }
}

/// Answers until the client goes, or wants TLS: then the line is returned.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    line: S,
    session: &mut Session<Clerk>,
    state: &State,
    greet: bool,
) -> std::io::Result<Option<S>> {
    let mut line = BufReader::new(line);
    if greet {
        line.write_all(&session.greeting().buffer()?).await?;
        line.flush().await?;
    }
    let mut said = Vec::new();
    loop {
        said.clear();
        if line.read_until(b'\n', &mut said).await? == 0 {
            return Ok(None);
        }
        let answer = session.process(&said);
        if said == b".\r\n" && answer.code != 354 {
            match state.trouble() {
                Some(Trouble::DropAfterData) => return Ok(None),
                Some(Trouble::HoldBeforeReply) => {
                    let mended = state.mended.notified();
                    state.data_read.notify_one();
                    mended.await;
                }
                _ => {}
            }
        }
        if answer.action != Action::NoReply {
            let words = match state.trouble() {
                Some(Trouble::Words(begin, words)) if said.starts_with(begin.as_bytes()) => {
                    words.to_vec()
                }
                _ => answer.buffer()?,
            };
            line.write_all(&words).await?;
            line.flush().await?;
        }
        match answer.action {
            Action::Close => return Ok(None),
            Action::UpgradeTls => return Ok(Some(line.into_inner())),
            Action::Reply | Action::NoReply => {}
        }
    }
}

impl State {
    fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().expect("no panic").clone()
    }
}

/// SMTP session of the mail server.
struct Clerk {
    state: Arc<State>,
    signed_in: bool,
    email: Option<Received>,
}

impl Clerk {
    fn sign_in(&mut self, user: &str, password: &str) -> Response {
        let login = self.state.login.as_ref();
        self.signed_in = login.is_some_and(|(name, secret)| name == user && secret == password);
        if self.signed_in {
            response::AUTH_OK
        } else {
            response::INVALID_CREDENTIALS
        }
    }
}

impl Handler for Clerk {
    fn mail(&mut self, _: std::net::IpAddr, _: &str, _: &str) -> Response {
        if self.state.login.is_some() && !self.signed_in {
            return response::AUTHENTICATION_REQUIRED;
        }
        response::OK
    }

    fn rcpt(&mut self, to: &str) -> Response {
        match self.state.trouble() {
            Some(Trouble::Recipient(code, address)) if address == to => {
                Response::custom(code, format!("{to}: no"))
            }
            _ => response::OK,
        }
    }

    fn data_start(&mut self, _: &str, from: &str, _: bool, to: &[String]) -> Response {
        self.email = Some(Received {
            from: from.to_owned(),
            recipients: to.to_vec(),
            raw: Vec::new(),
        });
        response::OK
    }

    fn data(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.email
            .as_mut()
            .expect("begun")
            .raw
            .extend_from_slice(line);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        if self.state.trouble() == Some(Trouble::Spam) {
            return response::TRANSACTION_FAILED;
        }
        let email = self.email.take().expect("begun");
        self.state.received.lock().expect("no panic").push(email);
        response::OK
    }

    fn auth_plain(&mut self, _: &str, user: &str, password: &str) -> Response {
        self.sign_in(user, password)
    }

    fn auth_login(&mut self, user: &str, password: &str) -> Response {
        self.sign_in(user, password)
    }
}
