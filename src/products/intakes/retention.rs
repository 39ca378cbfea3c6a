//! The end of table photographs: they are kept as long as somebody may need them, and no longer.

use chrono::{TimeDelta, Utc};
use serde_json::json;
use sqlx::PgPool;

use super::store;
use crate::audit::{self, Actor};
use crate::error::Result;

/// Time after which an intake that nobody touched is discarded.
const UNTOUCHED: TimeDelta = TimeDelta::days(90);

/// Time after which the images of a finished or discarded intake are let go.
const ENDED: TimeDelta = TimeDelta::days(30);

/// Discards intakes that nobody touched for 90 days, and lets go of the photographs of those that ended 30 days ago.
/// Their files are deleted by the sweep of images. Products keep their images. Safe to repeat.
///
/// # Errors
/// Database errors only.
pub async fn let_go(db: &PgPool) -> Result<()> {
    let mut tx = db.begin().await?;
    let now = Utc::now();
    for number in store::discard_untouched(&mut tx, now - UNTOUCHED).await? {
        let (was, is) = (json!({"status": "open"}), json!({"status": "discarded"}));
        let object = format!("intake:{number}");
        let actor = Actor::system("system");
        audit::record(&mut tx, &actor, "intake.discard", &object, was, is).await?;
    }
    let ended = store::lock_ended(&mut tx, now - ENDED).await?;
    store::let_go_images(&mut tx, &ended).await?;
    tx.commit().await?;
    Ok(())
}
