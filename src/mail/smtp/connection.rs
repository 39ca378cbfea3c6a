//! A connection to a mail server: commands, replies, TLS.
//!
//! Only the three digits of a reply matter; its text may be in any charset (RFC 5321, 4.2). lettre reads replies as
//! UTF-8 and takes anything else for a broken connection, so that an accepted email would be sent again and again; its
//! transport cannot be replaced beneath it once STARTTLS is used. So lettre builds the message, and this module sends
//! it.

use std::fmt;
use std::io;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Size limit of a reply in bytes: many lines, each far longer than RFC 5321 allows.
const LONGEST_REPLY: u64 = 64 * 1024;

/// Limit of the reply text kept, in characters.
const MOST_WORDS: usize = 500;

/// A server's reply to one command.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// Text of each line, as far as it is UTF-8.
    lines: Vec<String>,
}

impl Reply {
    /// Finds an extension in the reply to `EHLO` and returns its parameters.
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.lines.iter().skip(1).find_map(|line| {
            let (found, parameters) = line.split_once(' ').unwrap_or((line, ""));
            found.eq_ignore_ascii_case(name).then_some(parameters)
        })
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = format!("{} {}", self.code, self.lines.join(" "));
        let words: String = words.chars().take(MOST_WORDS).collect();
        f.write_str(words.trim_end())
    }
}

/// The transport, with or without TLS.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection to a mail server.
pub struct Connection(BufReader<Box<dyn Wire>>);

impl Connection {
    /// Connects to the first address of the host name that answers, each within `patience`. The greeting is still
    /// unread.
    ///
    /// # Errors
    /// The failure of the last address.
    pub async fn open(host: &str, port: u16, patience: Duration) -> io::Result<Connection> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((host, port)).await? {
            match timeout(patience, TcpStream::connect(address)).await {
                Ok(Ok(line)) => return Ok(Connection(BufReader::new(Box::new(line)))),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    /// Upgrades the connection to TLS.
    ///
    /// # Errors
    /// For a certificate that is not valid for this name, and for plain-text data received before the handshake, which
    /// an attacker may have injected.
    pub async fn secure(
        self,
        tls: &TlsConnector,
        name: ServerName<'static>,
    ) -> io::Result<Connection> {
        if !self.0.buffer().is_empty() {
            return Err(odd("the server sent data before TLS was established"));
        }
        let line = tls.connect(name, self.0.into_inner()).await?;
        Ok(Connection(BufReader::new(Box::new(line))))
    }

    /// Sends a command and reads the reply.
    ///
    /// # Errors
    /// For a broken connection or a malformed reply.
    pub async fn command(&mut self, command: &str) -> io::Result<Reply> {
        if command.contains(['\r', '\n']) {
            return Err(odd("a command must be one line"));
        }
        self.0
            .write_all(format!("{command}\r\n").as_bytes())
            .await?;
        self.0.flush().await?;
        self.reply().await
    }

    /// Sends a message after `DATA`.
    ///
    /// Its reply counts as soon as its code is whole, even if the connection breaks within the words: an email that was
    /// taken would be sent again otherwise.
    ///
    /// # Errors
    /// As [`Connection::command`].
    pub async fn message(&mut self, message: &[u8]) -> io::Result<Reply> {
        for line in message.split_inclusive(|byte| *byte == b'\n') {
            // A line with only a dot would end the message.
            if line.starts_with(b".") {
                self.0.write_all(b".").await?;
            }
            self.0.write_all(line).await?;
        }
        let end: &[u8] = match message.ends_with(b"\n") {
            true => b".\r\n",
            false => b"\r\n.\r\n",
        };
        self.0.write_all(end).await?;
        self.0.flush().await?;
        self.hear(true).await
    }

    /// Reads a reply of one or several lines.
    ///
    /// # Errors
    /// For a broken connection or a malformed reply.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        self.hear(false).await
    }

    /// Hears a reply. With `may_be_cut`, a whole code is enough of it when the connection breaks.
    async fn hear(&mut self, may_be_cut: bool) -> io::Result<Reply> {
        let mut room = LONGEST_REPLY;
        let mut lines = Vec::new();
        let mut heard = None;
        loop {
            let mut line = Vec::new();
            let read = (&mut self.0).take(room).read_until(b'\n', &mut line).await;
            room = room.saturating_sub(line.len() as u64);
            if read.is_err() || !line.ends_with(b"\n") {
                // Every line of a reply begins with the same code (RFC 5321, 4.2.1).
                let cut = parse(&line).map(|(code, _, words)| {
                    lines.push(words);
                    code
                });
                if let Some(code) = cut.or(heard).filter(|_| may_be_cut && room > 0) {
                    return Ok(Reply { code, lines });
                }
                read?;
                return Err(match room {
                    0 => odd("the server's reply is too long"),
                    _ => io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the server closed the connection",
                    ),
                });
            }
            let (code, is_last, words) =
                parse(&line).ok_or_else(|| odd("the reply is malformed"))?;
            lines.push(words);
            if is_last {
                return Ok(Reply { code, lines });
            }
            heard = Some(code);
        }
    }
}

