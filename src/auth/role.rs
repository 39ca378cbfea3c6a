//! Roles of users, and the scopes that they stand for.

use serde::Serialize;
use utoipa::ToSchema;

use super::tokens::Scope;

/// Role of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Role {
    /// All permissions.
    Owner,
    /// The shop's daily work: no users, tokens, refunds or system.
    Staff,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 2] = [Role::Owner, Role::Staff];

    /// Returns the name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Staff => "staff",
        }
    }

    /// Scopes that a token needs for the same permissions.
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Role::Owner => &Scope::ALL,
            Role::Staff => &[
                Scope::Catalog,
                Scope::Stock,
                Scope::OrdersRead,
                Scope::OrdersWrite,
                Scope::CustomOrders,
            ],
        }
    }

    /// Parses the name.
    pub fn parse(text: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == text)
    }
}
