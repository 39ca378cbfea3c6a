//! Emails.

mod delivery;
