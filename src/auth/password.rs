//! Passwords: hashed with Argon2id, off the threads that serve requests, two at a time.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::random;
use crate::config::Secret;
use crate::error::{Error, Result};

/// Memory in KiB, iterations and parallelism: OWASP's first choice for Argon2id with little memory.
///
/// Source: <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id>
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);

/// Limits concurrent hashes, each of which takes 19 MiB: a burst of sign-ins queues instead of exhausting memory.
static HASHING: Semaphore = Semaphore::const_new(2);

/// Hash of no password, for accounts that have none yet or are unknown. It is all zeros, so no password matches it, but the
/// check takes as long as any other.
pub const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Password length in characters. The minimum is NIST's minimum for a password without a second factor, less three,
/// because a second factor is offered and attempts are throttled. The maximum keeps an attempt cheap to read.
const LENGTH: std::ops::RangeInclusive<usize> = 12..=200;

/// A hashed password.
pub struct Hashed(pub(super) String);

/// The holder of a password, as everybody knows them.
#[derive(Clone, Debug)]
pub struct Holder {
    email: String,
    shop_name: String,
}

impl Holder {
    /// Names the person whose password is checked: it must not contain their address or the shop.
    pub fn new(email: &str, shop_name: &str) -> Holder {
        Holder {
            email: email.to_lowercase(),
            shop_name: shop_name.to_lowercase(),
        }
    }

    /// The email, the shop's name, and the words of both, as they may be written into a password.
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for whole in [&self.email, &self.shop_name] {
            words.extend([whole.trim().to_owned(), squeezed(whole)]);
            if let Some((name, host)) = whole.rsplit_once('@') {
                words.extend([name, host].map(str::to_owned));
                words.extend([name, host].map(squeezed));
            }
            words.extend(
                whole
                    .split(|c: char| !c.is_alphanumeric())
                    .map(str::to_owned),
            );
        }
        words.retain(|word| word.chars().count() >= 3);
        words
    }

    /// Returns true for a password that has the whole email or the shop's whole name in it, or that is little more than
    /// a part of them, however it is written: with capitals, spaces, dots, digits around it.
    fn is_named_in(&self, password: &str) -> bool {
        let password = squeezed(&password.to_lowercase());
        let wholes = [&self.email, &self.shop_name].map(|whole| squeezed(whole));
        let mut wholes = wholes.iter().filter(|whole| whole.chars().count() >= 6);
        wholes.any(|whole| password.contains(whole))
            || self.words().iter().map(|word| squeezed(word)).any(|word| {
                let rest = password.replacen(&word, "", 1);
                !word.is_empty() && rest.len() < password.len() && rest.chars().count() < 6
            })
    }
}

/// The letters and digits of a text.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Hashes a new password.
///
/// # Errors
/// A field error of `field` for a password that is too short, too long, too simple, or made of the holder's email or the
/// shop's name.
pub async fn hash(password: &Secret, field: &'static str, holder: &Holder) -> Result<Hashed> {
    if let Some(field_error) = field_error(password.reveal()) {
        return Err(Error::invalid(field, field_error));
    }
    if holder.is_named_in(password.reveal()) {
        return Err(Error::invalid(
            field,
            "is among the first that anybody would try, with your email or the shop's name in it: use a few words that do not \
             belong together",
        ));
    }
    let (judged, known) = (password.clone(), holder.words());
    if slowly(move || is_guessed_soon(judged.reveal(), &known)).await? {
        return Err(Error::invalid(
            field,
            "is among the first that anybody would try: use a few words that do not belong together",
        ));
    }
    hash_generated(password).await
}

/// Hashes a password of [`generate`], which needs no judgement.
///
/// # Errors
/// Only when it cannot be done.
pub async fn hash_generated(password: &Secret) -> Result<Hashed> {
    let password = password.clone();
    let hash = slowly(move || {
        argon2()
            .hash_password(password.reveal().as_bytes())
            .map(|hash| hash.to_string())
    })
    .await?;
    let hash = hash.map_err(|error| anyhow::anyhow!("hashing a password: {error}"))?;
    Ok(Hashed(hash))
}

/// Verifies a password. Without a hash it returns false after the same time.
pub(super) async fn verify(password: &Secret, hash: Option<String>) -> Result<bool> {
    let password = password.clone();
    slowly(move || {
        let hash = hash.as_deref().unwrap_or(NOBODY);
        PasswordHash::new(hash).is_ok_and(|hash| {
            argon2()
                .verify_password(password.reveal().as_bytes(), &hash)
                .is_ok()
        })
    })
    .await
}

/// Generates a random password (100 bits) in groups that are easy to read aloud.
pub fn generate() -> Result<Secret> {
    // Twenty characters from 32 letters and digits that are hard to confuse.
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut text = String::new();
    for (at, byte) in random::<20>()?.into_iter().enumerate() {
        if at > 0 && at % 5 == 0 {
            text.push('-');
        }
        text.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    Ok(Secret::new(text))
}

fn field_error(password: &str) -> Option<&'static str> {
    let length = password.chars().count();
    if length < *LENGTH.start() {
        return Some("must have at least 12 characters: a few words work well");
    }
    if length > *LENGTH.end() {
        return Some("must have at most 200 characters");
    }
    let mut different: Vec<char> = password.chars().collect();
    different.sort_unstable();
    different.dedup();
    (different.len() < 5).then_some("is too simple: use more different characters")
}

