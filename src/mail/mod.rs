//! Mail: delivery by SMTP or into a folder, and the sender with its branding. `emails` decides what is sent.

mod branding;
mod smtp;

pub use branding::{Branding, ImageFile, Logo, Voice, one_line, parse_address};
pub use smtp::{DeliveryFailure, LONGEST};

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use lettre::Address;

use crate::config::Config;
use smtp::Smtp;

/// Sends emails. Cheap to clone.
#[derive(Clone)]
pub struct Mailer(Arc<Inner>);

struct Inner {
    branding: Branding,
    way: Way,
}

enum Way {
    Smtp(Box<Smtp>),
    Folder(PathBuf),
}

/// An email ready to send. The sender is part of the branding.
pub struct Envelope<'a> {
    pub to: &'a Address,
    /// File name in the folder. An email sent again overwrites its file.
    pub file: &'a str,
    pub message: &'a [u8],
}

impl Mailer {
    /// Sets up delivery from the configuration.
    ///
    /// # Errors
    /// When the logo or a certificate cannot be read.
    pub fn new(config: &Config) -> anyhow::Result<Mailer> {
        let way = match &config.mail.smtp {
            Some(server) => Way::Smtp(Box::new(Smtp::new(server.clone(), config)?)),
            None => Way::Folder(config.data_dir.join("mail")),
        };
        let branding = Branding::new(config)?;
        Ok(Mailer(Arc::new(Inner { branding, way })))
    }

    /// Branding of outgoing email.
    pub fn branding(&self) -> &Branding {
        &self.0.branding
    }

    /// Delivers an email: afterward the mail server has it.
    ///
    /// # Errors
    /// The reason, and whether another attempt may succeed.
    pub async fn deliver(&self, email: Envelope<'_>) -> Result<(), DeliveryFailure> {
        match &self.0.way {
            Way::Smtp(smtp) => {
                let from = &self.0.branding.from.email;
                smtp.deliver(from, email.to, email.message).await
            }
            Way::Folder(folder) => {
                let (folder, file) = (folder.clone(), email.file.to_owned());
                let message = email.message.to_vec();
                let writing =
                    tokio::task::spawn_blocking(move || write_whole(&folder, &file, &message));
                match writing.await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(DeliveryFailure::Passing(format!("{error:#}"))),
                    Err(error) => Err(DeliveryFailure::Passing(error.to_string())),
                }
            }
        }
    }
}

/// Writes a file atomically, replacing one of the same name.
fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut draft = tempfile::Builder::new().prefix(".").tempfile_in(folder)?;
        draft.write_all(bytes)?;
        draft.persist(folder.join(name))?;
        Ok(())
    };
    write().with_context(|| format!("writing an email into {}", folder.display()))
}
