//! Emails as those who get them have them.

use std::path::Path;

use mail_parser::{Address, MessageParser, MimeHeaders};

/// An email that arrived.
#[derive(Clone, Debug)]
pub struct Mail {
    pub subject: String,
    pub from: String,
    pub to: Vec<String>,
    pub copies: Vec<String>,
    pub reply_to: Vec<String>,
    pub message_id: String,
    pub text: String,
    pub html: String,
    /// The images that the HTML shows: Content-ID and kind.
    pub inside: Vec<(String, String)>,
    /// The files sent along: name and bytes.
    pub attached: Vec<(String, Vec<u8>)>,
    pub raw: String,
}

impl Mail {
    pub fn read(raw: &[u8]) -> Mail {
        let message = MessageParser::default().parse(raw).expect("a message");
        let addresses = |list: Option<&Address>| -> Vec<String> {
            let list = list.into_iter().flat_map(|list| list.iter());
            list.map(|one| one.address().expect("an address").to_owned())
                .collect()
        };
        let (mut inside, mut attached) = (Vec::new(), Vec::new());
        for part in message.attachments() {
            let kind = part.content_type().expect("a kind");
            let kind = format!("{}/{}", kind.ctype(), kind.subtype().expect("a kind"));
            match part.content_id() {
                Some(id) => inside.push((id.to_owned(), kind)),
                None => {
                    let name = part.attachment_name().expect("a name").to_owned();
                    attached.push((name, part.contents().to_vec()));
                }
            }
        }
        let from = message
            .from()
            .and_then(|from| from.first())
            .expect("a sender");
        Mail {
            subject: message.subject().expect("a subject").to_owned(),
            from: format!(
                "{} <{}>",
                from.name().unwrap_or_default(),
                from.address().unwrap_or_default()
            ),
            to: addresses(message.to()),
            copies: addresses(message.cc()),
            reply_to: addresses(message.reply_to()),
            message_id: message.message_id().expect("an id").to_owned(),
            text: message.body_text(0).expect("a text").replace("\r\n", "\n"),
            html: message.body_html(0).expect("HTML").into_owned(),
            inside,
            attached,
            raw: String::from_utf8(raw.to_vec()).expect("ASCII"),
        }
    }

    /// The emails in a folder, oldest first.
    pub fn in_folder(folder: &Path) -> Vec<Mail> {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Vec::new();
        };
        // What begins with a point is being written.
        let mut files: Vec<_> = entries
            .map(|entry| entry.expect("a file").path())
            .filter(|path| path.extension().is_some_and(|end| end == "eml"))
            .collect();
        files.sort();
        files
            .iter()
            .map(|file| Mail::read(&std::fs::read(file).expect("an email")))
            .collect()
    }

    /// The names of the headers above the body, in lower case.
    pub fn headers(&self) -> Vec<String> {
        let (head, _) = self.raw.split_once("\r\n\r\n").expect("a body");
        head.split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']))
            .map(|line| line.split(':').next().unwrap_or_default().to_lowercase())
            .collect()
    }
}
