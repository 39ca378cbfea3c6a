//! A pooler in transaction mode that is as unkind as the protocol allows: a session meets another process of the server in
//! each transaction. PgBouncer does so only under load.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use spirit_beads::db::{Pools, Route};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;

use super::database;

/// The processes of the server that all sessions on a database share.
const SERVERS: usize = 12;

/// The start of an encrypted line is asked for with this number, an end of a statement with the other.
const SSL_REQUEST: u32 = 80_877_103;
const CANCEL_REQUEST: u32 = 80_877_102;

pub struct Pooler {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// Its kind, and what it says.
type Message = (u8, Vec<u8>);

struct Shared {
    socket: PathBuf,
    /// As PgBouncer does since 1.21: what a session prepared is prepared again where it is not there.
    keeps_statements: bool,
    idle: Mutex<HashMap<String, VecDeque<Server>>>,
    slots: Semaphore,
    sessions: AtomicUsize,
    /// Transactions begun by another process than the one before of their session.
    moves: AtomicUsize,
}

struct Server {
    answers: UnboundedReceiver<Message>,
    line: OwnedWriteHalf,
    number: usize,
    statements: HashSet<Vec<u8>>,
    /// Parameters that it reports at the start of a session.
    greeting: Vec<(u8, Vec<u8>)>,
}

impl Pooler {
    /// One before the tests' own server.
    pub async fn open(keeps_statements: bool) -> Pooler {
        let options = database::options("postgres");
        let folder = options.get_socket().expect("a socket");
        let shared = Arc::new(Shared {
            socket: folder.join(".s.PGSQL.5432"),
            keeps_statements,
            idle: Mutex::default(),
            slots: Semaphore::new(SERVERS),
            sessions: AtomicUsize::new(0),
            moves: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound listener").port();
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((line, _)) = listener.accept().await {
                let shared = serving.clone();
                // A line that drops ends its session.
                tokio::spawn(async move { shared.serve(line).await.ok() });
            }
        });
        Pooler { port, shared, task }
    }

    pub fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("spirit_beads")
            .database(database)
            .ssl_mode(PgSslMode::Disable)
            .application_name("spirit-beads")
            .extra_float_digits(None)
    }

