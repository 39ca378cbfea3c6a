//! Renders an email: reads images, composes the text, fills the templates, and assembles the message.

use std::time::SystemTime;

use anyhow::Context;
use askama::Template;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lettre::Address;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, Message, MultiPart, SinglePart};

use super::content::{Block, EmailContent, ImageUrls};
use super::images::{ImageRef, Images, square};
use super::message::Email;
use crate::mail::{Branding, ImageFile, Logo, one_line};

/// Limit of the images in one email, in bytes before encoding. With the encoding, an email stays below the 25 MB that
/// mail servers accept.
const MOST_BYTES: usize = 15 * 1024 * 1024;

/// Line width of the plain text.
const WIDTH: usize = 76;

/// Side of an order line's image in pixels: twice its displayed size, for high-density screens.
const LINE_SIDE: u32 = 128;
/// Widths of embedded and of attached images.
const SHOWN_WIDTH: u32 = 1040;
const ATTACHED_WIDTH: u32 = 1600;

/// A rendered email.
pub struct Composed {
    pub subject: String,
    pub html: String,
    pub text: String,
    /// Embedded images, by Content-ID.
    inside: Vec<(String, ImageFile)>,
    attached: Vec<ImageFile>,
}

/// Recipients and message id.
pub struct Addressed<'a> {
    pub to: Address,
    pub reply_to: Option<Address>,
    pub message_id: &'a str,
}

#[derive(Template)]
#[template(path = "email.html", config = "src/emails/askama.toml")]
struct Html<'a> {
    page: &'a EmailContent,
    shop: &'a str,
    url: &'a str,
    logo: Option<String>,
    color: String,
    on_color: &'static str,
    beads: Vec<String>,
    /// At least one line has an image.
    pictured: bool,
    sans: &'static str,
    serif: &'static str,
}

#[derive(Template)]
#[template(path = "email.txt", escape = "none", config = "src/emails/askama.toml")]
struct PlainText<'a> {
    page: &'a EmailContent,
    shop: &'a str,
    url: &'a str,
}

/// Renders an email. `id` makes the ids of its parts unique.
///
/// # Errors
/// When the image store is unavailable; otherwise only for a bug in the templates.
pub async fn render(
    email: &Email,
    branding: &Branding,
    images: &impl Images,
    id: &str,
) -> anyhow::Result<Composed> {
    let mut parts = Parts {
        id: format!("{id}@{}", branding.domain()),
        inside: Vec::new(),
        attached: Vec::new(),
        bytes: 0,
    };
    let logo = match &branding.logo {
        Some(Logo::Inside(image)) => parts.show(image.clone()),
        Some(Logo::Elsewhere(url)) => Some(url.clone()),
        None => None,
    };
    let shown = read_images(email, images, &mut parts).await?;
    let page = EmailContent::new(email, branding, &shown);
    let html = Html {
        page: &page,
        shop: &branding.name,
        url: &branding.url,
        logo,
        color: branding.color.to_string(),
        on_color: branding.on_color(),
        beads: beads(branding),
        pictured: shown.lines.iter().any(Option::is_some),
        sans: "font-family:-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,Helvetica,Arial,sans-serif",
        serif: "font-family:Georgia,'Times New Roman',Times,serif",
    };
    let text = PlainText {
        page: &page,
        shop: &branding.name,
        url: &branding.url,
    };
    Ok(Composed {
        subject: one_line(&page.subject, 200),
        html: html.render().context("the HTML of an email")?,
        text: text.render().context("the text of an email")?,
        inside: parts.inside,
        attached: parts.attached,
    })
}

/// The images of an email, within its size limit.
struct Parts {
    /// Suffix of their ids.
    id: String,
    inside: Vec<(String, ImageFile)>,
    attached: Vec<ImageFile>,
    bytes: usize,
}

impl Parts {
    /// Embeds an image and returns its `src`. Returns `None` when it exceeds the limit.
    fn show(&mut self, image: ImageFile) -> Option<String> {
        self.count(&image)?;
        let id = format!("{}.{}", self.inside.len() + 1, self.id);
        let source = format!("cid:{id}");
        self.inside.push((id, image));
        Some(source)
    }

    /// Attaches an image. Returns `None` when it exceeds the limit.
    fn attach(&mut self, image: ImageFile) -> Option<()> {
        self.count(&image)?;
        self.attached.push(image);
        Some(())
    }

    fn count(&mut self, image: &ImageFile) -> Option<()> {
        let bytes = self.bytes + image.bytes.len();
        (bytes <= MOST_BYTES).then(|| self.bytes = bytes)
    }
}

