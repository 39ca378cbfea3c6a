//! The shop as its emails show it: name, addresses, logo, colour.

use std::path::Path;

use anyhow::{Context, ensure};
use chrono_tz::Tz;
use image::ImageFormat;
use lettre::Address;
use lettre::message::Mailbox;

use super::images::Image;
use crate::config::{Color, Config};

/// The largest logo, in bytes: it is part of every email.
const LOGO_LIMIT: u64 = 1024 * 1024;

/// Who an email is from, and the dress it wears.
#[derive(Clone, Debug)]
pub struct Branding {
    pub name: String,
    pub from: Mailbox,
    /// Where the owner reads mail.
    pub address: Address,
    /// The storefront.
    pub url: String,
    /// The address that the admin's paths follow.
    pub admin_url: String,
    pub color: Color,
    /// The zone in which emails name days.
    pub zone: Tz,
    pub logo: Option<Logo>,
}

#[derive(Clone, Debug)]
pub enum Logo {
    /// Sent along with each email.
    Inside(Image),
    /// An address that mail programs may fetch.
    Elsewhere(String),
}

impl Branding {
    /// # Errors
    /// When an address is none, or the logo's file cannot be read.
    pub fn new(config: &Config) -> anyhow::Result<Branding> {
        let from = &config.mail_from;
        let name = one_line(&config.shop_name, 100);
        Ok(Branding {
            from: Mailbox::new(
                Some(from.name.clone().unwrap_or_else(|| name.clone())),
                parse_address(from.email.as_ref()).context("MAIL_FROM is no address")?,
            ),
            name,
            address: parse_address(&config.shop_email).context("SHOP_EMAIL is no address")?,
            url: config.frontend_url.clone(),
            admin_url: config.public_url.clone(),
            color: config.shop_color,
            zone: config.shop_time_zone,
            logo: config.shop_logo.as_deref().map(read_logo).transpose()?,
        })
    }

    /// The same house under the name that the owner gave it meanwhile.
    pub fn named(&self, name: &str) -> Branding {
        let name = one_line(name, 100);
        let mut branding = self.clone();
        // A name that MAIL_FROM has of its own stays.
        if branding.from.name.as_ref() == Some(&branding.name) {
            branding.from.name = Some(name.clone());
        }
        branding.name = name;
        branding
    }

    /// Black or white: what can be read on the shop's colour.
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
        // Where the contrasts with both are the same.
        if luminance > 0.179 {
            "#1d1916"
        } else {
            "#ffffff"
        }
    }

    /// The domain that ids of emails and their parts end in.
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
    let read = || -> anyhow::Result<Image> {
        ensure!(
            std::fs::metadata(path)?.len() <= LOGO_LIMIT,
            "it has more than 1 MB"
        );
        let bytes = std::fs::read(path)?;
        let format = image::guess_format(&bytes)?;
        ensure!(
            [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif].contains(&format),
            "it is no PNG, JPEG or GIF"
        );
        let mime = format.to_mime_type().to_owned();
        Ok(Image { bytes, mime })
    };
    let image = read().with_context(|| format!("reading {logo} (SHOP_LOGO says which)"))?;
    Ok(Logo::Inside(image))
}

/// An address that an email can be sent to: one, with a host name as domain, which is written in ASCII. A name before the
/// `@` beyond ASCII is none: few mail servers take such letters (RFC 6531), and fewer hand them on.
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

/// The text as one line of at most so many characters, fit for a header: without control characters, and without what a
/// mail program would decode (RFC 2047).
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
    fn a_line_for_a_header_is_one_line() {
        assert_eq!(one_line(" a\r\nBcc: b\0\u{2028}c\t", 50), "a Bcc: b c");
        assert_eq!(one_line("Łódź 你好", 50), "Łódź 你好");
        assert_eq!(one_line("=?utf-8?q?=0D=0A?=", 50), "= ?utf-8?q?=0D=0A?=");
        assert_eq!(one_line(&"x".repeat(300), 10), "xxxxxxxxx…");
    }
}
