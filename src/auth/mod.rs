//! Authentication: admin users (password, second factor, sessions) and API tokens.
//!
//! Sign-in takes two steps. The password opens a session marked `mfa_pending`; the second factor, if enabled, completes
//! it. Each step issues a new session token, which prevents session fixation.
mod password;
mod role;
mod routes;
mod second_factor;
mod sessions;
mod sign_in;
mod throttle;
mod tokens;
mod users;

pub use password::{
    Hashed, Holder, NOBODY as NO_PASSWORD, generate as generate_password, hash as hash_password,
    hash_generated,
};
pub use role::Role;
pub use routes::router;
pub use second_factor::{
    Setup, confirm as confirm_second_factor, enrol as enrol_second_factor, recovery_codes_left,
    renew_recovery_codes, setup as second_factor_setup, turn_off as turn_off_second_factor,
};
pub use sessions::{
    ABSOLUTE_LIMIT, CurrentUser, IDLE_LIMIT, Session, SessionToken, end as end_session,
    end_all as end_all_sessions, find as find_session, list as list_sessions,
    rotate as rotate_session,
};
pub use sign_in::{
    PasswordCheck, SignedIn, Visit, check_password, check_second_factor, known_browser, sign_in,
    sweep,
};
pub use throttle::Step;
pub use tokens::{
    Admin, Scope, Token, TokenRequest, create_token, list_tokens, list_tokens_of, revoke_token,
    revoke_tokens_of,
};
pub use users::{
    User, any as any_user, create as create_user, create_first_owner, disable as disable_user,
    enable as enable_user, find as find_user, find_by_email as find_user_by_email,
    hold as hold_session, list as list_users, set_password, set_role,
};

/// Random bytes from the operating system.
fn random<const N: usize>() -> crate::error::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("asking the system for random bytes: {error}"))?;
    Ok(bytes)
}

fn sha256(text: &str) -> Vec<u8> {
    use sha2::Digest;
    sha2::Sha256::digest(text.as_bytes()).to_vec()
}
