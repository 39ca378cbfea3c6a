//! The account that the key belongs to.

use stripe_client_core::{RequestBuilder, StripeMethod, StripeRequest};

use super::client::{Result, Stripe, StripeError, unreadable};
use super::session::text;

/// An account at Stripe, by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountId(pub String);

impl AccountId {
    /// Beginning of the id of a sandbox's account.
    pub const SANDBOX: &str = "acct_sandbox_";

    /// Returns true for the account of a sandbox: nothing in it is worth keeping.
    pub fn is_sandbox(&self) -> bool {
        self.0.starts_with(AccountId::SANDBOX)
    }
}

/// The question for the account itself. The library has it in a crate about connected accounts, which costs more than this.
///
/// Source: <https://docs.stripe.com/api/accounts/retrieve>
struct OwnAccount;

impl StripeRequest for OwnAccount {
    type Output = ();

    fn build(&self) -> RequestBuilder {
        RequestBuilder::new(StripeMethod::Get, "/account")
    }
}

impl Stripe {
    /// The account that the key belongs to, asked for once. `None`: a restricted key that may not ask.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn account(&self) -> Result<Option<AccountId>> {
        let account = self.account.get_or_try_init(|| self.ask_account()).await?;
        Ok(account.clone().map(AccountId))
    }

    async fn ask_account(&self) -> Result<Option<String>> {
        match self.call(&OwnAccount, None).await {
            Ok(answer) => match text(&answer["id"]) {
                Some(id) => Ok(Some(id)),
                None => Err(unreadable("account")),
            },
            // The client sorts it among what a later try may change, and a new permission does.
            Err(StripeError::Unavailable(why)) if why.starts_with("403") => Ok(None),
            Err(error) => Err(error),
        }
    }
}