    pub fn address(&self, database: &str) -> String {
        format!(
            "postgres://spirit_beads@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }

    /// The pools of a shop that reaches a database through it.
    pub fn pools(&self, database: &str) -> Pools {
        let direct = database::options(database).application_name("spirit-beads");
        let route = Route::TransactionPooler;
        Pools::new(&self.options(database), route, direct, 20)
    }

    /// Number of times that a session met another process than in its transaction before.
    pub fn moves(&self) -> usize {
        self.shared.moves.load(Relaxed)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads messages one after the other, until the line ends. Whoever waits for one may stop waiting, and loses nothing.
fn messages(mut line: impl AsyncRead + Unpin + Send + 'static) -> UnboundedReceiver<Message> {
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(message) = read_message(&mut line).await {
            if tell.send(message).is_err() {
                break;
            }
        }
    });
    told
}

/// The next message.
async fn receive(messages: &mut UnboundedReceiver<Message>) -> std::io::Result<Message> {
    let ended = std::io::ErrorKind::UnexpectedEof;
    messages.recv().await.ok_or_else(|| ended.into())
}

async fn read_message(line: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Message> {
    let kind = line.read_u8().await?;
    let length = line.read_u32().await? as usize;
    let mut body = vec![0; length.saturating_sub(4)];
    line.read_exact(&mut body).await?;
    Ok((kind, body))
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short message");
    let mut bytes = vec![kind];
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// The text up to the next NUL, and what comes after it.
fn text(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0);
    let end = end.expect("a text that ends");
    (&bytes[..end], &bytes[end + 1..])
}

impl Shared {
    async fn serve(&self, mut line: TcpStream) -> std::io::Result<()> {
        let session = self.sessions.fetch_add(1, Relaxed);
        let Some(parameters) = start(&mut line).await? else {
            return Ok(());
        };
        let known = [
            "user",
            "database",
            "client_encoding",
            "DateStyle",
            "TimeZone",
            "application_name",
        ];
        if let Some((name, _)) = parameters
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            let told = format!("SFATAL\0C08P01\0Munsupported startup parameter: {name}\0\0");
            return line.write_all(&message(b'E', told.as_bytes())).await;
        }
        let database = parameters["database"].clone();
        let server = self.take(&database).await?;
        line.write_all(&message(b'R', &[0; 4])).await?;
        for (kind, body) in &server.greeting {
            line.write_all(&message(*kind, body)).await?;
        }
        line.write_all(&message(b'Z', b"I")).await?;
        self.give(&database, server).await;

        let mut statements = HashMap::new();
        let mut last = None;
        let (near, mut line) = line.into_split();
        let mut asked = messages(near);
        loop {
            let first = receive(&mut asked).await?;
            if first.0 == b'X' {
                return Ok(());
            }
            let mut server = self.take(&database).await?;
            if last
                .replace(server.number)
                .is_some_and(|last| last != server.number)
            {
                self.moves.fetch_add(1, Relaxed);
            }
            // A session that ends in the middle takes its server along.
            self.transact(
                session,
                (&mut asked, &mut line),
                &mut server,
                first,
                &mut statements,
            )
            .await
            .inspect_err(|_| self.slots.add_permits(1))?;
            self.give(&database, server).await;
        }
    }

    /// Hands on messages until the server is in no transaction.
    async fn transact(
        &self,
        session: usize,
        (asked, line): (
            &mut UnboundedReceiver<Message>,
            &mut (impl AsyncWrite + Unpin),
        ),
        server: &mut Server,
        first: Message,
        statements: &mut HashMap<Vec<u8>, Vec<u8>>,
    ) -> std::io::Result<()> {
        let mut next = Some(first);
        // Answers to `parse` that are due: true are the session's own.
        let mut parses = VecDeque::new();
        let mut due = 0;
        loop {
            let (kind, body) = match next.take() {
                Some(message) => message,
                None => tokio::select! {
                    asked = receive(asked) => asked?,
                    answered = receive(&mut server.answers) => {
                        let (kind, body) = answered?;
                        let is_hidden = kind == b'1' && parses.pop_front() == Some(false);
                        if !is_hidden {
                            line.write_all(&message(kind, &body)).await?;
                        }
                        if kind == b'Z' {
                            due -= 1;
                            if due == 0 {
                                parses.clear();
                            }
                            if due == 0 && body == b"I" {
                                return Ok(());
                            }
                        }
                        continue;
                    }
                },
            };
            if matches!(kind, b'Q' | b'S') {
                due += 1;
            }
            let sent = if self.keeps_statements {
                translate(session, kind, &body, server, statements, &mut parses)
            } else {
                message(kind, &body)
            };
            server.line.write_all(&sent).await?;
        }
    }

    async fn take(&self, database: &str) -> std::io::Result<Server> {
        self.slots.acquire().await.expect("never closed").forget();
        let mut idle = self.idle.lock().await;
        let queue = idle.entry(database.to_owned()).or_default();
        // While there are few, a new one: no session is to meet the same twice in a row.
        if queue.len() >= 3 {
            return Ok(queue.pop_front().expect("three"));
        }
        drop(idle);
        let made = self.connect(database).await;
        made.inspect_err(|_| self.slots.add_permits(1))
    }

    async fn give(&self, database: &str, server: Server) {
        let mut idle = self.idle.lock().await;
        idle.entry(database.to_owned())
            .or_default()
            .push_back(server);
        self.slots.add_permits(1);
    }

    async fn connect(&self, database: &str) -> std::io::Result<Server> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let mut line = UnixStream::connect(&self.socket).await?;
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        for (name, value) in [
            ("user", "spirit_beads"),
            ("database", database),
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO, MDY"),
            ("TimeZone", "UTC"),
            ("application_name", "pooler"),
        ] {
            body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
        }
        body.push(0);
        // The first message has no kind.
        line.write_all(&message(0, &body)[1..]).await?;
        let mut greeting = Vec::new();
        loop {
            match read_message(&mut line).await? {
                (b'Z', _) => break,
                (b'R', _) => {}
                (b'E', _) => return Err(std::io::Error::other("the server refuses")),
                other => greeting.push(other),
            }
        }
        let (answers, line) = line.into_split();
        Ok(Server {
            answers: messages(answers),
            line,
            number: NUMBER.fetch_add(1, Relaxed),
            statements: HashSet::new(),
            greeting,
        })
    }
}

/// Reads the start of a session: its parameters, or nothing where it is none.
async fn start(line: &mut TcpStream) -> std::io::Result<Option<HashMap<String, String>>> {
    loop {
        let length = line.read_u32().await? as usize;
        let mut body = vec![0; length.saturating_sub(4)];
        line.read_exact(&mut body).await?;
        let (code, mut rest) = body.split_at(4);
        match u32::from_be_bytes(code.try_into().expect("four bytes")) {
            SSL_REQUEST => line.write_all(b"N").await?,
            CANCEL_REQUEST => return Ok(None),
            _ => {
                let mut parameters = HashMap::new();
                while rest.len() > 1 {
                    let (name, after) = text(rest);
                    let (value, after) = text(after);
                    let word = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    parameters.insert(word(name), word(value));
                    rest = after;
                }
                return Ok(Some(parameters));
            }
        }
    }
}

/// Gives a session's statement a name of its own on the server, and prepares it there first if need be.
fn translate(
    session: usize,
    kind: u8,
    body: &[u8],
    server: &mut Server,
    statements: &mut HashMap<Vec<u8>, Vec<u8>>,
    parses: &mut VecDeque<bool>,
) -> Vec<u8> {
    // Where the name stands: at the start, after the portal's name, after an email that says what is named.
    let (before, rest) = match (kind, body.first()) {
        (b'P', _) => body.split_at(0),
        (b'B', _) => body.split_at(text(body).0.len() + 1),
        (b'D' | b'C', Some(b'S')) => body.split_at(1),
        _ => return message(kind, body),
    };
    let (name, after) = text(rest);
    if kind == b'P' {
        parses.push_back(true);
    }
    if name.is_empty() {
        return message(kind, body);
    }
    let there = [format!("s{session}_").as_bytes(), name].concat();
    let mut sent = Vec::new();
    match kind {
        b'P' => {
            statements.insert(name.to_vec(), after.to_vec());
            server.statements.insert(there.clone());
        }
        b'C' => {
            statements.remove(name);
            server.statements.remove(&there);
        }
        _ => {
            if let Some(prepared) = statements.get(name)
                && server.statements.insert(there.clone())
            {
                parses.push_back(false);
                sent = message(b'P', &[&there, b"\0".as_slice(), prepared].concat());
            }
        }
    }
    sent.extend(message(kind, &[before, &there, b"\0", after].concat()));
    sent
}
