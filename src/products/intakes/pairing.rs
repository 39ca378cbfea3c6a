//! The job that pairs fronts with backs, and proposes what their products are made of.

use std::collections::{BTreeMap, BTreeSet};

use image::RgbImage;
use sqlx::PgConnection;
use table_photos::names::{Description, describe, seed};
use table_photos::{Look, Table, duplicates, pair};

use super::closeup::{Closeup, nearest};
use super::finding::{middle, unless_it_panics, work_on};
use super::guesses::Proposals;
use super::{IntakeDetails, Item, Piece, Side, store};
use crate::app::App;
use crate::error::{Error, Result};
use crate::jobs::{self, Job};
use crate::settings;
use crate::types::ids::{IntakeId, PhotoId, PieceId};

/// Most pieces of a side that are compared with each other, to find those that were photographed twice.
const MOST_COMPARED: usize = 150;

/// Looks of pieces, by piece.
type Looks = BTreeMap<PieceId, Look>;

/// Pairs the fronts of an intake with its backs, once all photographs are searched, and queues the staging of the pieces.
/// Pairs that a person chose stay. Safe to repeat.
///
/// # Errors
/// Failures of the storage or the database; the job is then repeated.
pub async fn pair_pieces(app: &App, id: IntakeId) -> Result<()> {
    let details = match store::details(&mut *app.db.acquire().await?, id).await {
        Err(Error::NotFound(_)) => return Ok(()),
        details => details?,
    };
    let intake = &details.intake;
    if !intake.is_open() || !intake.needs_pairing || details.waiting_photos() > 0 {
        return Ok(());
    }
    let looks = looks(app, &details).await?;
    let seen = details.clone();
    // No pixels are decoded here, but the comparison of many pieces takes a while.
    let plan = app
        .storage
        .work(0, move || Plan::of(&seen, &looks))
        .await?
        .unwrap_or_default();
    let mut tx = app.db.begin().await?;
    apply(&mut tx, app, &details, &plan).await?;
    tx.commit().await?;
    Ok(())
}

/// Finds the looks of all pieces in use, one photograph after the other.
async fn looks(app: &App, details: &IntakeDetails) -> Result<Looks> {
    let mut looks = Looks::new();
    for photo in &details.photos {
        let pieces: Vec<Piece> = details
            .pieces
            .iter()
            .filter(|piece| piece.photo_id == photo.id && piece.is_used())
            .cloned()
            .collect();
        let Some(image) = photo.image_id.as_ref().filter(|_| !pieces.is_empty()) else {
            continue;
        };
        let seen = move |pixels: RgbImage| looks_in(&pixels, &pieces);
        let found = work_on(app, photo.id, image, seen).await?;
        looks.extend(found.unwrap_or_default());
    }
    Ok(looks)
}

/// Finds pieces once more, which gives the same pieces, with their looks.
fn looks_in(pixels: &RgbImage, pieces: &[Piece]) -> Vec<(PieceId, Look)> {
    let table = Table::find(pixels).ok();
    let mut looks = Vec::new();
    for piece in pieces {
        let look = unless_it_panics(piece.id, || match piece.is_drawn {
            true => Closeup::of(pixels, &piece.outline)
                .and_then(|closeup| Some(closeup.piece(&piece.outline)?.look.clone())),
            false => table.as_ref().and_then(|table| {
                Some(nearest(&table.pieces, middle(&piece.outline))?.look.clone())
            }),
        });
        looks.extend(look.flatten().map(|look| (piece.id, look)));
    }
    looks
}

/// The pairs that the looks tell.
#[derive(Default)]
struct Plan {
    /// Fronts, their backs, and whether no other pair comes near.
    pairs: Vec<(PieceId, PieceId, bool)>,
    /// Pieces that seem to be in another photograph of their side, with the piece there.
    same: Vec<(PieceId, PieceId)>,
    /// Colors and patterns, and the numbers at which names begin.
    described: BTreeMap<PieceId, (Description, u64)>,
}

impl Plan {
    fn of(details: &IntakeDetails, looks: &Looks) -> Plan {
        let mut settled: BTreeSet<PieceId> = details
            .fronts()
            .filter(|(_, item)| item.is_paired_by_hand || item.product_id.is_some())
            .flat_map(|(front, item)| [Some(front.id), item.back_id])
            .flatten()
            .collect();
        let mut same = Vec::new();
        for side in [Side::Front, Side::Back] {
            same.extend(photographed_twice(details, looks, side, &settled));
        }
        settled.extend(same.iter().map(|(second, _)| *second));
        let of_side = |side: Side| -> Vec<(PieceId, &Look)> {
            let pieces = details.pieces.iter();
            pieces
                .filter(|piece| piece.is_used() && piece.side == side)
                .filter(|piece| !settled.contains(&piece.id))
                .filter_map(|piece| Some((piece.id, looks.get(&piece.id)?)))
                .collect()
        };
        let (fronts, backs) = (of_side(Side::Front), of_side(Side::Back));
        let only_looks = |pieces: &[(PieceId, &Look)]| -> Vec<Look> {
            pieces.iter().map(|(_, look)| (*look).clone()).collect()
        };
        let (front_looks, back_looks) = (only_looks(&fronts), only_looks(&backs));
        let pairs = pair(
            &front_looks.iter().collect::<Vec<_>>(),
            &back_looks.iter().collect::<Vec<_>>(),
        );
        Plan {
            pairs: pairs
                .into_iter()
                .map(|pair| (fronts[pair.front].0, backs[pair.back].0, pair.is_sure))
                .collect(),
            same,
            described: looks
                .iter()
                .map(|(id, look)| (*id, (describe(look), seed(look))))
                .collect(),
        }
    }
}