async fn read_images(
    email: &Email,
    images: &impl Images,
    parts: &mut Parts,
) -> anyhow::Result<ImageUrls> {
    let mut shown = ImageUrls::default();
    for image in email.line_images() {
        let source = show_line(image, images, parts).await?;
        shown.lines.push(source);
    }
    for id in email.finished_images() {
        let image = images.read(ImageRef::Kept(id), SHOWN_WIDTH).await?;
        shown
            .images
            .extend(image.and_then(|image| parts.show(image)));
    }
    for id in email.attached_images() {
        let image = images.read(ImageRef::Kept(id), ATTACHED_WIDTH).await?;
        match image.and_then(|image| parts.attach(image)) {
            Some(()) => shown.attached += 1,
            None => shown.left_out += 1,
        }
    }
    Ok(shown)
}

async fn show_line(
    image: Option<&str>,
    images: &impl Images,
    parts: &mut Parts,
) -> anyhow::Result<Option<String>> {
    let Some(image) = image else {
        return Ok(None);
    };
    if !image.starts_with('/') {
        return Ok(image.starts_with("https://").then(|| image.to_owned()));
    }
    let image = images.read(ImageRef::Path(image), LINE_SIDE).await?;
    let small = match image {
        Some(image) => square(image, LINE_SIDE).await,
        None => None,
    };
    Ok(small.and_then(|small| parts.show(small)))
}

/// Colors of the decorative string of beads: the shop's color, darkened and lightened in turn.
fn beads(branding: &Branding) -> Vec<String> {
    let blend = |with: u8, share: u32| {
        let part = |own: u8| (u32::from(own) * (100 - share) + u32::from(with) * share) / 100;
        let [red, green, blue] = branding.color.0.map(part);
        format!("#{red:02x}{green:02x}{blue:02x}")
    };
    let string = [blend(0, 0), blend(255, 35), blend(0, 35), blend(255, 70)];
    string.iter().cycle().take(36).cloned().collect()
}

/// Wraps a text at [`WIDTH`], with an indent.
fn wrapped(text: &str, indent: &str) -> String {
    let options = textwrap::Options::new(WIDTH)
        .initial_indent(indent)
        .subsequent_indent(indent)
        // A longer word may be a link.
        .break_words(false);
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.trim() {
            "" => lines.push(indent.trim_end().to_owned()),
            _ => lines.extend(textwrap::wrap(line, &options).into_iter().map(String::from)),
        }
    }
    lines.join("\n")
}

impl Composed {
    /// The HTML with inlined images, for browsers.
    pub fn standalone(&self) -> String {
        let mut html = self.html.clone();
        for (id, image) in &self.inside {
            let data = BASE64_STANDARD.encode(&image.bytes);
            // Escaped text has no quotation marks, so this matches image sources only.
            html = html.replace(
                &format!("\"cid:{id}\""),
                &format!("\"data:{};base64,{data}\"", image.mime),
            );
        }
        html
    }

    /// Assembles the message for delivery.
    ///
    /// # Errors
    /// Only for a bug: the contents were made fit for a message before.
    pub fn message(self, branding: &Branding, addressed: Addressed<'_>) -> anyhow::Result<Vec<u8>> {
        let mut message = Message::builder()
            .date(SystemTime::now())
            .from(branding.from.clone())
            .to(Mailbox::new(None, addressed.to))
            .subject(self.subject)
            .message_id(Some(addressed.message_id.to_owned()))
            .header(AutoSubmitted);
        if let Some(reply_to) = addressed.reply_to {
            message = message.reply_to(Mailbox::new(None, reply_to));
        }
        let mut shown = MultiPart::related().singlepart(SinglePart::html(self.html));
        for (id, image) in self.inside {
            let kind = content_type(&image)?;
            shown = shown.singlepart(Attachment::new_inline(id).body(image.bytes, kind));
        }
        let both = MultiPart::alternative()
            .singlepart(SinglePart::plain(self.text))
            .multipart(shown);
        let message = if self.attached.is_empty() {
            message.multipart(both)?
        } else {
            let mut all = MultiPart::mixed().multipart(both);
            for (at, image) in self.attached.into_iter().enumerate() {
                let kind = content_type(&image)?;
                let end = image.mime.rsplit('/').next().unwrap_or("jpeg");
                let name = format!("photo-{}.{}", at + 1, end.replace("jpeg", "jpg"));
                all = all.singlepart(Attachment::new(name).body(image.bytes, kind));
            }
            message.multipart(all)?
        };
        Ok(message.formatted())
    }
}

fn content_type(image: &ImageFile) -> anyhow::Result<ContentType> {
    ContentType::parse(&image.mime).with_context(|| format!("the kind {}", image.mime))
}

/// Suppresses out-of-office replies, which nobody would read.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc3834#section-5>
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<AutoSubmitted, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}
