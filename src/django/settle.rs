//! The last step of the takeover: what only Stripe knows. Nothing of it is in the transaction of the import, and all of it can
//! be repeated.

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::progress::{Progress, Step};
use crate::app::App;
use crate::audit::{self, Actor};
use crate::custom_orders;
use crate::payments;
use crate::products;

/// What became of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StripeStep {
    pub name: &'static str,
    /// Result in words.
    pub text: String,
    /// What is left undone, by its ids.
    pub undone: Vec<String>,
    /// What Stripe does not have, by its ids.
    pub missing: Vec<String>,
}

/// Asks and tells Stripe, after the last import. A step that fails does not keep the next ones from being made.
///
/// # Errors
/// When the key is of another account than the products' ids: then nothing is asked or told.
pub async fn settle(
    app: &App,
    first_order: DateTime<Utc>,
    progress: &Progress<'_>,
) -> anyhow::Result<Vec<StripeStep>> {
    products::claim_account(app)
        .await
        .context("the rows are imported, and Stripe was told nothing")?;
    let mut steps = vec![release_products(app).await?];
    let asked =
        payments::ask_copied_sessions(app, &|at, all| progress(Step::Stripe, at, all)).await?;
    steps.push(StripeStep {
        name: "unpaid orders",
        text: format!(
            "{} payment pages asked for, {} had been paid unheard of",
            asked.asked,
            asked.settled.len()
        ),
        missing: Vec::new(),
        undone: asked
            .failed
            .iter()
            .map(|order| format!("order {order}"))
            .collect(),
    });
    let refunds = payments::read_copied_refunds(app, first_order).await;
    steps.push(match refunds {
        Ok(count) => done("refunds", format!("{count} refunds read")),
        Err(error) => failed("refunds", &error),
    });
    steps.push(match custom_orders::match_copied_links(app).await {
        Ok(links) => StripeStep {
            name: "payment links",
            text: format!(
                "{} links of open quotes found, {} links of finished custom orders closed",
                links.matched, links.closed
            ),
            undone: links.not_closed,
            missing: links.missing.iter().map(ToString::to_string).collect(),
        },
        Err(error) => failed("payment links", &error),
    });
    Ok(steps)
}

async fn release_products(app: &App) -> anyhow::Result<StripeStep> {
    let mut tx = app.db.begin().await?;
    let released = products::release_copied(&mut tx).await?;
    let actor = Actor::system("import");
    let facts = json!({"products": released.len()});
    audit::record(
        &mut tx,
        &actor,
        "import.release",
        "shop",
        Value::Null,
        facts,
    )
    .await?;
    tx.commit().await?;
    let text = format!(
        "{} products follow this shop at Stripe from now on",
        released.len()
    );
    Ok(done("products", text))
}

fn done(name: &'static str, text: String) -> StripeStep {
    StripeStep {
        name,
        text,
        undone: Vec::new(),
        missing: Vec::new(),
    }
}

fn failed(name: &'static str, error: &crate::error::Error) -> StripeStep {
    tracing::warn!(%error, step = name, "a step of the takeover failed");
    StripeStep {
        name,
        text: "failed".to_owned(),
        undone: vec![error.to_string()],
        missing: Vec::new(),
    }
}