/// Pieces of a side that are in two of its photographs: each second one, with the first. Of two pieces, one that a person
/// paired or that has a product counts as the first; two such ones both stay.
fn photographed_twice(
    details: &IntakeDetails,
    looks: &Looks,
    side: Side,
    settled: &BTreeSet<PieceId>,
) -> Vec<(PieceId, PieceId)> {
    let mut by_photo: BTreeMap<PhotoId, Vec<(PieceId, &Look)>> = BTreeMap::new();
    // A person who moves a single piece to the other side knows what it is.
    let is_of_side = |piece: &Piece| {
        let mut photos = details.photos.iter();
        photos.any(|photo| photo.id == piece.photo_id && photo.side == side)
    };
    for piece in &details.pieces {
        if piece.is_used()
            && piece.side == side
            && is_of_side(piece)
            && let Some(look) = looks.get(&piece.id)
        {
            let of_photo = by_photo.entry(piece.photo_id).or_default();
            of_photo.push((piece.id, look));
        }
    }
    let by_photo: Vec<Vec<(PieceId, &Look)>> = by_photo.into_values().collect();
    if by_photo.iter().map(Vec::len).sum::<usize>() > MOST_COMPARED {
        return Vec::new();
    }
    let looks: Vec<Vec<&Look>> = by_photo
        .iter()
        .map(|photo| photo.iter().map(|(_, look)| *look).collect())
        .collect();
    let id = |(photo, at): (usize, usize)| by_photo[photo][at].0;
    // A person who uses one that was left out for this reason knows better.
    let is_new = |second: PieceId, first: PieceId| {
        let same_as = |id: PieceId| details.piece(id).and_then(|piece| piece.same_as);
        same_as(second).is_none() && same_as(first) != Some(second)
    };
    let found = duplicates(&looks).into_iter();
    found
        .map(|[first, second]| (id(second), id(first)))
        .map(|(second, first)| match settled.contains(&second) {
            true => (first, second),
            false => (second, first),
        })
        .filter(|&(second, first)| !settled.contains(&second) && is_new(second, first))
        .collect()
}

/// Writes the plan, unless something was changed since the looks were taken; then they are taken again.
async fn apply(
    conn: &mut PgConnection,
    app: &App,
    seen: &IntakeDetails,
    plan: &Plan,
) -> Result<()> {
    let intake = store::lock(conn, seen.intake.id).await?;
    let details = store::contents(conn, intake).await?;
    let intake = &details.intake;
    if !intake.is_open() {
        return Ok(());
    }
    if intake.version != seen.intake.version || store::state_of(&details) != store::state_of(seen) {
        let job = Job::PairPieces { intake: intake.id };
        return jobs::enqueue(conn, &job).await;
    }
    // One that is no front any more keeps no back from the others.
    let is_front = |id: PieceId| details.fronts().any(|(front, _)| front.id == id);
    let free: Vec<PieceId> = details
        .items
        .iter()
        .filter(|item| !item.is_paired_by_hand || !is_front(item.piece_id))
        .filter(|item| item.product_id.is_none())
        .filter_map(|item| item.back_id)
        .collect();
    store::free_backs(conn, intake.id, &free).await?;
    let settings = settings::current(conn, &app.config).await?;
    let mut proposals = Proposals::begin(conn, &details, &settings).await?;
    let fronts = details.pieces.iter();
    let is_twin = |piece: &Piece| plan.same.iter().any(|(second, _)| *second == piece.id);
    for front in fronts.filter(|piece| piece.is_used() && piece.side == Side::Front) {
        if !is_twin(front) && details.item(front.id).is_none() {
            let back = back_in(plan, front.id).and_then(|back| details.piece(back));
            let described = plan.described.get(&front.id);
            let item: Item = proposals.item(conn, (front, back), described).await?;
            store::insert_item(conn, intake.id, &item).await?;
        }
    }
    for (front, back, is_sure) in &plan.pairs {
        store::set_back(conn, *front, Some(*back), (*is_sure, false)).await?;
    }
    for (piece, (description, _)) in &plan.described {
        store::set_description(conn, *piece, description).await?;
    }
    store::leave_out_twins(conn, &plan.same).await?;
    settle_types(conn, &details, plan).await?;
    store::set_needs_pairing(conn, intake.id, false).await?;
    for photo in &details.photos {
        jobs::enqueue(conn, &Job::StagePieces { photo: photo.id }).await?;
    }
    Ok(())
}

fn back_in(plan: &Plan, front: PieceId) -> Option<PieceId> {
    let mut pairs = plan.pairs.iter();
    let found = pairs.find(|(one, ..)| *one == front);
    found.map(|(_, back, _)| *back)
}

/// Gives both sides of each new pair the same type: that of the front, or else that of the back.
async fn settle_types(conn: &mut PgConnection, details: &IntakeDetails, plan: &Plan) -> Result<()> {
    for (front, back, _) in &plan.pairs {
        let both = [*front, *back].map(|id| details.piece(id));
        let seen = both.iter().flatten().find_map(|piece| piece.lighter_type);
        for piece in both.into_iter().flatten() {
            if piece.lighter_type != seen {
                let piece = Piece {
                    lighter_type: seen,
                    ..piece.clone()
                };
                store::save_piece(conn, &piece, true).await?;
            }
        }
    }
    Ok(())
}
