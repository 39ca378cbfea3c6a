//! API tokens for programs.

use anyhow::bail;
use chrono::{TimeDelta, Utc};
use clap::Subcommand;

use crate::audit::Actor;
use crate::auth::{self, Scope};
use crate::config::Config;
use crate::server::startup::Shop;

/// Commands of `token`.
#[derive(Subcommand)]
pub enum TokenCommand {
    /// Create a token; it is shown only once
    Create {
        #[arg(long)]
        name: String,
        /// catalog, stock, orders:read, orders:write, custom_orders, refunds, users, tokens, audit, system or settings;
        /// may be repeated
        #[arg(long = "scope", required = true, value_parser = parse_scope)]
        scopes: Vec<Scope>,
        /// Days until the token expires; without it, the token does not expire
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
        expires_in_days: Option<u32>,
    },
    /// List tokens, including revoked ones
    List,
    /// Revoke a token
    Revoke { id: i64 },
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        format!("one of {}", known.join(", "))
    })
}

/// Runs a command of `token`.
pub async fn run(command: TokenCommand, config: Config) -> anyhow::Result<()> {
    let shop = Shop::open(config).await?;
    let actor = Actor::console();
    let mut tx = shop.app.db.begin().await?;
    let mut shown = None;
    match command {
        TokenCommand::Create {
            name,
            scopes,
            expires_in_days,
        } => {
            let new = auth::TokenRequest {
                name: &name,
                scopes: &scopes,
                expires_at: expires_in_days.map(|days| Utc::now() + TimeDelta::days(days.into())),
            };
            let (_, token) = auth::create_token(&mut tx, &actor, &new).await?;
            shown = Some(token);
        }
        TokenCommand::List => {
            for token in auth::list_tokens(&mut tx).await? {
                let state = match () {
                    () if token.revoked_at.is_some() => "revoked",
                    () if token.is_expired() => "expired",
                    () => "active",
                };
                let by = token.created_by.as_deref().unwrap_or("unknown");
                let until = match token.expires_at {
                    Some(at) => format!("until {}", at.format("%Y-%m-%d %H:%M UTC")),
                    None => "for good".to_owned(),
                };
                let used = match token.last_used_at {
                    Some(at) => format!("last used {}", at.format("%Y-%m-%d %H:%M UTC")),
                    None => "never used".to_owned(),
                };
                println!(
                    "{:>4}  {:<8} {:<24} {}  {until}  made by {by}  {used}",
                    token.id,
                    state,
                    token.name,
                    token.scopes.join(" ")
                );
            }
        }
        TokenCommand::Revoke { id } => {
            if !auth::revoke_token(&mut tx, &actor, id).await? {
                bail!("there is no token {id}");
            }
            println!("Token {id} is revoked.");
        }
    }
    tx.commit().await?;
    if let Some(token) = shown {
        eprintln!("The token is shown this once; send it as `Authorization: Bearer TOKEN`.");
        println!("{token}");
    }
    shop.close().await
}
