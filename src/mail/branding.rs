//! Branding of emails: the shop's name, addresses, logo and color.

use std::path::Path;

use anyhow::{Context, ensure};
use chrono_tz::Tz;
use image::ImageFormat;
use lettre::Address;
use lettre::message::Mailbox;

use crate::config::{Color, Config};

/// Size limit of the logo in bytes, because every email includes it.
const LOGO_LIMIT: u64 = 1024 * 1024;

/// An image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFile {
    pub bytes: Vec<u8>,
    /// Media type, such as `image/jpeg`.
    pub mime: String,
}

/// Sender and branding of outgoing email.
#[derive(Clone, Debug)]
pub struct Branding {
    pub name: String,
    pub from: Mailbox,
    /// The owner's mailbox.
    pub address: Address,
    /// Address of the storefront.
    pub url: String,
    /// Base address of the admin's paths.
    pub admin_url: String,
    pub color: Color,
    /// Time zone of the days in emails.
    pub zone: Tz,
    pub voice: Voice,
    pub logo: Option<Logo>,
}

/// The owner's own words in emails to customers. An empty text is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voice {
    /// First line, in which [`Voice::NAME`] stands for the customer's name.
    pub greeting: String,
    /// Words before the signature.
    pub closing: String,
    pub signature: String,
    /// Advice on the care of a piece, for emails about pieces that arrive.
    pub care: String,
}

impl Voice {
    /// Stands for the customer's name in the greeting.
    pub const NAME: &str = "{name}";

    /// Greets a customer. Without a name, the space or comma beside it goes, too.
    pub fn greet(&self, name: &str) -> String {
        let name = one_line(name, 100);
        if !name.is_empty() {
            return self.greeting.replace(Voice::NAME, &name);
        }
        let without = [", {name}", " {name}", "{name}, ", "{name} ", Voice::NAME]
            .into_iter()
            .fold(self.greeting.clone(), |text, part| text.replace(part, ""));
        match without.contains(char::is_alphanumeric) {
            true => without,
            false => "Hello,".to_owned(),
        }
    }
}

impl Default for Voice {
    fn default() -> Voice {
        Voice {
            greeting: format!("Hello {},", Voice::NAME),
            closing: String::new(),
            signature: String::new(),
            care: String::new(),
        }
    }
}

/// The shop's logo in emails.
#[derive(Clone, Debug)]
pub enum Logo {
    /// Embedded in each email.
    Inside(ImageFile),
    /// An address that mail programs may fetch.
    Elsewhere(String),
}

impl Branding {
    /// Reads the branding from the configuration.
    ///
    /// # Errors
    /// For a malformed address, or a logo file that cannot be read.
    pub fn new(config: &Config) -> anyhow::Result<Branding> {
        let from = &config.mail.from;
        let name = one_line(&config.shop.name, 100);
        Ok(Branding {
            from: Mailbox::new(
                Some(from.name.clone().unwrap_or_else(|| name.clone())),
                parse_address(from.email.as_ref()).context("MAIL_FROM is no address")?,
            ),
            name,
            address: parse_address(&config.shop.email).context("SHOP_EMAIL is no address")?,
            url: config.server.frontend_url.clone(),
            admin_url: config.server.public_url.clone(),
            color: config.shop.color,
            zone: config.shop.time_zone,
            voice: Voice::default(),
            logo: config.shop.logo.as_deref().map(read_logo).transpose()?,
        })
    }

    /// The same branding with the name, the time zone and the words from the settings.
    pub fn under(&self, name: &str, zone: Tz, voice: Voice) -> Branding {
        let name = one_line(name, 100);
        let mut branding = self.clone();
        // A name of its own in MAIL_FROM stays.
        if branding.from.name.as_ref() == Some(&branding.name) {
            branding.from.name = Some(name.clone());
        }
        branding.name = name;
        branding.zone = zone;
        branding.voice = voice;
        branding
    }

    /// Black or white, whichever is readable on the shop's color.
    ///
    /// Source: <https://www.w3.org/TR/WCAG22/#dfn-relative-luminance>
    pub fn on_color(&self) -> &'static str {
        let [red, green, blue] = self.color.0.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 {
                part / 12.92
            } else {
                ((part + 0.055) / 1.055).powf(2.4)
            }
        });
        let luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        // At this luminance, the contrasts with black and with white are equal.
        if luminance > 0.179 {
            "#1d1916"
        } else {
            "#ffffff"
        }
    }

    /// Domain of the ids of emails and their parts.
    pub fn domain(&self) -> &str {
        self.from.email.domain()
    }
}

