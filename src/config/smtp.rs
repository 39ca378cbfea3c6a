//! The mail server in `SMTP_URL`.

use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::Secret;

/// Encryption of the connection to the mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Plain text.
    None,
    /// STARTTLS if the server offers it.
    Opportunistic,
    /// STARTTLS, or no email is sent.
    Required,
    /// TLS from the first byte.
    Wrapped,
}

/// A mail server, read from an address such as `smtps://user:password@mail.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpServer {
    /// A host name or an address, without brackets.
    pub host: String,
    pub port: u16,
    pub security: Security,
    /// User and password.
    pub login: Option<(String, Secret)>,
    /// EHLO host name, if it differs from this machine's.
    pub hello: Option<String>,
}

impl SmtpServer {
    /// Returns true when the password would travel unencrypted over a network.
    pub fn shows_password(&self) -> bool {
        let protected = matches!(self.security, Security::Required | Security::Wrapped);
        let own = ["localhost", "127.0.0.1", "::1"].contains(&self.host.as_str());
        self.login.is_some() && !protected && !own
    }
}

impl FromStr for SmtpServer {
    type Err = &'static str;

    /// Parses the URLs that lettre's `from_url` parses. Source:
    /// <https://docs.rs/lettre/0.11/lettre/transport/smtp/struct.AsyncSmtpTransport.html#method.from_url>
    fn from_str(text: &str) -> Result<SmtpServer, &'static str> {
        const FORM: &str =
            "must be an address of a mail server, as smtps://user:password@mail.example.com";
        let url = Url::parse(text).map_err(|_| FORM)?;
        let tls = url.query_pairs().find(|(name, _)| name == "tls");
        let (security, port) = match (url.scheme(), tls.as_ref().map(|(_, tls)| tls.as_ref())) {
            ("smtps", _) => (Security::Wrapped, 465),
            ("smtp", None) => (Security::None, 25),
            ("smtp", Some("required")) => (Security::Required, 587),
            ("smtp", Some("opportunistic")) => (Security::Opportunistic, 587),
            ("smtp", Some(_)) => {
                return Err("has a tls value other than required or opportunistic");
            }
            _ => return Err(FORM),
        };
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8().ok()?.into_owned();
            (!text.is_empty()).then_some(text)
        };
        let host = match url.host() {
            Some(Host::Domain(name)) => decoded(name),
            Some(Host::Ipv4(address)) => Some(address.to_string()),
            Some(Host::Ipv6(address)) => Some(address.to_string()),
            None => None,
        };
        let login = match (decoded(url.username()), url.password().map(decoded)) {
            (None, None) => None,
            (Some(user), Some(Some(password))) => Some((user, Secret::new(password))),
            _ => return Err("must have both user and password, or neither"),
        };
        Ok(SmtpServer {
            host: host.ok_or(FORM)?,
            port: url.port().unwrap_or(port),
            security,
            login,
            hello: decoded(url.path().trim_matches('/')),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_says_where_and_how() {
        let server = |url: &str| {
            url.parse::<SmtpServer>()
                .map(|s| (s.host, s.port, s.security))
        };
        let at = |host: &str, port, security| Ok((host.to_owned(), port, security));
        assert_eq!(server("smtp://mail"), at("mail", 25, Security::None));
        assert_eq!(
            server("smtps://m.example"),
            at("m.example", 465, Security::Wrapped)
        );
        assert_eq!(
            server("smtp://m.example?tls=required"),
            at("m.example", 587, Security::Required)
        );
        assert_eq!(
            server("smtp://[::1]:2525?tls=opportunistic"),
            at("::1", 2525, Security::Opportunistic)
        );
        let named: SmtpServer = "smtps://a%40b.example:p%3Aw%2B+@m.example/shop.example"
            .parse()
            .expect("an address");
        let login = named.login.expect("a login");
        assert_eq!(
            (login.0.as_str(), login.1.reveal()),
            ("a@b.example", "p:w++")
        );
        assert_eq!(named.hello.as_deref(), Some("shop.example"));
        for bad in [
            "",
            "mail.example",
            "http://mail.example",
            "smtp://",
            "smtp://mail?tls=yes",
            "smtp://user@mail",
            "smtp://:password@mail",
            "smtp://mail:70000",
        ] {
            assert!(bad.parse::<SmtpServer>().is_err(), "{bad}");
        }
    }
}
