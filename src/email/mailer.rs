//! [`Mailer`]: the way out of the house, by SMTP or into a folder.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use lettre::Address;

use super::branding::Branding;
use super::smtp::{CopyOutcome, Failure, Smtp};
use crate::config::Config;

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

/// An email ready to go: from whom it is, is the house's to say.
pub struct Envelope<'a> {
    pub to: &'a Address,
    pub copy: Option<&'a Address>,
    /// The name of its file in a folder. An email that is sent again overwrites itself.
    pub file: &'a str,
    pub message: &'a [u8],
}

impl Mailer {
    /// # Errors
    /// When the logo or a certificate cannot be read.
    pub fn new(config: &Config) -> anyhow::Result<Mailer> {
        let way = match &config.smtp {
            Some(server) => Way::Smtp(Box::new(Smtp::new(server.clone(), config)?)),
            None => Way::Folder(config.data_dir.join("mail")),
        };
        let branding = Branding::new(config)?;
        Ok(Mailer(Arc::new(Inner { branding, way })))
    }

    /// The shop as its emails show it.
    pub fn branding(&self) -> &Branding {
        &self.0.branding
    }

    /// Hands an email over, with what became of the copy.
    ///
    /// # Errors
    /// Whether another attempt may succeed, and why this one did not.
    pub(super) async fn deliver(&self, email: Envelope<'_>) -> Result<CopyOutcome, Failure> {
        match &self.0.way {
            Way::Smtp(smtp) => {
                let from = &self.0.branding.from.email;
                smtp.deliver(from, email.to, email.copy, email.message)
                    .await
            }
            Way::Folder(folder) => {
                let (folder, file) = (folder.clone(), email.file.to_owned());
                let message = email.message.to_vec();
                let writing =
                    tokio::task::spawn_blocking(move || write_whole(&folder, &file, &message));
                match writing.await {
                    Ok(Ok(())) => Ok(CopyOutcome::Taken),
                    Ok(Err(error)) => Err(Failure::Passing(format!("{error:#}"))),
                    Err(error) => Err(Failure::Passing(error.to_string())),
                }
            }
        }
    }
}

/// Writes a file whole or not at all, over one of the same name.
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