/// Words that an attacker tries first at this shop.
const OF_THIS_SHOP: [&str; 6] = [
    "spirit",
    "beads",
    "spiritbeads",
    "lighter",
    "admin",
    "owner",
];

/// Returns true for a password that falls within 100 million guesses: a common one, or a combination of common words,
/// `known` words about its holder, names, dates and keyboard patterns.
fn is_guessed_soon(password: &str, known: &[String]) -> bool {
    let known = known.iter().map(String::as_str);
    let words: Vec<&str> = OF_THIS_SHOP.into_iter().chain(known).collect();
    zxcvbn::zxcvbn(password, &words).score() < zxcvbn::Score::Three
}

fn argon2() -> Argon2<'static> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).expect("valid costs");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

async fn slowly<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let permit = HASHING
        .acquire()
        .await
        .expect("the semaphore is never closed");
    let done = tokio::task::spawn_blocking(move || {
        // Held until the work is done, even after the caller has disconnected.
        let _permit = permit;
        work()
    });
    Ok(done.await.map_err(anyhow::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_nobody_has_one() {
        let password = generate().expect("random bytes");
        let hash = hash_generated(&password).await.expect("a hash").0;
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        let (nobody, somebody) = (NOBODY.rsplit_once('$'), hash.rsplit_once('$'));
        let shape = |hash: Option<(&str, &str)>| hash.map(|(head, tail)| (head.len(), tail.len()));
        assert_eq!(shape(nobody), shape(somebody));
        assert!(PasswordHash::new(NOBODY).is_ok(), "it is hashed like any");
        let wrong = Secret::new("not this one");
        assert!(verify(&password, Some(hash.clone())).await.expect("a try"));
        assert!(!verify(&wrong, Some(hash)).await.expect("a try"));
        assert!(!verify(&password, None).await.expect("a try"));
    }

    #[test]
    fn passwords_are_long_and_not_of_one_letter() {
        assert!(field_error("short").is_some());
        assert!(field_error("aaaaaaaaaaaaaaaa").is_some());
        assert!(field_error(&"abcdef".repeat(40)).is_some());
        assert_eq!(field_error("correct horse battery"), None);
        assert_eq!(field_error("ein schönes Paßwort"), None);
    }

    #[tokio::test]
    async fn common_passwords_are_refused_however_long() {
        for common in [
            "password1234",
            "Password123!",
            "P@ssw0rd1234",
            "123456789012",
            "qwertyuiop123",
            "passwordpassword",
            "iloveyou1234",
            "admin1234567",
            "letmeinletmein",
            "abcdefghijkl",
            "SpiritBeads2026",
            "asdfghjklqwertyuiop",
        ] {
            let refused = hash(&Secret::new(common), "new", &ann()).await;
            let Err(Error::Invalid(field_errors)) = refused else {
                panic!("{common} is taken");
            };
            assert_eq!(field_errors[0].field, "new", "{common}");
        }
        for good in [
            "correct horse battery",
            "ein schönes Paßwort",
            "7 geese in a blue barn",
        ] {
            let hashed = hash(&Secret::new(good), "new", &ann()).await;
            assert!(hashed.is_ok(), "{good}");
        }
        for _ in 0..50 {
            let made = generate().expect("random bytes");
            assert!(!is_guessed_soon(made.reveal(), &[]), "{}", made.reveal());
        }
    }

    fn ann() -> Holder {
        Holder::new("Ann.Zwirner@kralitzer-glas.example", "Perlenstube Quirl")
    }

    #[tokio::test]
    async fn what_everybody_knows_of_the_holder_is_no_password() {
        for known in [
            "ann.zwirner@kralitzer-glas.example",
            "Ann.Zwirner@Kralitzer-Glas.Example!",
            "ann.zwirner@kralitzer-glas.example7",
            "annzwirnerkralitzerglasexample",
            "my ann.zwirner@kralitzer-glas.example key",
            "Ann.Zwirner12",
            "kralitzer-glas",
            "kralitzer-glas.example1",
            "Perlenstube Quirl",
            "perlenstubequirl9",
            "Perlenstube-Quirl-2026",
            "perlenstube1!",
            "geese at Perlenstube Quirl",
        ] {
            let refused = hash(&Secret::new(known), "new", &ann()).await;
            let Err(Error::Invalid(field_errors)) = refused else {
                panic!("{known} is taken");
            };
            assert_eq!(field_errors[0].field, "new", "{known}");
        }
        for good in [
            "ann has 7 geese in a blue barn",
            "purple quirl under 40 ladders",
        ] {
            let hashed = hash(&Secret::new(good), "new", &ann()).await;
            assert!(hashed.is_ok(), "{good}");
        }
        // A short name is part of many words.
        let bo = Holder::new("bo@x.example", "Bo");
        assert!(
            hash(&Secret::new("seven bolts in a blue box"), "new", &bo)
                .await
                .is_ok()
        );
    }
}
