//! Intakes as such: made, opened for a change, discarded.

use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{Intake, IntakeDetails, IntakeStatus, store};
use crate::audit::{self, Actor};
use crate::error::{Code, Error, FieldError, Result};
use crate::jobs::{self, Job};
use crate::products::categories;
use crate::products::fields::{
    CategoryKey, FieldReader, Parsed, category_key, or_null, weight, whole,
};
use crate::products::input::MAX_STOCK;
use crate::types::ids::{IntakeId, PhotoId};

/// Choices for all pieces of an intake. Missing fields take their defaults.
#[derive(Clone, Debug, Default, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IntakeChoice {
    /// 1 Classic BIC, 2 Mini BIC; each as it is seen when absent.
    #[schema(minimum = 1, maximum = 2)]
    pub lighter_type: Option<i16>,
    /// A category's id or slug; one is proposed for each piece when absent.
    #[schema(value_type = Option<String>)]
    pub category: Option<CategoryKey>,
    /// A string or a number with up to two decimals; `"2.00"` when absent.
    #[schema(value_type = String, required = false, pattern = r"^[0-9]{1,5}(\.[0-9]{0,2}0*)?$")]
    pub weight_ounces: Option<String>,
    /// Pieces in stock of each product; 1 when absent.
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    pub inventory_count: Option<i32>,
}

impl IntakeChoice {
    /// Parses the choices.
    pub fn parse(body: Map<String, Value>) -> Parsed<IntakeChoice> {
        let mut fields = FieldReader::new("", body);
        let lighter_type = fields.read("lighter_type", or_null(|value| whole(value, 1..=2)));
        let value = IntakeChoice {
            lighter_type: lighter_type.flatten().map(|number| number as i16),
            category: fields.read("category", or_null(category_key)).flatten(),
            weight_ounces: fields.read("weight_ounces", weight),
            inventory_count: fields
                .read("inventory_count", |value| whole(value, 0..=MAX_STOCK))
                .map(|number| number as i32),
        };
        Parsed {
            value,
            field_errors: fields.finish(&[]),
        }
    }
}

/// Creates an intake without photographs.
///
/// # Errors
/// Field errors.
pub async fn create(
    conn: &mut PgConnection,
    actor: &Actor,
    mut parsed: Parsed<IntakeChoice>,
) -> Result<Intake> {
    let category_id = match &parsed.value.category {
        None => None,
        Some(key) => {
            let found = categories::hold(conn, key).await?;
            if found.is_none() {
                let error = FieldError::new("category", "There is no such category.");
                parsed.field_errors.push(error);
            }
            found
        }
    };
    let choice = parsed.whole()?;
    let now = chrono::Utc::now();
    let intake = Intake {
        id: IntakeId::new(),
        number: 0,
        status: IntakeStatus::Open,
        lighter_type: choice.lighter_type,
        category_id,
        weight_ounces: choice.weight_ounces.unwrap_or_else(|| "2.00".to_owned()),
        pieces_each: choice.inventory_count.unwrap_or(1),
        needs_pairing: false,
        version: 1,
        created_at: now,
        changed_at: now,
    };
    let intake = store::insert(conn, &intake).await?;
    let after = json!({
        "lighter_type": intake.lighter_type,
        "category_id": intake.category_id,
        "weight_ounces": intake.weight_ounces,
        "inventory_count": intake.pieces_each,
    });
    audit::record(
        conn,
        actor,
        "intake.create",
        &object(&intake),
        Value::Null,
        after,
    )
    .await?;
    Ok(intake)
}

/// Discards an intake. Its photographs are let go later. Safe to repeat.
///
/// # Errors
/// 404; 409 `intake_is_closed` once its products are made.
pub async fn discard(conn: &mut PgConnection, actor: &Actor, id: IntakeId) -> Result<()> {
    let intake = store::lock(conn, id).await?;
    if intake.status == IntakeStatus::Discarded {
        return Ok(());
    }
    if !intake.status.may_become(IntakeStatus::Discarded) {
        return Err(closed(&intake));
    }
    let discarded = Intake {
        status: IntakeStatus::Discarded,
        needs_pairing: false,
        ..intake.clone()
    };
    store::save(conn, &discarded).await?;
    let (was, is) = (json!({"status": "open"}), json!({"status": "discarded"}));
    audit::record(conn, actor, "intake.discard", &object(&intake), was, is).await
}

/// Locks an intake for a change, and reads what is in it.
///
/// # Errors
/// 404; 409 `intake_is_closed`, or `version_conflict` if a version is given and outdated.
pub async fn open(
    conn: &mut PgConnection,
    id: IntakeId,
    version: Option<i64>,
) -> Result<IntakeDetails> {
    let intake = store::lock(conn, id).await?;
    if !intake.is_open() {
        return Err(closed(&intake));
    }
    if version.is_some_and(|seen| seen != intake.version) {
        return Err(Error::Conflict(
            Code::VersionConflict,
            format!(
                "Batch {} has changed in the meantime. Load the page again.",
                intake.number
            ),
        ));
    }
    store::contents(conn, intake).await
}

/// Counts a change, and queues the jobs that follow from it: pairing if it is needed, and staging.
pub(super) async fn changed(
    conn: &mut PgConnection,
    intake: &Intake,
    photos_to_stage: &[PhotoId],
) -> Result<()> {
    store::save(conn, intake).await?;
    if intake.needs_pairing {
        let job = Job::PairPieces { intake: intake.id };
        jobs::enqueue(conn, &job).await?;
    }
    for &photo in photos_to_stage {
        jobs::enqueue(conn, &Job::StagePieces { photo }).await?;
    }
    Ok(())
}

pub(super) fn closed(intake: &Intake) -> Error {
    let state = match intake.status {
        IntakeStatus::Open => "open",
        IntakeStatus::Done => "done: take its products back to change it",
        IntakeStatus::Discarded => "discarded",
    };
    Error::Conflict(
        Code::IntakeIsClosed,
        format!("Batch {} is {state}.", intake.number),
    )
}

/// Name of an intake in the audit log.
pub(super) fn object(intake: &Intake) -> String {
    format!("intake:{}", intake.number)
}
