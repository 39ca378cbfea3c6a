//! Every form sent as it was rendered, and with each field changed alone.

use std::sync::Arc;

use super::{Scene, World, another, routes, shown};
use crate::support::{at_once, heavy};

/// Forms by which pieces come into stock.
const STOCKING: [&str; 4] = [
    "/admin/products/{id}/stock",
    "/admin/new-product",
    "/admin/import-lighters/make",
    "/admin/orders/{id}/undo",
];

/// Errors of a route's form when it is sent as it was rendered but for one field: nothing may come of the fields
/// that nobody touched.
async fn tried_with_another(scene: Scene, route: &str, at: usize) -> Result<(), String> {
    let Scene {
        shop,
        client,
        mut form,
    } = scene;
    let field = &mut form.fields[at];
    let name = field.name.clone();
    let value = another(field).unwrap_or_default();
    match field.kind.as_str() {
        "checkbox" => field.is_on = !field.is_on,
        "radio" => form.fill(&name, &value),
        _ => field.value = value,
    }
    let newest = "select coalesce(max(id), 0) from stock_movements";
    let newest: i64 = sqlx::query_scalar(newest)
        .fetch_one(&shop.db)
        .await
        .expect("the ledger");
    let answer = form.send(&client).await;
    if answer.status >= 500 || answer.status == 405 {
        return Err(format!("with another {name}: {:?}", shown(&answer)));
    }
    let came: i64 = sqlx::query_scalar(
        "select coalesce(sum(delta), 0)::bigint from stock_movements where id > $1 and delta > 0",
    )
    .bind(newest)
    .fetch_one(&shop.db)
    .await
    .expect("the ledger");
    if came > 0 && !STOCKING.contains(&route) && !name.starts_with("restock") {
        return Err(format!(
            "with another {name}: {came} pieces came into stock by themselves"
        ));
    }
    shop.audit().await;
    Ok(())
}

/// Tries each field of a route's form; returns how many, and what is wrong.
async fn tried_with_each(world: &World, route: &str) -> (usize, Vec<String>) {
    let Some(first) = world.scene(route).await else {
        return (0, vec![format!("{route} no page shows its form")]);
    };
    let fields = first.form.fields.iter().enumerate();
    let choices: Vec<usize> = fields
        .filter(|(_, field)| another(field).is_some())
        .map(|(at, _)| at)
        .collect();
    let mut scene = Some(first);
    let mut wrong = Vec::new();
    for at in &choices {
        let scene = match scene.take() {
            Some(scene) => scene,
            None => world.scene(route).await.expect("the same page again"),
        };
        if let Err(why) = tried_with_another(scene, route, *at).await {
            let why: String = why.chars().take(800).collect();
            wrong.push(format!("{route} {why}"));
        }
    }
    (choices.len(), wrong)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_is_sent_as_it_was_rendered_with_each_field_changed_alone() {
    let _seat = heavy().await;
    let world = Arc::new(World::open().await);
    let mut wrong = Vec::new();
    let mut fields = 0;
    for few in routes().chunks(4) {
        let tries = few.iter().map(|route| {
            let (world, route) = (world.clone(), *route);
            async move { tried_with_each(&world, route).await }
        });
        for (tried, errors) in at_once(tries).await {
            fields += tried;
            wrong.extend(errors);
        }
    }
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), wrong.join("\n"));
    assert!(fields > 60, "{fields}");
}
