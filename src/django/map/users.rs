//! Users. Their passwords stay behind.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::auth::Role;
use crate::django::findings::{Findings, add};
use crate::django::old::{OldShop, OldUser};
use crate::django::target::NewUser;

pub(super) fn users(shop: &OldShop, findings: &mut Findings) -> Vec<NewUser> {
    let mut by_address: BTreeMap<String, &OldUser> = BTreeMap::new();
    let mut leave_out = |user: &OldUser, why: &str| {
        add(&mut findings.left_out, format!("user {}", user.id), why);
    };
    for user in &shop.users {
        if !user.is_superuser && !user.is_staff {
            leave_out(user, "neither staff nor superuser");
            continue;
        }
        let Some(address) = address(user) else {
            leave_out(user, "no address");
            continue;
        };
        let twin = by_address.get(&address).copied();
        let loser = match twin {
            Some(twin) if rank(twin) <= rank(user) => Some(user),
            twin => {
                by_address.insert(address, user);
                twin
            }
        };
        if let Some(loser) = loser {
            leave_out(loser, "another user has its address");
        }
    }
    let mut users: Vec<NewUser> = by_address
        .into_iter()
        .map(|(email, user)| new_user(email, user))
        .collect();
    users.sort_by_key(|user| user.old_id);
    users
}

/// Of several users with one address, the active superuser comes first, then the others by their rights and age.
fn rank(user: &OldUser) -> (bool, bool, i64) {
    (!user.is_active, !user.is_superuser, user.id)
}

/// The email, or else a user name that is one, in lower case.
fn address(user: &OldUser) -> Option<String> {
    [&user.email, &user.username]
        .into_iter()
        .map(|text| text.trim().to_lowercase())
        .find(|text| is_address(text))
}

fn is_address(text: &str) -> bool {
    let parts = text.split_once('@');
    parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
        && (3..=254).contains(&text.chars().count())
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn new_user(email: String, user: &OldUser) -> NewUser {
    NewUser {
        id: derived_id("user", &user.id.to_string()),
        old_id: user.id,
        email,
        role: if user.is_superuser {
            Role::Owner
        } else {
            Role::Staff
        },
        is_disabled: !user.is_active,
        created_at: user.joined_at.unwrap_or_default(),
    }
}

/// An id that is the same in each import, for a row that had none in the old shop.
pub(super) fn derived_id(kind: &str, old_id: &str) -> Uuid {
    let digest = Sha256::digest(format!("import {kind} {old_id}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}
