//! Failures and their times: processes, PostgreSQL, lines, Stripe, webhooks, mail, the disk.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::clock;
use super::cluster::Stage;
use super::rng::Chance;
use super::webhooks::Way;
use crate::support::Trouble;

/// Lets things break, one after the other and some at once, until the storm is over.
pub async fn blow(stage: Arc<Stage>, mut chance: Chance) {
    let world = &stage.world;
    while !world.is_over() {
        match chance.below(26) {
            0..=4 => kill(&stage, &mut chance).await,
            5 | 6 => crash(&stage, &mut chance).await,
            7 | 8 => {
                stage.lines.cut();
                world.tally.add("all lines to PostgreSQL cut");
            }
            9 => end_backends(&stage, &mut chance).await,
            10..=12 => trouble_webhooks(&stage, &mut chance).await,
            13 | 14 => send_old_events(&stage, &mut chance).await,
            15 | 16 => trouble_mail(&stage, &mut chance).await,
            17 => trouble_disk(&stage, &mut chance).await,
            18 => kill_all(&stage).await,
            19 | 20 => calm(&stage, &mut chance).await,
            21 | 22 => forbid_changes(&stage, &mut chance).await,
            _ => pass(&stage, *chance.pick(&[0.2, 1.0, 2.5, 7.0, 25.0])).await,
        }
        world.pause(chance.millis(100, 1_600)).await;
    }
}

/// Lets Stripe misbehave, most of the time.
pub async fn trouble_stripe_on(stage: Arc<Stage>, mut chance: Chance) {
    while !stage.world.is_over() {
        match chance.below(5) {
            0 => trouble_refunds(&stage, &mut chance).await,
            _ => trouble_stripe(&stage, &mut chance).await,
        }
        stage.world.pause(chance.millis(200, 3_000)).await;
    }
}

