//! Settings of outgoing email.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;

use super::reader::Reader;
use super::smtp::SmtpServer;

/// Sender and delivery of emails.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// Sender of emails.
    pub from: Mailbox,
    /// `None`: emails are written as files into `DATA_DIR`.
    pub smtp: Option<SmtpServer>,
    /// Additional certificate authority (PEM) for the mail server.
    pub smtp_ca_file: Option<PathBuf>,
    /// Time-out of one step of the SMTP dialogue.
    pub smtp_timeout: Duration,
}

impl MailConfig {
    pub(super) fn read(reader: &mut Reader<'_>, production: bool) -> MailConfig {
        let smtp = smtp(reader, "SMTP_URL", production);
        let from = match reader.text("MAIL_FROM").map(|text| text.parse()) {
            Some(Ok(from)) => from,
            Some(Err(_)) => {
                reader.field_error(
                    "MAIL_FROM",
                    "must be an email address, as Spirit Beads <shop@example.com>",
                );
                no_reply()
            }
            None => no_reply(),
        };
        reader.required("SMTP_URL", production);
        reader.required("MAIL_FROM", production);
        MailConfig {
            from,
            smtp,
            smtp_ca_file: reader.text("SMTP_CA_FILE").map(PathBuf::from),
            smtp_timeout: reader.seconds("SMTP_TIMEOUT_SECONDS", 30),
        }
    }
}

fn smtp(reader: &mut Reader<'_>, name: &'static str, production: bool) -> Option<SmtpServer> {
    let server = match reader.text(name)?.parse::<SmtpServer>() {
        Ok(server) => server,
        Err(why) => {
            reader.field_error(name, why);
            return None;
        }
    };
    if production && server.shows_password() {
        reader.field_error(
            name,
            "would send the password unencrypted: use smtps:// or ?tls=required",
        );
    }
    Some(server)
}

/// Sender of emails in development.
fn no_reply() -> Mailbox {
    let address = lettre::Address::new("shop", "localhost").expect("a valid address");
    Mailbox::new(None, address)
}
