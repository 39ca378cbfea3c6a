//! The responses in memory: found by their keys, dropped by what they show, bounded in bytes.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::kept::{Kept, Shared};
use super::key::{Key, Route};
use crate::products::Shown;

/// Changes noted while a response of one product is made; beyond them, all is taken to have changed.
const MOST_NOTED: usize = 1000;

/// What changed since the last validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    All,
    /// Products by id, each at most some times.
    Products(Vec<String>),
}

/// Responses in memory.
pub struct Entries {
    most: usize,
    state: Mutex<State>,
    /// Counts reads, to know which response was read last.
    clock: AtomicU64,
}

#[derive(Default)]
struct State {
    entries: HashMap<Arc<Key>, Entry>,
    bytes: usize,
    /// Responses that any product may change: lists.
    of_products: HashSet<Arc<Key>>,
    /// Responses of one product, by its id and by what its caller named it.
    of_product: HashMap<Box<str>, HashSet<Arc<Key>>>,
    /// Responses that are being made.
    making: HashSet<Arc<Key>>,
}

struct Entry {
    content: Content,
    read_at: u64,
    bytes: usize,
}

enum Content {
    /// The response is being made. Noted is what changed since it began.
    Making { cell: Arc<Cell>, noted: Vec<String> },
    /// The response, and the id of the product that it shows.
    Kept(Shared, Option<Box<str>>),
}

/// The place of a response that is being made.
#[derive(Default)]
struct Cell {
    made: OnceLock<Option<Shared>>,
    filled: Notify,
}

/// Outcome of a look into memory.
pub enum Found {
    Kept(Shared),
    /// Another caller is making it.
    Making(Awaited),
    /// Nothing: the caller is to make it.
    New(Slot),
}

/// A response that another caller makes.
pub struct Awaited(Arc<Cell>);

impl Awaited {
    /// Waits for the response; `None` if none came of it.
    pub async fn made(self) -> Option<Shared> {
        loop {
            let mut filled = std::pin::pin!(self.0.filled.notified());
            filled.as_mut().enable();
            if let Some(made) = self.0.made.get() {
                return made.clone();
            }
            filled.await;
        }
    }
}

/// The empty place of a response. Dropped without one, it is free again.
pub struct Slot {
    entries: Arc<Entries>,
    key: Arc<Key>,
    cell: Arc<Cell>,
}

impl Slot {
    /// Gives the response to all who wait for it, and keeps it for later ones, unless what it shows has changed since the
    /// slot was made.
    pub fn fill(self, kept: Kept, shown: &Shown) -> Shared {
        let kept = Arc::new(kept);
        self.entries.keep(&self.key, &self.cell, &kept, shown);
        // Those who wait arrived before any change that was noted.
        let _ = self.cell.made.set(Some(kept.clone()));
        self.cell.filled.notify_waiters();
        kept
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.cell.made.set(None).is_ok() {
            self.entries.abandon(&self.key, &self.cell);
            self.cell.filled.notify_waiters();
        }
    }
}

impl Entries {
    /// Creates an empty memory of so many bytes; 0 keeps nothing.
    pub fn new(most: usize) -> Entries {
        Entries {
            most,
            state: Mutex::default(),
            clock: AtomicU64::new(0),
        }
    }

