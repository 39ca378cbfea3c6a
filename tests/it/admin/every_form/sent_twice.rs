//! Every form sent twice: in a row, and three times at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Scene, World, another, routes, rows, shown, state};
use crate::support::forms::Form;
use crate::support::{at_once, heavy};

/// The form that stores photographs, and shows what could be made of them.
const PREVIEW: &str = "/admin/import-lighters";

/// The tables in which two states differ.
fn changed<'a>(
    before: &'a BTreeMap<String, (i64, String)>,
    after: &BTreeMap<String, (i64, String)>,
) -> Vec<&'a str> {
    let differs = before.iter().filter(|(name, rows)| after[*name] != **rows);
    differs.map(|(name, _)| name.as_str()).collect()
}

/// Writes something else into the first field that has a choice.
fn touch(form: &mut Form) {
    let choices = form.fields.iter();
    let mut choices = choices.filter(|field| field.kind != "radio" || !field.is_on);
    let found = choices.find_map(|field| Some((field.clone(), another(field)?)));
    let Some((field, value)) = found else { return };
    match field.kind.as_str() {
        "checkbox" => {
            let mut boxes = form.fields.iter_mut();
            if let Some(found) = boxes.find(|other| other.name == field.name) {
                found.is_on = !found.is_on;
            }
        }
        _ => form.fill(&field.name, &value),
    }
}

/// Errors of a route's form when it is sent twice, one after the other and at once. One that changes nothing as
/// it was rendered (settings, say) has its first field changed.
async fn tried_twice(world: &World, route: &str) -> Result<(), String> {
    let tried = tried_as_it_is(world, route, false).await?;
    match tried || tried_as_it_is(world, route, true).await? {
        true => Ok(()),
        false => Err("has no effect, so nothing is tried".to_owned()),
    }
}

/// True when it had an effect.
async fn tried_as_it_is(world: &World, route: &str, is_touched: bool) -> Result<bool, String> {
    let scene = async || {
        let mut scene = world.scene(route).await.ok_or("no page shows its form")?;
        if is_touched {
            touch(&mut scene.form);
        }
        Ok::<_, String>(scene)
    };
    let Scene { shop, client, form } = &scene().await?;
    let before = state(shop).await;
    let first = form.send(client).await;
    if first.status >= 400 {
        return Err(format!("was refused: {} {}", first.status, first.text));
    }
    let once = state(shop).await;
    if before == once {
        return Ok(false);
    }
    let again = form.send(client).await;
    let changes = state(shop).await;
    let twice = changed(&once, &changes);
    // A preview: a repeat renews the time for which its photographs are kept, and is answered by a page of its own.
    if route == PREVIEW && twice == ["public.images"] && rows(&once) == rows(&changes) {
        return Ok(true);
    }
    if !twice.is_empty() {
        return Err(format!("took effect twice: {twice:?}"));
    }
    if (first.status, first.header("location")) != (again.status, again.header("location"))
        || first.text != again.text
    {
        return Err(format!("{:?} and then {:?}", shown(&first), shown(&again)));
    }
    shop.audit().await;

    let other = scene().await?;
    let answers = at_once((0..3).map(|_| {
        let (form, client) = (other.form.clone(), other.client.clone());
        async move { form.send(&client).await }
    }))
    .await;
    if let Some(odd) = answers
        .iter()
        .find(|answer| shown(answer) != shown(&answers[0]))
    {
        return Err(format!(
            "{:?} and {:?} at once",
            shown(&answers[0]),
            shown(odd)
        ));
    }
    if answers[0].status != first.status {
        return Err(format!("at once: {:?}", shown(&answers[0])));
    }
    let thrice = state(&other.shop).await;
    if rows(&thrice) != rows(&once) {
        let (thrice, once) = (rows(&thrice), rows(&once));
        let differ = thrice.iter().filter(|(name, rows)| once[**name] != **rows);
        return Err(format!(
            "took effect more than once at once: {:?}",
            differ.collect::<Vec<_>>()
        ));
    }
    other.shop.audit().await;
    Ok(true)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_that_is_sent_twice_has_the_effect_and_the_answer_of_the_first() {
    let _seat = heavy().await;
    let world = Arc::new(World::open().await);
    let mut wrong = Vec::new();
    for few in routes().chunks(4) {
        let tries = few.iter().map(|route| {
            let (world, route) = (world.clone(), *route);
            async move { (route, tried_twice(&world, route).await) }
        });
        for (route, tried) in at_once(tries).await {
            if let Err(why) = tried {
                let why: String = why.chars().take(1500).collect();
                wrong.push(format!("{route} {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), wrong.join("\n"));
}
