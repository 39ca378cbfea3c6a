//! Generated input for every route: thousands of bodies, queries, forms, files, cookies and events that nobody would write.
//! None is a server error, each failure is told, and the books hold afterwards.
//!
//! Each test tries a bounded number of inputs, or with `INPUTS_SECONDS` as many as that time allows, on a new shop and
//! with a new seed every round. Of what fails the smallest form and its seed are printed; `INPUTS_SEED` tries that
//! seed's inputs again.

mod bodies;
mod catalog;
mod forms;
mod queries;
mod secrets;
pub mod shop;
mod uploads;
mod webhooks;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client};

/// The status that an input was answered with, or what is wrong with that.
type Verdict = Result<u16, TestCaseError>;

/// Limits of the search for the smallest form of a failure, in milliseconds and in tries.
const SHRINKING: (u32, u32) = (30_000, 1000);

/// Tries so many inputs on a stage; in a longer run, so many a round. `ends` looks at the stage after each round.
fn try_inputs<S, T: fmt::Debug>(
    cases: u32,
    stage: impl AsyncFn() -> S,
    inputs: impl Fn(&S) -> BoxedStrategy<T>,
    one: impl AsyncFn(&S, T) -> Verdict,
    ends: impl AsyncFn(&S),
) {
    let number = |name: &str| -> Option<u64> {
        let text = std::env::var(name).ok()?;
        Some(text.parse().expect("a number"))
    };
    let time = Duration::from_secs(number("INPUTS_SECONDS").unwrap_or(0));
    let test = std::thread::current();
    let name = test.name().unwrap_or("inputs");
    let began = Instant::now();
    let answers = RefCell::new(BTreeMap::<u16, u64>::new());
    loop {
        let seed = number("INPUTS_SEED")
            .or_else(crate::support::seed_of_ci)
            .unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
        println!("{name}: INPUTS_SEED={seed}");
        let config = Config {
            cases,
            failure_persistence: None,
            max_shrink_time: SHRINKING.0,
            max_shrink_iters: SHRINKING.1,
            rng_seed: RngSeed::Fixed(seed),
            ..Config::default()
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let stage = runtime.block_on(stage());
        let outcome = TestRunner::new(config).run(&inputs(&stage), |input| {
            let status = runtime.block_on(one(&stage, input))?;
            *answers.borrow_mut().entry(status).or_default() += 1;
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("INPUTS_SEED={seed}: {error}");
        }
        runtime.block_on(ends(&stage));
        // Dropped inside, as the server's tasks and the pool belong to the runtime.
        runtime.block_on(async move { drop(stage) });
        if began.elapsed() >= time {
            break;
        }
    }
    let answers = answers.into_inner();
    let tried: u64 = answers.values().sum();
    let time = began.elapsed().as_secs();
    println!("{name}: {tried} inputs tried in {time} s, answered {answers:?}");
}

/// A request, sent as it is.
#[derive(Clone)]
struct Request {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    fn new(method: Method, path: impl Into<String>) -> Request {
        Request {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: None,
        }
    }

    fn with(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Request {
        self.body = Some(body.into());
        self.with("content-type", kind)
    }

    /// Sends it.
    ///
    /// # Errors
    /// No HTTP client would send such a thing, so it is no case at all.
    async fn send(&self, client: &Client) -> Result<Answer, TestCaseError> {
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        // A server that has answered half a form closes the line, and the next request may come too early to know. Who
        // sends it again has a new line.
        let mut tries = 0;
        loop {
            let method = self.method.clone();
            let sent = client.try_send(method, &self.path, &headers, self.body.clone());
            match sent.await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_builder() => {
                    return Err(TestCaseError::reject("it cannot be sent"));
                }
                Err(_) if tries < 3 => tries += 1,
                Err(error) => return Err(TestCaseError::fail(format!("no answer: {error:?}"))),
            }
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.method, self.path, self.headers)?;
        match &self.body {
            Some(body) => write!(f, " b\"{}\"", body.escape_ascii()),
            None => Ok(()),
        }
    }
}

/// An answer of the API: no server error, no limit in the way, and a failure tells itself as JSON.
fn api_answer(answer: &Answer) -> Verdict {
    prop_assert!(answer.status < 500 && answer.status != 429, "{answer:?}");
    if answer.status >= 400 {
        prop_assert!(answer.json["code"].is_string(), "{answer:?}");
        prop_assert_eq!(answer.header("content-type"), "application/json");
    }
    Ok(answer.status)
}

/// An answer of the admin: no server error, no limit in the way, and a failure is a page.
fn shown(answer: &Answer) -> Verdict {
    prop_assert!(answer.status < 500 && answer.status != 429, "{answer:?}");
    if answer.status >= 400 {
        let is_page = answer.header("content-type").starts_with("text/html");
        prop_assert!(is_page && answer.text.contains("</html>"), "{answer:?}");
    }
    Ok(answer.status)
}

/// A text that somebody could type, or a program send: anything, numbers at their edges, what other languages mean
/// something by, and these words.
fn text(words: Vec<String>) -> BoxedStrategy<String> {
    let odd: Vec<String> = [
        "",
        " ",
        "0",
        "1",
        "-1",
        "1,2",
        ",",
        "1,2,",
        "last",
        "1e3",
        "1e400",
        "0x10",
        "+1",
        "1.5",
        "00000000000000000000001",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "2147483648",
        "NaN",
        "inf",
        "true",
        "null",
        "on",
        "name,-price",
        "--name",
        "\"sun",
        "sun & !",
        "a:*",
        "%",
        "_",
        "\\",
        "'",
        "\u{0}",
        "a\u{0}b",
        "\u{202e}",
        "\u{feff}",
        "\r\n",
        "a\r\nb: c",
        "<script>",
        "{{7*7}}",
        "../../etc/passwd",
        "http://[::1",
        "data:image/png;base64,AAAA",
        "2026-02-30",
        "0000-00-00",
        "+262143-12-31",
        "2026-01-01T00:00:00Z",
        "99999-01-01",
        "\u{1f4ff}\u{200d}\u{1f4ff}",
        "Ａ",
        "ß",
        "İ",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([256, 5000].map(|long| "x".repeat(long)))
    .collect();
    let words = if words.is_empty() { odd.clone() } else { words };
    prop_oneof![
        4 => select(words),
        3 => select(odd),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => any::<f64>().prop_map(|n| n.to_string()),
        2 => any::<String>(),
    ]
    .boxed()
}

/// Numbers where something ends.
const EDGES: [i64; 10] = [i64::MIN, i64::MAX, -1, 0, 1, 2, 999, 1000, 1 << 31, 1 << 53];

/// Any JSON, with a liking for these words, as keys and as values.
fn any_json(words: Vec<String>) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        2 => select(EDGES.to_vec()).prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        5 => text(words.clone()).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::hash_map(text(words.clone()), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
    .boxed()
}

/// Change to a part of a JSON value.
#[derive(Clone, Debug)]
enum Change {
    Replace(Value),
    /// Of the numbers one becomes this.
    Number(i64),
    Remove,
    /// Another part of the whole comes in its place.
    Copy(Index),
    /// It comes so often, in a list.
    Repeat(usize),
}

/// One of these values with some of its parts changed.
fn changed(whole: Vec<Value>, words: Vec<String>) -> BoxedStrategy<Value> {
    let change = prop_oneof![
        6 => any_json(words.clone()).prop_map(Change::Replace),
        4 => text(words).prop_map(|text| Change::Replace(json!(text))),
        4 => select(EDGES.to_vec()).prop_map(Change::Number),
        2 => Just(Change::Remove),
        2 => any::<Index>().prop_map(Change::Copy),
        1 => (0_usize..200).prop_map(Change::Repeat),
    ];
    let changes = proptest::collection::vec((any::<Index>(), change), 0..4);
    (select(whole), changes)
        .prop_map(|(mut value, changes)| {
            for (at, change) in changes {
                let mut places = places(&value);
                if matches!(change, Change::Number(_)) {
                    let is_number =
                        |place: &String| value.pointer(place).is_some_and(Value::is_number);
                    places.retain(is_number);
                }
                if places.is_empty() {
                    continue;
                }
                alter(&mut value, at.get::<String>(&places), change, &places);
            }
            value
        })
        .boxed()
}

fn alter(whole: &mut Value, place: &str, change: Change, places: &[String]) {
    let copied = match &change {
        Change::Copy(from) => whole.pointer(from.get::<String>(places)).cloned(),
        _ => None,
    };
    if let (Change::Remove, Some((parent, key))) = (&change, place.rsplit_once('/')) {
        match whole.pointer_mut(parent) {
            Some(Value::Object(object)) => {
                object.remove(&key.replace("~1", "/").replace("~0", "~"));
            }
            Some(Value::Array(items)) => {
                items.remove(key.parse().expect("an index"));
            }
            _ => {}
        }
        return;
    }
    let part = whole.pointer_mut(place).expect("a part");
    *part = match change {
        Change::Replace(value) => value,
        Change::Number(number) => json!(number),
        Change::Remove => Value::Null,
        Change::Copy(_) => copied.unwrap_or_default(),
        Change::Repeat(times) => Value::Array(vec![part.clone(); times]),
    };
}

/// The JSON pointer of every part.
fn places(value: &Value) -> Vec<String> {
    let mut all = vec![String::new()];
    let below = |key: &str, value: &Value| -> Vec<String> {
        let key = key.replace('~', "~0").replace('/', "~1");
        let places = places(value).into_iter();
        places.map(|place| format!("/{key}{place}")).collect()
    };
    match value {
        Value::Object(object) => {
            all.extend(object.iter().flat_map(|(key, value)| below(key, value)));
        }
        Value::Array(items) => {
            // Of a long list the first ones stand for all.
            let items = items.iter().take(20).enumerate();
            all.extend(items.flat_map(|(at, item)| below(&at.to_string(), item)));
        }
        _ => {}
    }
    all
}

/// Bytes with some parts cut out and others put in.
fn spliced(whole: impl Strategy<Value = Vec<u8>> + 'static) -> BoxedStrategy<Vec<u8>> {
    let put = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..6),
        2 => select(vec![
            vec![0; 4], vec![0xff; 4], vec![0x7f, 0xff, 0xff, 0xff], vec![0xff, 0xff, 0xff, 0x7f], b"\r\n".to_vec(),
            b"\"".to_vec(), b"\\".to_vec(), b"--".to_vec(), vec![b'x'; 3000], vec![b'['; 300],
        ]),
    ];
    let take = prop_oneof![6 => 0_usize..6, 1 => 0_usize..100, 1 => Just(usize::MAX)];
    let splices = proptest::collection::vec((any::<Index>(), take, put, any::<Index>()), 0..4);
    (whole, splices)
        .prop_map(|(mut bytes, splices)| {
            for (at, take, mut put, from) in splices {
                if bytes.is_empty() {
                    break;
                }
                let at = at.index(bytes.len());
                let end = at.saturating_add(take).min(bytes.len());
                if put.is_empty() && take == 0 {
                    // A part comes twice.
                    let from = from.index(bytes.len());
                    put = bytes[from..(from + 64).min(bytes.len())].to_vec();
                }
                bytes.splice(at..end, put);
            }
            bytes
        })
        .boxed()
}

/// A part of a path, as browsers write it.
fn escaped(text: &str) -> String {
    let text = match text {
        "." | ".." | "" => "-",
        text => text,
    };
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// A path with this in the places of its parameters.
pub fn filled(route: &str, with: &str) -> String {
    let parts = route.split('/').map(|part| match part.starts_with('{') {
        true => escaped(with),
        false => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Fields as a form or a query has them.
fn encoded(fields: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}