    /// Reports whether nothing is ever kept.
    pub fn is_off(&self) -> bool {
        self.most == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a response, or makes a place for it. The place is made before its query begins: so a change that the query
    /// does not see takes the place away.
    pub fn find(self: &Arc<Entries>, key: &Key) -> Found {
        let now = self.clock.fetch_add(1, Relaxed);
        let mut state = self.lock();
        if let Some(entry) = state.entries.get_mut(key) {
            entry.read_at = now;
            return match &entry.content {
                Content::Kept(kept, _) => Found::Kept(kept.clone()),
                Content::Making { cell, .. } => Found::Making(Awaited(cell.clone())),
            };
        }
        let (key, cell) = (Arc::new(key.clone()), Arc::new(Cell::default()));
        let entry = Entry {
            content: Content::Making {
                cell: cell.clone(),
                noted: Vec::new(),
            },
            read_at: now,
            bytes: 0,
        };
        state.entries.insert(key.clone(), entry);
        state.making.insert(key.clone());
        Found::New(Slot {
            entries: self.clone(),
            key,
            cell,
        })
    }

    /// Drops what shows something that changed.
    pub fn drop_changed(&self, changes: &Changes) {
        let mut state = self.lock();
        match changes {
            Changes::All => {
                *state = State::default();
            }
            Changes::Products(ids) if ids.is_empty() => {}
            Changes::Products(ids) => {
                for key in std::mem::take(&mut state.of_products) {
                    state.remove(&key);
                }
                for id in ids {
                    for key in state.of_product.remove(id.as_str()).unwrap_or_default() {
                        state.remove(&key);
                    }
                }
                for key in state.making.clone() {
                    state.note(&key, ids);
                }
            }
        }
    }

    fn keep(&self, key: &Arc<Key>, cell: &Arc<Cell>, kept: &Shared, shown: &Shown) {
        let mut state = self.lock();
        let Some(entry) = state.entries.get(key) else {
            return;
        };
        let Content::Making { cell: there, noted } = &entry.content else {
            return;
        };
        if !Arc::ptr_eq(there, cell) {
            return;
        }
        let product = match shown {
            Shown::Product(id) => Some(id.to_string().into_boxed_str()),
            Shown::Products | Shown::Categories => None,
        };
        let is_named = |id: &String| product.as_deref() == Some(id) || key.product() == id;
        let bytes = kept.size() + 2 * key.size();
        if noted.iter().any(is_named) || bytes > self.most {
            state.remove(key);
            return;
        }
        state.making.remove(key);
        match &product {
            Some(id) => {
                for name in [id, key.product()] {
                    let named = state.of_product.entry(name.into()).or_default();
                    named.insert(key.clone());
                }
            }
            None if *shown == Shown::Products => {
                state.of_products.insert(key.clone());
            }
            None => {}
        }
        if let Some(entry) = state.entries.get_mut(key) {
            entry.content = Content::Kept(kept.clone(), product);
            entry.bytes = bytes;
        }
        state.bytes += bytes;
        if state.bytes > self.most {
            state.make_room(self.most - self.most / 8);
        }
    }

    fn abandon(&self, key: &Arc<Key>, cell: &Arc<Cell>) {
        let mut state = self.lock();
        let is_same = state.entries.get(key).is_some_and(|entry| {
            matches!(&entry.content, Content::Making { cell: there, .. } if Arc::ptr_eq(there, cell))
        });
        if is_same {
            state.remove(key);
        }
    }
}

impl State {
    /// Removes an entry from everywhere.
    fn remove(&mut self, key: &Arc<Key>) {
        let Some(entry) = self.entries.remove(key) else {
            return;
        };
        self.bytes -= entry.bytes;
        self.of_products.remove(key);
        self.making.remove(key);
        if let Content::Kept(_, Some(product)) = &entry.content {
            for name in [&**product, key.product()] {
                if let Some(keys) = self.of_product.get_mut(name) {
                    keys.remove(key);
                    if keys.is_empty() {
                        self.of_product.remove(name);
                    }
                }
            }
        }
    }

    /// Notes changes of products at a response that is being made. A list is made for those who wait, and for nobody
    /// later; of one product nobody knows yet which it will show.
    fn note(&mut self, key: &Arc<Key>, ids: &[String]) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let Content::Making { noted, .. } = &mut entry.content else {
            return;
        };
        let is_kept = match key.route() {
            Route::List | Route::Batch => false,
            Route::Categories | Route::Category => true,
            Route::Detail | Route::Availability => {
                noted.extend_from_slice(ids);
                noted.len() <= MOST_NOTED
            }
        };
        if !is_kept {
            self.remove(key);
        }
    }