/// Starts again what has ended, as an init system does, until told to stop.
pub async fn restart_what_ended(stage: Arc<Stage>) {
    loop {
        let awake = stage.rest.lock().await;
        for program in &stage.programs {
            if program.keep_running().await {
                stage.world.tally.add("processes that ended by themselves");
            }
        }
        drop(awake);
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
}

/// Lets hours pass. No call to Stripe is under way for hours, so over more than a few all processes are down: a call under a
/// key that the shop still trusts (20 hours) is answered before Stripe forgets it (24).
pub async fn pass(stage: &Stage, hours: f64) {
    let night = match hours {
        ..3.0 => None,
        _ => Some(stage.rest.lock().await),
    };
    if night.is_some() {
        kill_all(stage).await;
    }
    clock::pass(&stage.world, hours).await;
}

/// Some seconds in which nothing new breaks, once all servers are back: however slow the machine, people get to buy.
async fn calm(stage: &Stage, chance: &mut Chance) {
    let world = &stage.world;
    stage.mail.mend();
    stage.webhooks.set(Way::Straight);
    while !world.is_over() && !stage.answers().await {
        world.pause(chance.millis(100, 200)).await;
    }
    world.pause(chance.millis(1_000, 5_000)).await;
}

async fn kill(stage: &Stage, chance: &mut Chance) {
    chance.pick(&stage.programs).kill().await;
    stage.world.tally.add("processes killed");
}

async fn kill_all(stage: &Stage) {
    for program in &stage.programs {
        program.kill().await;
        stage.world.tally.add("processes killed");
    }
}

async fn crash(stage: &Stage, chance: &mut Chance) {
    stage.database.crash().await;
    stage.world.tally.add("crashes of PostgreSQL");
    if chance.one_in(3) {
        kill(stage, chance).await;
    }
    stage.world.pause(chance.millis(0, 1_500)).await;
    stage.database.restart().await;
}

/// Ends some of the shop's connections from within.
async fn end_backends(stage: &Stage, chance: &mut Chance) {
    let ended = sqlx::query(
        "select pg_terminate_backend(pid)
         from pg_stat_activity
         where application_name = 'spirit-beads' and pid % 3 = $1",
    );
    let ended = ended.bind(chance.below(3) as i32);
    if ended.execute(&stage.world.shop).await.is_ok() {
        stage.world.tally.add("times that backends were ended");
    }
}

/// Lets the database take no changes for a moment, as after a fail-over to a standby that is not promoted yet.
async fn forbid_changes(stage: &Stage, chance: &mut Chance) {
    stage.database.take_changes(false).await;
    stage.world.tally.add("read-only spells of PostgreSQL");
    stage.world.pause(chance.millis(200, 2_000)).await;
    stage.database.take_changes(true).await;
}

async fn trouble_stripe(stage: &Stage, chance: &mut Chance) {
    let fault: Value = match chance.below(12) {
        0 => json!("server_error"),
        1 => json!("rate_limited"),
        2 => json!("bad_gateway"),
        3 => json!("act_then_server_error"),
        4 | 5 => json!("act_then_drop"),
        6..=8 => json!("act_then_hang"),
        9 => json!("drop"),
        10 => json!("hang"),
        _ => json!({"slow": 300 + chance.below(3_000)}),
    };
    let operation = *chance.pick(&[
        "*",
        "*",
        "POST /v1/checkout/sessions",
        "POST /v1/checkout/sessions",
        "POST /v1/checkout/sessions/{id}/expire",
        "GET /v1/checkout/sessions/{id}",
        "POST /v1/refunds",
        "POST /v1/refunds",
        "POST /v1/payment_links",
        "POST /v1/payment_links/{id}",
        "POST /v1/prices",
        "GET /v1/events",
    ]);
    let body = json!({"operation": operation, "fault": fault, "times": 1 + chance.below(6)});
    if stage.world.switch("faults", &body).await.is_some() {
        stage.world.tally.add("troubles at Stripe");
    }
    if chance.one_in(4) {
        stage.world.clear_stripe_faults().await;
    }
}

/// Stripe says no to refunds that it takes later: too many at once, a low balance, an account that is looked at.
async fn trouble_refunds(stage: &Stage, chance: &mut Chance) {
    let refused =
        |code: &str| json!({"refused": {"code": code, "message": "Not now.", "param": null}});
    let fault: Value = match chance.below(4) {
        0 => json!("card_error"),
        1 => json!("rate_limited"),
        2 => refused("insufficient_funds"),
        _ => refused(""),
    };
    let body =
        json!({"operation": "POST /v1/refunds", "fault": fault, "times": 1 + chance.below(4)});
    if stage.world.switch("faults", &body).await.is_some() {
        stage.world.tally.add("refusals of refunds at Stripe");
    }
}

async fn trouble_webhooks(stage: &Stage, chance: &mut Chance) {
    let way = *chance.pick(&[
        Way::Off,
        Way::Twice,
        Way::Unheard,
        Way::Shuffled,
        Way::Straight,
    ]);
    stage.webhooks.set(way);
    stage
        .world
        .tally
        .add("times that webhooks went another way");
    if way == Way::Off || chance.one_in(3) {
        // What is on its way now comes hours later, unless reconciliation was faster.
        let late = sqlx::query(
            "update stripe_sandbox.deliveries
             set due = now() + make_interval(hours => $1)
             where delivered is null",
        );
        let _ = late
            .bind(1 + chance.below(6) as i32)
            .execute(&stage.world.stripe)
            .await;
    }
}

/// Stripe delivers again, newly signed, what was delivered long ago; in any order.
async fn send_old_events(stage: &Stage, chance: &mut Chance) {
    let again = sqlx::query(
        "update stripe_sandbox.deliveries
         set delivered = null, due = now() + make_interval(secs => (seq * 7919 % 5)::double precision)
         where delivered is not null and seq % 11 = $1",
    );
    let again = again
        .bind(chance.below(11) as i64)
        .execute(&stage.world.stripe)
        .await;
    if again.is_ok() {
        stage.world.tally.add("times that old events came again");
    }
}

async fn trouble_mail(stage: &Stage, chance: &mut Chance) {
    let trouble = match chance.below(6) {
        0 => Some(Trouble::HangUp),
        1 => Some(Trouble::Busy),
        2 => Some(Trouble::Silence),
        3 => Some(Trouble::DropAfterData),
        _ => None,
    };
    match trouble {
        Some(trouble) => {
            stage.mail.misbehave(trouble);
            stage.world.tally.add("troubles with the mail server");
        }
        None => stage.mail.mend(),
    }
}

/// The media folder is gone for a moment, with a file in its place: nothing can be written or read there.
async fn trouble_disk(stage: &Stage, chance: &mut Chance) {
    let away = stage.media.with_extension("away");
    if std::fs::rename(&stage.media, &away).is_err() {
        return;
    }
    std::fs::write(&stage.media, "no folder").expect("a file");
    stage.world.tally.add("times that the media disk was gone");
    stage.world.pause(chance.millis(500, 3_000)).await;
    mend_disk(&stage.media);
}

pub fn mend_disk(media: &Path) {
    let away = media.with_extension("away");
    if away.exists() {
        std::fs::remove_file(media).expect("the file in its place");
        std::fs::rename(&away, media).expect("the folder");
    }
}