fn read_logo(logo: &str) -> anyhow::Result<Logo> {
    if logo.contains("://") {
        ensure!(
            logo.starts_with("https://") && url::Url::parse(logo).is_ok(),
            "SHOP_LOGO must be a file or an https address"
        );
        return Ok(Logo::Elsewhere(logo.to_owned()));
    }
    let path = Path::new(logo);
    let read = || -> anyhow::Result<ImageFile> {
        ensure!(
            std::fs::metadata(path)?.len() <= LOGO_LIMIT,
            "it is larger than 1 MB"
        );
        let bytes = std::fs::read(path)?;
        let format = image::guess_format(&bytes)?;
        ensure!(
            [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif].contains(&format),
            "it is not a PNG, JPEG or GIF"
        );
        let mime = format.to_mime_type().to_owned();
        Ok(ImageFile { bytes, mime })
    };
    let image = read().with_context(|| format!("reading {logo} (SHOP_LOGO)"))?;
    Ok(Logo::Inside(image))
}

/// Parses a deliverable address: a single one, whose domain is a host name in ASCII. A local part beyond ASCII is
/// rejected: few mail servers accept it (RFC 6531), and fewer relay it.
pub fn parse_address(text: &str) -> Option<Address> {
    let address: Address = text.trim().parse().ok()?;
    if !address.user().is_ascii() {
        return None;
    }
    let url::Host::Domain(domain) = url::Host::parse(address.domain()).ok()? else {
        return None;
    };
    Address::new(address.user(), domain).ok()
}

/// Shortens a text to one header line of at most `most` characters, without control characters and without sequences
/// that a mail program would decode (RFC 2047).
pub fn one_line(text: &str, most: usize) -> String {
    let plain: String = text
        .chars()
        .map(|c| {
            if c.is_control() || "\u{2028}\u{2029}".contains(c) {
                ' '
            } else {
                c
            }
        })
        .collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let line = words.join(" ").replace("=?", "= ?");
    if line.chars().count() <= most {
        return line;
    }
    let mut short: String = line.chars().take(most - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_mailbox_at_a_named_host() {
        for (text, address) in [
            ("ann@example.com", Some("ann@example.com")),
            (" ann+beads@example.com ", Some("ann+beads@example.com")),
            ("o'neil@example.com", Some("o'neil@example.com")),
            ("\"a b\"@example.com", Some("\"a b\"@example.com")),
            ("shop@localhost", Some("shop@localhost")),
            ("ann@bücher.example", Some("ann@xn--bcher-kva.example")),
            ("änn@example.com", None),
            ("", None),
            ("ann", None),
            ("ann@", None),
            ("@example.com", None),
            ("ann@example.com, bob@example.com", None),
            ("ann@example.com\r\nBcc: bob@example.com", None),
            ("ann@example.com\nRCPT TO:<bob@example.com>", None),
            ("ann\0@example.com", None),
            ("Ann <ann@example.com>", None),
            ("<ann@example.com>", None),
            ("ann@example.com>", None),
            ("ann bob@example.com", None),
            ("ann@exam ple.com", None),
            ("ann@-example.com", None),
            ("ann@127.0.0.1", None),
            ("ann@[127.0.0.1]", None),
            ("ann@[::1]", None),
            ("\"a\r\nb\"@example.com", None),
        ] {
            assert_eq!(
                parse_address(text).map(|a| a.to_string()).as_deref(),
                address,
                "{text:?}"
            );
        }
        assert!(parse_address(&format!("{}@example.com", "a".repeat(65))).is_none());
    }

    #[test]
    fn a_greeting_without_a_name_reads_well() {
        for (greeting, named, bare) in [
            ("Hello {name},", "Hello Mary,", "Hello,"),
            ("Hi, {name}!", "Hi, Mary!", "Hi!"),
            ("Dear friend,", "Dear friend,", "Dear friend,"),
            ("{name}, hello", "Mary, hello", "hello"),
            ("{name},", "Mary,", "Hello,"),
            ("{name}", "Mary", "Hello,"),
        ] {
            let voice = Voice {
                greeting: greeting.to_owned(),
                ..Voice::default()
            };
            assert_eq!(voice.greet(" Mary\n"), named);
            assert_eq!(voice.greet(""), bare);
        }
    }

    #[test]
    fn a_line_for_a_header_is_one_line() {
        assert_eq!(one_line(" a\r\nBcc: b\0\u{2028}c\t", 50), "a Bcc: b c");
        assert_eq!(one_line("Łódź 你好", 50), "Łódź 你好");
        assert_eq!(one_line("=?utf-8?q?=0D=0A?=", 50), "= ?utf-8?q?=0D=0A?=");
        assert_eq!(one_line(&"x".repeat(300), 10), "xxxxxxxxx…");
    }
}