    /// Drops the responses that were not read for the longest time, until so many bytes remain.
    fn make_room(&mut self, most: usize) {
        let mut kept: Vec<(u64, Arc<Key>)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.bytes > 0)
            .map(|(key, entry)| (entry.read_at, key.clone()))
            .collect();
        kept.sort_unstable_by_key(|(read_at, _)| *read_at);
        for (_, key) in kept {
            if self.bytes <= most {
                return;
            }
            self.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::header;
    use axum::response::Response;

    use super::*;
    use crate::types::ids::ProductId;

    async fn response(bytes: usize) -> Kept {
        let mut response = Response::new(Body::from(vec![b'x'; bytes]));
        let tag = "W/\"1\"".parse().expect("a header");
        response.headers_mut().insert(header::ETAG, tag);
        let (parts, body) = response.into_parts();
        let kept = Kept::read(parts, body).await;
        kept.expect("a response")
    }

    fn shown(id: &str) -> Shown {
        Shown::Product(ProductId::parse(id).expect("an id"))
    }

    async fn put(entries: &Arc<Entries>, path: &str, shown: &Shown, bytes: usize) {
        let Found::New(slot) = entries.find(&Key::for_test(path)) else {
            panic!("{path} is there already");
        };
        slot.fill(response(bytes).await, shown);
    }

    /// Looks without leaving a place behind.
    fn has(entries: &Arc<Entries>, path: &str) -> bool {
        matches!(entries.find(&Key::for_test(path)), Found::Kept(_))
    }

    fn changed(ids: &[&str]) -> Changes {
        Changes::Products(ids.iter().map(|id| (*id).to_owned()).collect())
    }

    #[tokio::test]
    async fn a_change_drops_lists_and_what_shows_the_product() {
        let entries = Arc::new(Entries::new(1 << 20));
        let by_slug = "/api/products/slug";
        for (path, shown) in [
            ("/api/products", Shown::Products),
            ("/api/products/a", shown("a")),
            ("/api/products/a/check_availability", shown("a")),
            (by_slug, shown("a")),
            ("/api/products/b", shown("b")),
            ("/api/categories", Shown::Categories),
        ] {
            put(&entries, path, &shown, 10).await;
        }
        entries.drop_changed(&changed(&[]));
        assert!(has(&entries, "/api/products"));
        entries.drop_changed(&changed(&["c"]));
        assert!(!has(&entries, "/api/products") && has(&entries, by_slug));
        // A new product whose id was the slug of another.
        entries.drop_changed(&changed(&["slug"]));
        assert!(!has(&entries, by_slug) && has(&entries, "/api/products/a"));
        put(&entries, by_slug, &shown("a"), 10).await;
        entries.drop_changed(&changed(&["a"]));
        for path in [
            "/api/products/a",
            "/api/products/a/check_availability",
            by_slug,
        ] {
            assert!(!has(&entries, path), "{path}");
        }
        assert!(has(&entries, "/api/products/b") && has(&entries, "/api/categories"));
        entries.drop_changed(&Changes::All);
        assert!(!has(&entries, "/api/products/b") && !has(&entries, "/api/categories"));
    }

    #[tokio::test]
    async fn what_changes_while_it_is_made_is_given_and_not_kept() {
        let entries = Arc::new(Entries::new(1 << 20));
        for (path, of, ids, is_kept) in [
            ("/api/products", Shown::Products, &["c"], false),
            ("/api/products/a", shown("a"), &["c"], true),
            ("/api/products/b", shown("b"), &["b"], false),
            ("/api/products/slug", shown("d"), &["d"], false),
            ("/api/products/other", shown("e"), &["other"], false),
            ("/api/categories", Shown::Categories, &["c"], true),
        ] {
            let key = Key::for_test(path);
            let Found::New(slot) = entries.find(&key) else {
                panic!("{path} is there already");
            };
            let Found::Making(waits) = entries.find(&key) else {
                panic!("{path} is not being made");
            };
            entries.drop_changed(&changed(ids));
            slot.fill(response(10).await, &of);
            assert!(waits.made().await.is_some(), "{path}");
            assert_eq!(has(&entries, path), is_kept, "{path}");
        }
    }

    #[tokio::test]
    async fn a_place_that_nobody_fills_is_free_again() {
        let entries = Arc::new(Entries::new(1 << 20));
        let key = Key::for_test("/api/products");
        let first = entries.find(&key);
        let Found::Making(waits) = entries.find(&key) else {
            panic!("it is not being made");
        };
        drop(first);
        assert!(waits.made().await.is_none());
        assert!(matches!(entries.find(&key), Found::New(_)));
    }

    #[tokio::test]
    async fn beyond_its_bytes_what_was_read_last_stays() {
        let entries = Arc::new(Entries::new(100_000));
        let path = |number: usize| format!("/api/products/p{number}");
        for number in 0..50 {
            put(&entries, &path(number), &shown(&format!("p{number}")), 5000).await;
            assert!(has(&entries, "/api/products/p0"), "read all the time");
            let state = entries.lock();
            let sum: usize = state.entries.values().map(|entry| entry.bytes).sum();
            assert!(
                state.bytes <= 100_000 && state.bytes == sum,
                "{} {sum}",
                state.bytes
            );
            assert_eq!(state.of_product.len(), state.entries.len());
            assert!(state.making.is_empty());
        }
        assert!(!has(&entries, &path(20)) && has(&entries, &path(49)));
        put(&entries, "/api/products/large", &shown("large"), 200_000).await;
        assert!(!has(&entries, "/api/products/large"), "larger than all");
    }
}
