//! Changes of review items, with the timelines of their orders and the audit log.

use serde_json::json;
use sqlx::PgConnection;

use super::{NewItem, OpenItem, ReviewItem, Subject, store};
use crate::audit::{self, Actor};
use crate::error::{Code, Error, Result};
use crate::types::ids::ReviewItemId;

/// Raises an item for an order, a custom order, both or neither, and notes it on their timelines. Safe to repeat: the
/// same cause raises once, and `false` is returned after that.
///
/// # Errors
/// Database errors only.
pub async fn flag(
    conn: &mut PgConnection,
    subject: impl Into<Subject>,
    actor: &str,
    item: &NewItem,
) -> Result<bool> {
    let raised = store::raise(conn, subject.into(), item).await?;
    if let Some(raised) = &raised {
        store::note(conn, raised, actor, &raised.text).await?;
    }
    Ok(raised.is_some())
}

/// Resolves the open items of a source whose cause is gone, as [`super::close`] does, and notes the outcome on
/// their timelines. Safe to repeat.
///
/// # Errors
/// Database errors only.
pub async fn settle(
    conn: &mut PgConnection,
    source: &str,
    actor: &str,
    result: &str,
) -> Result<()> {
    for item in store::close(conn, source, actor, result).await? {
        let note = format!("resolved automatically: {result} ({})", item.kind.title());
        store::note(conn, &item, actor, &note).await?;
    }
    Ok(())
}

/// Resolves one item on behalf of a person, with an audit entry. Safe to repeat: an item already resolved is returned
/// unchanged.
///
/// # Errors
/// 404 when there is no such item.
pub async fn resolve(
    conn: &mut PgConnection,
    actor: &Actor,
    id: ReviewItemId,
) -> Result<ReviewItem> {
    let item = store::find(conn, id).await?;
    store::lock_subject(conn, &item).await?;
    let Some(item) = store::resolve(conn, &actor.name, id).await? else {
        return store::find(conn, id).await;
    };
    let note = format!("resolved: {}", item.text);
    store::note(conn, &item, &actor.name, &note).await?;
    let facts = |is_open: bool| json!({"review_item": id, "kind": item.kind, "text": item.text, "is_open": is_open});
    audit::record(
        conn,
        actor,
        "review_item.resolve",
        &item.object(),
        facts(true),
        facts(false),
    )
    .await?;
    Ok(item)
}

/// Resolves the only open item of an order or custom order.
///
/// # Errors
/// 409 `several_review_items` when there are more: each is resolved separately.
pub async fn resolve_only(conn: &mut PgConnection, actor: &Actor, open: &[OpenItem]) -> Result<()> {
    match open {
        [] => Ok(()),
        [only] => resolve(conn, actor, only.id).await.map(|_| ()),
        several => Err(Error::Conflict(
            Code::SeveralReviewItems,
            format!(
                "There are {} open review items, and each must be resolved separately: \
                 POST /api/admin/review-items/{{id}}/resolve/.",
                several.len()
            ),
        )),
    }
}
