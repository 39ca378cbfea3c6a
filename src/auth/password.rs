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

/// Hash for unknown accounts. It is all zeros, so no password matches it, but the check takes as long as any other.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Password length in characters. The minimum is NIST's minimum for a password without a second factor, less three,
/// because a second factor is offered and attempts are throttled. The maximum keeps an attempt cheap to read.
const LENGTH: std::ops::RangeInclusive<usize> = 12..=200;

/// A hashed password.
pub struct Hashed(pub(super) String);

/// Hashes a new password.
///
/// # Errors
/// A field error of `field` for a password that is too short, too long, or too simple.
pub async fn hash(password: &Secret, field: &'static str) -> Result<Hashed> {
    if let Some(field_error) = field_error(password.reveal()) {
        return Err(Error::invalid(field, field_error));
    }
    let password = password.clone();
    let judged = password.clone();
    if slowly(move || is_guessed_soon(judged.reveal())).await? {
        return Err(Error::invalid(
            field,
            "is among the first that anybody would try: use a few words that do not belong together",
        ));
    }
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
    const EMAILS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut text = String::new();
    for (at, byte) in random::<20>()?.into_iter().enumerate() {
        if at > 0 && at % 5 == 0 {
            text.push('-');
        }
        text.push(char::from(EMAILS[usize::from(byte % 32)]));
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
/// names, dates and keyboard patterns.
fn is_guessed_soon(password: &str) -> bool {
    zxcvbn::zxcvbn(password, &OF_THIS_SHOP).score() < zxcvbn::Score::Three
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
        let hash = hash(&password, "password").await.expect("a hash").0;
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
            let refused = hash(&Secret::new(common), "new").await;
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
            assert!(hash(&Secret::new(good), "new").await.is_ok(), "{good}");
        }
        for _ in 0..50 {
            let made = generate().expect("random bytes");
            assert!(!is_guessed_soon(made.reveal()), "{}", made.reveal());
        }
    }
}
