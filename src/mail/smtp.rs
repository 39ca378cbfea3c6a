//! SMTP delivery: one connection per email, with a time-out for each step.

mod connection;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lettre::Address;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::{Config, Secret, Security, SmtpServer};
use connection::{Connection, Reply};

/// Upper bound of an SMTP dialogue. An attempt that began earlier is no longer running.
pub const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Reasons for a failed delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryFailure {
    /// Another attempt may succeed.
    Passing(String),
    /// The server rejected the email permanently.
    Final(String),
}

/// A mail server with its TLS settings.
pub struct Smtp {
    server: SmtpServer,
    hello: String,
    tls: TlsConnector,
    step: Duration,
}

impl Smtp {
    /// Sets up TLS for a server.
    ///
    /// # Errors
    /// When the additional certificate file cannot be read.
    pub fn new(server: SmtpServer, config: &Config) -> anyhow::Result<Smtp> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(path) = &config.mail.smtp_ca_file {
            add_certificates(&mut roots, path)
                .with_context(|| format!("reading {} (SMTP_CA_FILE)", path.display()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("preparing TLS for the mail server")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Smtp {
            hello: server.hello.clone().unwrap_or_else(host_name),
            tls: TlsConnector::from(Arc::new(tls)),
            step: config.mail.smtp_timeout,
            server,
        })
    }

    /// Delivers an email. On success, the server has accepted it.
    pub async fn deliver(
        &self,
        from: &Address,
        to: &Address,
        message: &[u8],
    ) -> Result<(), DeliveryFailure> {
        timeout(LONGEST, self.dialogue(from, to, message))
            .await
            .unwrap_or_else(|_| {
                Err(DeliveryFailure::Passing(
                    "the dialogue took too long".to_owned(),
                ))
            })
    }

    async fn dialogue(
        &self,
        from: &Address,
        to: &Address,
        message: &[u8],
    ) -> Result<(), DeliveryFailure> {
        let mut line = self.connect().await.map_err(|failure| match failure {
            // A server that rejects the connection or the credentials has not judged this email.
            DeliveryFailure::Final(why) | DeliveryFailure::Passing(why) => {
                DeliveryFailure::Passing(why)
            }
        })?;
        self.command(&mut line, "MAIL", &format!("MAIL FROM:<{from}>"))
            .await?;
        self.command(&mut line, "RCPT", &format!("RCPT TO:<{to}>"))
            .await?;
        let reply = self.step("DATA", line.command("DATA")).await?;
        judge("DATA", reply, 3)?;
        // A large email takes a while, and giving up too early means sending it twice.
        let what = "the email";
        let reply = within(self.step * 4, what, line.message(message)).await?;
        judge(what, reply, 2)?;
        // The server has accepted the email by now, however the connection ends.
        let _ = timeout(self.step, line.command("QUIT")).await;
        Ok(())
    }

    async fn connect(&self) -> Result<Connection, DeliveryFailure> {
        let server = &self.server;
        // A third of the step for each address of the host name, so that the next one gets a try.
        let opening = Connection::open(&server.host, server.port, self.step / 3);
        let mut line = self.step("connecting", opening).await?;
        if server.security == Security::Wrapped {
            line = self.secure("connecting", line).await?;
        }
        judge(
            "connecting",
            self.step("connecting", line.reply()).await?,
            2,
        )?;
        let mut extensions = self.hello(&mut line).await?;
        let upgrade = match server.security {
            Security::Required => true,
            Security::Opportunistic => extensions.extension("STARTTLS").is_some(),
            Security::None | Security::Wrapped => false,
        };
        if upgrade {
            self.command(&mut line, "STARTTLS", "STARTTLS").await?;
            line = self.secure("STARTTLS", line).await?;
            // Asked again: what the server said before the encryption may be forged.
            extensions = self.hello(&mut line).await?;
        }
        if let Some((user, password)) = &server.login {
            let mechanisms = extensions.extension("AUTH").unwrap_or_default();
            self.sign_in(&mut line, mechanisms, user, password).await?;
        }
        Ok(line)
    }

    async fn secure(&self, what: &str, line: Connection) -> Result<Connection, DeliveryFailure> {
        let name = ServerName::try_from(self.server.host.clone())
            .map_err(|error| DeliveryFailure::Passing(format!("{what}: {error}")))?;
        self.step(what, line.secure(&self.tls, name)).await
    }

    /// Greets the server, in the old way where it does not know the new one: then it has no extensions.
    async fn hello(&self, line: &mut Connection) -> Result<Reply, DeliveryFailure> {
        let ehlo = format!("EHLO {}", self.hello);
        let reply = self.step("EHLO", line.command(&ehlo)).await?;
        if !matches!(reply.code, 500 | 502 | 504) {
            return judge("EHLO", reply, 2);
        }
        self.command(line, "HELO", &format!("HELO {}", self.hello))
            .await
    }

    async fn sign_in(
        &self,
        line: &mut Connection,
        mechanisms: &str,
        user: &str,
        password: &Secret,
    ) -> Result<(), DeliveryFailure> {
        let what = "signing in";
        let knows = |name| {
            mechanisms
                .split(' ')
                .any(|known| name == known.to_uppercase())
        };
        if knows("PLAIN") {
            let secret = BASE64_STANDARD.encode(format!("\0{user}\0{}", password.reveal()));
            self.command(line, what, &format!("AUTH PLAIN {secret}"))
                .await?;
        } else if knows("LOGIN") {
            for said in ["AUTH LOGIN".to_owned(), BASE64_STANDARD.encode(user)] {
                judge(what, self.step(what, line.command(&said)).await?, 3)?;
            }
            let secret = BASE64_STANDARD.encode(password.reveal());
            self.command(line, what, &secret).await?;
        } else {
            let why = "the server offers no supported authentication (PLAIN, LOGIN)";
            return Err(DeliveryFailure::Passing(format!("{what}: {why}")));
        }
        Ok(())
    }

    /// Sends a command and requires a positive reply.
    async fn command(
        &self,
        line: &mut Connection,
        what: &str,
        command: &str,
    ) -> Result<Reply, DeliveryFailure> {
        judge(what, self.step(what, line.command(command)).await?, 2)
    }

    async fn step<T>(
        &self,
        what: &str,
        action: impl Future<Output = io::Result<T>>,
    ) -> Result<T, DeliveryFailure> {
        within(self.step, what, action).await
    }
}

async fn within<T>(
    limit: Duration,
    what: &str,
    action: impl Future<Output = io::Result<T>>,
) -> Result<T, DeliveryFailure> {
    match timeout(limit, action).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(DeliveryFailure::Passing(format!("{what}: {error}"))),
        Err(_) => Err(DeliveryFailure::Passing(format!(
            "{what}: no answer in time"
        ))),
    }
}

/// Accepts a reply whose code begins with the wanted digit. 5xx is permanent, except for a demand for (better)
/// authentication.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc4954#section-6>
fn judge(what: &str, reply: Reply, wanted: u16) -> Result<Reply, DeliveryFailure> {
    if reply.code / 100 == wanted {
        return Ok(reply);
    }
    let said = format!("{what}: {reply}");
    let of_login = matches!(reply.code, 530 | 534 | 535 | 538);
    if reply.code / 100 == 5 && !of_login {
        Err(DeliveryFailure::Final(said))
    } else {
        Err(DeliveryFailure::Passing(said))
    }
}

/// Host name for `EHLO`.
fn host_name() -> String {
    hostname::get()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty() && !name.contains(char::is_whitespace))
        .unwrap_or_else(|| "[127.0.0.1]".to_owned())
}

fn add_certificates(roots: &mut RootCertStore, path: &Path) -> anyhow::Result<()> {
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
    }
    ensure!(roots.len() > before, "it contains no certificate");
    Ok(())
}