/// Parses a line of a reply: its code, whether it is the last line, and its text.
fn parse(line: &[u8]) -> Option<(u16, bool, String)> {
    let (code, rest) = line.split_at_checked(3)?;
    let code: u16 = std::str::from_utf8(code).ok()?.parse().ok()?;
    let is_last = match rest.first() {
        Some(b'-') => false,
        // Without anything after it, it was cut there.
        Some(b' ' | b'\r' | b'\n') | None => true,
        Some(_) => return None,
    };
    let words = String::from_utf8_lossy(rest.get(1..).unwrap_or_default());
    let words = words.replace(|c: char| c.is_control(), " ");
    (200..600)
        .contains(&code)
        .then(|| (code, is_last, words.trim().to_owned()))
}

fn odd(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn hears(bytes: &[u8]) -> io::Result<Reply> {
        let (ours, mut theirs) = tokio::io::duplex(200_000);
        theirs.write_all(bytes).await?;
        drop(theirs);
        Connection(BufReader::new(Box::new(ours))).reply().await
    }

    #[tokio::test]
    async fn a_reply_is_its_code_whatever_bytes_its_words_are() {
        for (bytes, code, text) in [
            (&b"250 ok\r\n"[..], 250, "250 ok"),
            (b"250\r\n", 250, "250"),
            (b"250-a\r\n250-b\r\n250 c\r\n", 250, "250 a b c"),
            // In GBK, in Latin-1, in UTF-16, and empty.
            (
                b"250 2.0.0 \xd3\xca\xbc\xfe\r\n",
                250,
                "250 2.0.0 \u{fffd}\u{2bc}\u{fffd}",
            ),
            (
                b"550 5.1.1 Empf\xe4nger\r\n",
                550,
                "550 5.1.1 Empf\u{fffd}nger",
            ),
            (b"550 \xff\xfe\0a\r\n", 550, "550 \u{fffd}\u{fffd} a"),
        ] {
            let reply = hears(bytes).await.expect("a reply");
            assert_eq!((reply.code, reply.to_string().as_str()), (code, text));
        }
    }

    #[tokio::test]
    async fn what_is_no_reply_is_a_broken_connection() {
        let endless = b"250-x\r\n".repeat(20_000);
        for bytes in [
            &b""[..],
            b"\r\n",
            b"25\r\n",
            b"250 ok",
            b"hello\r\n",
            b"199 x\r\n",
            b"600 x\r\n",
            b"2500 x\r\n",
            b"250-a\r\n",
            b"\xd3\xca\xbc\xfe\r\n",
            &endless,
        ] {
            assert!(hears(bytes).await.is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn the_reply_to_a_message_counts_once_its_code_is_whole() {
        let endless = b"250-x\r\n".repeat(20_000);
        for (bytes, code) in [
            (&b"250 ok\r\n"[..], Some(250)),
            (b"250 2.0.0 queued as 4", Some(250)),
            (b"250", Some(250)),
            (b"250-taken\r\n", Some(250)),
            (b"250-taken\r\n25", Some(250)),
            (b"554 5.7.1 sp", Some(554)),
            (b"451 4", Some(451)),
            (b"", None),
            (b"25", None),
            (b"2500", None),
            (b"hello", None),
            (&endless, None),
        ] {
            let (ours, mut theirs) = tokio::io::duplex(200_000);
            theirs.write_all(bytes).await.expect("sent");
            theirs.shutdown().await.expect("closed");
            let mut line = Connection(BufReader::new(Box::new(ours)));
            let reply = line.message(b"a").await.map(|reply| reply.code).ok();
            assert_eq!(
                reply,
                code,
                "{}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(40)])
            );
        }
    }

    #[tokio::test]
    async fn no_line_of_a_message_ends_it() {
        for (message, sent) in [
            ("a\r\n.\r\n..\r\nb", "a\r\n..\r\n...\r\nb\r\n.\r\n"),
            (".a\r\n", "..a\r\n.\r\n"),
            ("a\n.\r\n", "a\n..\r\n.\r\n"),
        ] {
            let (ours, mut theirs) = tokio::io::duplex(1000);
            theirs.write_all(b"250 ok\r\n").await.expect("sent");
            let mut line = Connection(BufReader::new(Box::new(ours)));
            let reply = line.message(message.as_bytes()).await.expect("a reply");
            assert_eq!(reply.code, 250);
            drop(line);
            let mut got = String::new();
            theirs.read_to_string(&mut got).await.expect("read");
            assert_eq!(got, sent);
        }
    }
}
