//! Users of the admin.

use anyhow::Context;
use clap::Subcommand;

use crate::audit::Actor;
use crate::auth::{self, Role};
use crate::config::{Config, Secret};
use crate::server::startup::Shop;

/// Commands of `admin`.
#[derive(Subcommand)]
pub enum UserCommand {
    /// Create a user; without --password-stdin, a generated password is shown once
    Create {
        #[arg(long)]
        email: String,
        /// owner (full access), or staff (no users, tokens, settings, system pages or refunds)
        #[arg(long, default_value = "owner", value_parser = parse_role)]
        role: Role,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set a new password and end the user's sessions
    ResetPassword {
        #[arg(long)]
        email: String,
        #[arg(long)]
        password_stdin: bool,
        /// Turn off the second factor, too, for a user who has lost both the phone and the recovery codes
        #[arg(long)]
        without_second_factor: bool,
    },
    /// List users, including disabled ones
    List,
    /// Disable a user, end the user's sessions and list the tokens that the user created
    Disable {
        #[arg(long)]
        email: String,
        /// Revoke the tokens that the user created, too
        #[arg(long)]
        revoke_tokens: bool,
    },
    /// Enable a disabled user
    Enable {
        #[arg(long)]
        email: String,
    },
}

fn parse_role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "owner or staff".to_owned())
}

/// Runs a command of `admin`.
pub async fn run(command: UserCommand, config: Config) -> anyhow::Result<()> {
    let shop = Shop::open(config).await?;
    let actor = Actor::console();
    let mut tx = shop.app.db.begin().await?;
    let mut shown = None;
    match command {
        UserCommand::Create {
            email,
            role,
            password_stdin,
        } => {
            let password = password(password_stdin)?;
            let holder = auth::Holder::new(&email, &shop.app.config.shop.name);
            let hashed = auth::hash_password(&password, "password", &holder).await?;
            let user = auth::create_user(&mut tx, &actor, &email, role, &hashed).await?;
            eprintln!("{} may sign in as {}.", user.email, user.role.as_str());
            shown = (!password_stdin).then_some(password);
        }
        UserCommand::ResetPassword {
            email,
            password_stdin,
            without_second_factor,
        } => {
            // Before a row is locked: a password may be typed, and hashing takes time.
            let password = password(password_stdin)?;
            let holder = auth::Holder::new(&email, &shop.app.config.shop.name);
            let hashed = auth::hash_password(&password, "password", &holder).await?;
            let user = user(&mut tx, &email).await?;
            auth::set_password(&mut tx, &actor, user.id, &hashed, None).await?;
            if without_second_factor {
                auth::turn_off_second_factor(&mut tx, &actor, user.id).await?;
            }
            eprintln!("{} has a new password; their sessions ended.", user.email);
            if user.disabled_at.is_some() {
                eprintln!("The account is still disabled: enable it with `admin enable`.");
            }
            shown = (!password_stdin).then_some(password);
        }
        UserCommand::List => {
            for user in auth::list_users(&mut tx).await? {
                let state = if user.disabled_at.is_some() {
                    "disabled"
                } else {
                    "active"
                };
                let factor = if user.has_second_factor {
                    "second factor"
                } else {
                    "password only"
                };
                println!(
                    "{state:<8}  {:<5}  {factor}  {}",
                    user.role.as_str(),
                    user.email
                );
            }
        }
        UserCommand::Disable {
            email,
            revoke_tokens,
        } => {
            let user = user(&mut tx, &email).await?;
            auth::disable_user(&mut tx, &actor, user.id).await?;
            println!("{} is disabled.", user.email);
            let (tokens, state) = match revoke_tokens {
                true => (
                    auth::revoke_tokens_of(&mut tx, &actor, user.id).await?,
                    "is revoked",
                ),
                false => (auth::list_tokens_of(&mut tx, user.id).await?, "works on"),
            };
            for token in tokens {
                println!("Their token {} ({}) {state}.", token.id, token.name);
            }
        }
        UserCommand::Enable { email } => {
            let user = user(&mut tx, &email).await?;
            auth::enable_user(&mut tx, &actor, user.id).await?;
            println!("{} may sign in again.", user.email);
        }
    }
    tx.commit().await?;
    if let Some(password) = shown {
        eprintln!("The password is shown this once:");
        println!("{}", password.reveal());
    }
    shop.close().await
}

async fn user(conn: &mut sqlx::PgConnection, email: &str) -> anyhow::Result<auth::User> {
    let found = auth::find_user_by_email(conn, email).await?;
    found.with_context(|| format!("there is no user {email}"))
}

/// Returns the first line of standard input, or a generated password.
fn password(from_stdin: bool) -> anyhow::Result<Secret> {
    if !from_stdin {
        return Ok(auth::generate_password()?);
    }
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .context("reading the password")?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n'])))
}
