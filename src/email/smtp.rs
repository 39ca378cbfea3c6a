//! The dialogue with the mail server: one line per letter, each step with a time-out.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::config::{Config, Security, SmtpServer};

/// The longest dialogue. A letter whose attempt began longer ago than this has nobody at work on it.
pub const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Why a letter was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another attempt may succeed.
    Passing(String),
    /// The server will never take it.
    Final(String),
}

pub struct Smtp {
    server: SmtpServer,
    hello: ClientId,
    tls: TlsParameters,
    step: Duration,
}

impl Smtp {
    /// # Errors
    /// When the file of the further certificate cannot be read.
    pub fn new(server: SmtpServer, config: &Config) -> anyhow::Result<Smtp> {
        let mut tls = TlsParameters::builder(server.host.clone());
        if let Some(path) = &config.smtp_ca_file {
            tls = tls.add_root_certificate(read_certificate(path)?);
        }
        Ok(Smtp {
            hello: server
                .hello
                .clone()
                .map(ClientId::Domain)
                .unwrap_or_default(),
            tls: tls.build().context("preparing TLS for the mail server")?,
            step: config.smtp_timeout,
            server,
        })
    }

    /// Hands a letter over. When this returns, the server has taken it; with what became of the copy where the server
    /// would not take that. A refused copy does not keep the letter from its recipient.
    pub async fn deliver(
        &self,
        from: &Address,
        to: &Address,
        copy: Option<&Address>,
        message: &[u8],
    ) -> Result<Option<String>, Failure> {
        timeout(LONGEST, self.dialogue(from, to, copy, message))
            .await
            .unwrap_or_else(|_| Err(Failure::Passing("the dialogue took too long".to_owned())))
    }

    async fn dialogue(
        &self,
        from: &Address,
        to: &Address,
        copy: Option<&Address>,
        message: &[u8],
    ) -> Result<Option<String>, Failure> {
        let mut line = self.connect().await.map_err(|failure| match failure {
            // A server that lets nobody in, or not us, has said nothing of this letter.
            Failure::Final(why) | Failure::Passing(why) => Failure::Passing(why),
        })?;
        let sender = Mail::new(Some(from.clone()), Vec::new());
        self.step("MAIL", line.command(sender)).await?;
        let recipient = Rcpt::new(to.clone(), Vec::new());
        self.step("RCPT", line.command(recipient)).await?;
        let mut not_copied = None;
        if let Some(copy) = copy {
            let recipient = Rcpt::new(copy.clone(), Vec::new());
            match timeout(self.step, line.command(recipient)).await {
                Ok(Err(error)) if error.status().is_some() => not_copied = Some(error.to_string()),
                answer => {
                    Self::judge("RCPT", answer)?;
                }
            }
        }
        self.step("DATA", line.command(Data)).await?;
        // A large one takes a while, and giving it up too early means sending it twice.
        let handing_over = timeout(self.step * 4, line.message(message)).await;
        Self::judge("the letter", handing_over)?;
        // The letter is theirs now, however the line ends.
        let _ = timeout(self.step, line.quit()).await;
        Ok(not_copied)
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        let server = &self.server;
        let wrapped = (server.security == Security::Wrapped).then(|| self.tls.clone());
        let connecting = AsyncSmtpConnection::connect_tokio1(
            (server.host.as_str(), server.port),
            // For one of the name's addresses, so that another one gets its turn within the step.
            Some(self.step / 3),
            &self.hello,
            wrapped,
            None,
        );
        let mut line = self.step("connecting", connecting).await?;
        let upgrade = match server.security {
            Security::Required => true,
            Security::Opportunistic => line.can_starttls(),
            Security::None | Security::Wrapped => false,
        };
        if upgrade {
            let upgrading = line.starttls(self.tls.clone(), &self.hello);
            self.step("STARTTLS", upgrading).await?;
        }
        if let Some((user, password)) = &server.login {
            let credentials = Credentials::new(user.clone(), password.reveal().to_owned());
            let signing_in = line.auth(DEFAULT_MECHANISMS, &credentials);
            self.step("signing in", signing_in).await?;
        }
        Ok(line)
    }

    async fn step<T>(
        &self,
        what: &str,
        action: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        Self::judge(what, timeout(self.step, action).await)
    }

    fn judge<T>(what: &str, answer: Result<Result<T, Error>, Elapsed>) -> Result<T, Failure> {
        match answer {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(sort(what, &error)),
            Err(_) => Err(Failure::Passing(format!("{what}: no answer in time"))),
        }
    }
}

/// Permanent is what the server calls so, but for its wish that we sign in (better).
///
/// Source: <https://www.rfc-editor.org/rfc/rfc4954#section-6>
fn sort(what: &str, error: &Error) -> Failure {
    let said = format!("{what}: {error}");
    let code = error.status().map(u16::from);
    let of_login = matches!(code, Some(530 | 534 | 535 | 538));
    if error.is_permanent() && !of_login {
        Failure::Final(said)
    } else {
        Failure::Passing(said)
    }
}

fn read_certificate(path: &Path) -> anyhow::Result<Certificate> {
    let read =
        || -> anyhow::Result<Certificate> { Ok(Certificate::from_pem(&std::fs::read(path)?)?) };
    read().with_context(|| format!("reading {} (SMTP_CA_FILE says which)", path.display()))
}
