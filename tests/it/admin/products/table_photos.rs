//! Table photographs in the admin, by forms as a browser without scripts sends them.

use serde_json::{Value, json};

use crate::admin::{Browser, STAFF, signed_in, staffed};
use crate::catalog::intakes::{list, photograph, program, text, without_renditions};
use crate::support::Shop;
use crate::support::forms::Form;
use crate::support::images::Part;

const NEW: &str = "/admin/table-photos/new";

const LIST: &str = "/admin/table-photos";

/// Sends fronts and backs of a scene as a new batch, and works them off. Returns the path of the batch's page.
async fn begins(shop: &Shop, staff: &Browser, choices: &[(&str, &str)]) -> String {
    begins_with(shop, staff, choices, ["front", "back"]).await
}

/// As [`begins`], with photographs of these sides as fronts and backs.
async fn begins_with(
    shop: &Shop,
    staff: &Browser,
    choices: &[(&str, &str)],
    sides: [&str; 2],
) -> String {
    let sides = sides.map(|side| photograph(&format!("s210-kin-{side}.jpg")));
    let mut parts: Vec<Part<'_>> = choices
        .iter()
        .map(|(name, value)| Part::text(name, value))
        .collect();
    for (name, content) in ["fronts", "backs"].into_iter().zip(&sides) {
        parts.push(Part {
            name,
            file_name: Some("table.jpg"),
            content,
        });
    }
    let sent = staff.submit_parts(NEW, LIST, &parts).await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    let path = sent.header("location").to_owned();
    let waiting = staff.client.get(&path).await.text;
    assert!(
        waiting.contains("0 of 2 photographs are searched."),
        "{waiting}"
    );
    shop.run_jobs().await;
    path
}

/// The batch as the API tells it.
async fn told(shop: &Shop, path: &str) -> Value {
    let id = path.rsplit('/').next().expect("an id");
    let program = program(shop).await;
    program.get(&format!("/api/admin/intakes/{id}/")).await.json
}

/// Fills fields of the page's form, presses a button, and returns where it leads.
async fn presses(
    staff: &Browser,
    path: &str,
    button: &str,
    fields: &[(String, String)],
) -> crate::support::Answer {
    let page = staff.client.get(path).await.text;
    let mut form = Form::to(&page, path);
    for (name, value) in fields {
        form.fill(name, value);
    }
    form.press("do", button).send(&staff.client).await
}

#[tokio::test]
async fn pieces_are_looked_over_corrected_and_created_without_scripts() {
    let shop = staffed().await;
    without_renditions(&shop).await;
    let staff = signed_in(&shop, STAFF).await;
    let path = begins(&shop, &staff, &[("lighter_type", "1")]).await;
    let batch = told(&shop, &path).await;
    let items = list(&batch, "items").clone();
    assert_eq!(items.len(), 8);
    let page = staff.client.get(&path).await.text;
    assert_eq!(page.matches("<polygon").count(), 16);
    for item in &items {
        assert!(!text(&item["name"]).is_empty(), "a name is proposed");
        assert!(page.contains(&format!("value=\"{}\"", text(&item["name"]))));
    }

    // Two names and a swap of backs are typed, and a piece is turned over: all of it is saved.
    let front = |at: usize| text(&items[at]["front"]).to_owned();
    let back = |at: usize| text(&items[at]["back"]).to_owned();
    let typed = [
        (format!("name.{}", front(0)), "Bright Otter".to_owned()),
        (format!("price.{}", front(1)), "47.50".to_owned()),
        (format!("back.{}", front(0)), back(1)),
        (format!("size.{}", front(2)), "2".to_owned()),
    ];
    let turned = presses(&staff, &path, &format!("turn.{}", front(3)), &typed).await;
    assert_eq!(turned.status, 303, "{}", turned.text);
    assert_eq!(turned.header("location"), format!("{path}#piece-4"));
    shop.run_jobs().await;
    let now = told(&shop, &path).await;
    let now = list(&now, "items");
    assert_eq!(now[0]["name"], "Bright Otter");
    assert_eq!(now[1]["price"], 4750);
    assert_eq!(now[2]["lighter_type"], 2);
    assert_eq!(
        (&now[0]["back"], &now[1]["back"]),
        (&items[1]["back"], &items[0]["back"])
    );
    assert_eq!(
        (&now[0]["pairing"], &now[1]["pairing"]),
        (&json!("by_hand"), &json!("by_hand"))
    );

    // What is still to be checked can be shown alone, and what was decided is not among it.
    let unsure = now
        .iter()
        .filter(|item| item["pairing"] == "check" || item["pairing"] == "no_back");
    let check = format!("{path}?show=check");
    let filtered = staff.client.get(&check).await.text;
    assert_eq!(filtered.matches("data-pair>").count(), unsure.count());
    assert!(filtered.contains("Show all"));

    // What cannot be is told beside its field, and nothing is saved.
    let wrong = [
        (format!("price.{}", front(0)), "a lot".to_owned()),
        (format!("name.{}", front(1)), "Quiet Heron".to_owned()),
    ];
    let refused = presses(&staff, &path, "save", &wrong).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains("Must be an amount"),
        "{}",
        refused.text
    );
    assert!(refused.text.contains("value=\"Quiet Heron\""));
    let without_prices = presses(&staff, &path, "create", &[]).await;
    assert_eq!(without_prices.status, 400);
    assert_eq!(
        without_prices
            .text
            .matches("This field is required.")
            .count(),
        7
    );

    // One is left out, one is a back, and both are put right again.
    for (button, count) in [("leave", 7), ("use", 8), ("side", 7), ("side", 8)] {
        let pressed = presses(&staff, &path, &format!("{button}.{}", front(5)), &[]).await;
        assert_eq!(pressed.status, 303, "{button}: {}", pressed.text);
        shop.run_jobs().await;
        let shown = told(&shop, &path).await;
        assert_eq!(list(&shown, "items").len(), count, "{button}");
    }

    let prices: Vec<(String, String)> = (0..8)
        .map(|at| (format!("price.{}", front(at)), format!("{}.00", 40 + at)))
        .collect();
    let made = presses(&staff, &path, "create", &prices).await;
    assert_eq!(made.status, 303, "{}", made.text);
    shop.run_jobs().await;
    let done = staff.client.get(&path).await.text;
    assert!(done.contains("8 products"), "{done}");
    let list_page = staff.client.get(LIST).await.text;
    assert!(list_page.contains("8 products"), "{list_page}");

    // Back again.
    let take_back = format!("{path}/take-back");
    let taken = Form::to(&done, &take_back).send(&staff.client).await;
    assert_eq!(taken.status, 303, "{}", taken.text);
    shop.run_jobs().await;
    let open = staff.client.get(&path).await.text;
    assert!(open.contains("8 products are taken back."), "{open}");
    assert!(open.contains("Create 8 drafts"), "{open}");
    let discard = format!("{path}/discard");
    let gone = Form::to(&open, &discard).send(&staff.client).await;
    assert_eq!(gone.header("location"), LIST);
}

#[tokio::test]
async fn a_photograph_is_drawn_on_by_numbers() {
    let shop = staffed().await;
    without_renditions(&shop).await;
    let staff = signed_in(&shop, STAFF).await;
    let path = begins(&shop, &staff, &[]).await;
    let batch = told(&shop, &path).await;
    let photo = format!("{path}/photos/{}", text(&batch["photos"][0]["id"]));
    let draw = photo_form(&staff, &photo, 0).await;
    let missing =
        draw.clone()
            .with(&[("left", "5"), ("top", "x"), ("width", "9"), ("height", "9")]);
    let refused = missing.press("do", "draw").send(&staff.client).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains("Must be a number from 0 to 100."),
        "{}",
        refused.text
    );
    assert!(refused.text.contains("value=\"5\""));
    let drawn = draw.with(&DRAWN);
    let drawn = drawn.press("do", "draw").send(&staff.client).await;
    assert_eq!(
        (drawn.status, drawn.header("location")),
        (303, path.as_str())
    );
    shop.run_jobs().await;
    assert_eq!(list(&told(&shop, &path).await, "pieces").len(), 17);
    let cut = photo_form(&staff, &photo, 1).await;
    let beside = cut.with(&[
        ("from_x", "0"),
        ("from_y", "0"),
        ("to_x", "0"),
        ("to_y", "1"),
    ]);
    let refused = beside.press("do", "cut").send(&staff.client).await;
    assert!(
        refused.text.contains("The line must go through the piece."),
        "{}",
        refused.text
    );
    let whole = photo_form(&staff, &photo, 2).await;
    let turned = whole.press("do", "side").send(&staff.client).await;
    assert_eq!(turned.status, 303, "{}", turned.text);
    shop.run_jobs().await;
    assert_eq!(list(&told(&shop, &path).await, "items").len(), 0);
    let removed = staff.client.get(&photo).await.text;
    let removed = Form::all(&removed)
        .into_iter()
        .find(|form| form.action == photo && form.buttons.len() == 2);
    let removed = removed
        .expect("the form")
        .press("do", "remove")
        .send(&staff.client)
        .await;
    assert_eq!(removed.status, 303, "{}", removed.text);
    shop.run_jobs().await;
    assert_eq!(list(&told(&shop, &path).await, "pieces").len(), 8);
}

#[tokio::test]
async fn a_refused_form_that_is_saved_again_overwrites_nobody() {
    let shop = staffed().await;
    without_renditions(&shop).await;
    let staff = signed_in(&shop, STAFF).await;
    let path = begins(&shop, &staff, &[]).await;
    let batch = told(&shop, &path).await;
    let item = &list(&batch, "items")[0];
    let front = text(&item["front"]);
    let page = staff.client.get(&path).await.text;
    // Somebody else names the piece meanwhile.
    let other = program(&shop).await;
    let below = format!("/api/admin/intakes/{}/items/{front}/", text(&batch["id"]));
    let named = json!({"name": "Quiet Heron"});
    let named = other
        .send_json(reqwest::Method::PATCH, &below, &named)
        .await;
    assert_eq!(named.status, 200, "{}", named.text);
    let mut form = Form::to(&page, &path);
    form.fill(&format!("price.{front}"), "a lot");
    let refused = form.press("do", "save").send(&staff.client).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let mut again = Form::to(&refused.text, &path);
    assert_eq!(again.get("version"), batch["version"].to_string());
    again.fill(&format!("price.{front}"), "47.00");
    let late = again.press("do", "save").send(&staff.client).await;
    assert_eq!(late.status, 409, "{}", late.text);
    let now = told(&shop, &path).await;
    assert_eq!(list(&now, "items")[0]["name"], "Quiet Heron");
}

#[tokio::test]
async fn a_button_of_a_photograph_that_is_pressed_on_two_pages_takes_effect_once() {
    let shop = staffed().await;
    without_renditions(&shop).await;
    let staff = signed_in(&shop, STAFF).await;
    let path = begins(&shop, &staff, &[]).await;
    let batch = told(&shop, &path).await;
    let photo = format!("{path}/photos/{}", text(&batch["photos"][0]["id"]));
    for (at, button) in [(0, "draw"), (2, "side")] {
        let mut statuses = Vec::new();
        let pages = [
            photo_form(&staff, &photo, at).await,
            photo_form(&staff, &photo, at).await,
        ];
        for form in pages {
            let form = match button {
                "draw" => form.with(&DRAWN),
                _ => form,
            };
            let sent = form.press("do", button).send(&staff.client).await;
            statuses.push(sent.status);
        }
        assert_eq!(statuses, [303, 409], "{button}");
    }
    shop.run_jobs().await;
    let now = told(&shop, &path).await;
    assert_eq!(list(&now, "pieces").len(), 17);
    assert_eq!(now["photos"][0]["side"], "back");
}

/// A box around a corner of the photograph.
const DRAWN: [(&str, &str); 4] = [
    ("left", "1"),
    ("top", "1"),
    ("width", "8"),
    ("height", "15"),
];

/// The form of a photograph's page at this place: to draw, to cut, for the whole.
async fn photo_form(staff: &Browser, photo: &str, at: usize) -> Form {
    let page = staff.client.get(photo).await.text;
    let mut forms = Form::all(&page).into_iter();
    forms
        .by_ref()
        .filter(|form| form.action == photo)
        .nth(at)
        .expect("a form")
}

#[tokio::test]
async fn fronts_that_look_like_backs_are_swapped_with_them_if_a_person_says_so() {
    let shop = staffed().await;
    without_renditions(&shop).await;
    let staff = signed_in(&shop, STAFF).await;
    let path = begins_with(&shop, &staff, &[], ["back", "front"]).await;
    let mistaken = told(&shop, &path).await;
    let remarks = list(&mistaken, "remarks");
    assert_eq!(remarks[0], "Fronts and backs look swapped.");
    let swapped = presses(&staff, &path, "swap", &[]).await;
    assert_eq!(swapped.status, 303, "{}", swapped.text);
    shop.run_jobs().await;
    let right = told(&shop, &path).await;
    assert_eq!(list(&right, "remarks").len(), 0, "{}", right["remarks"]);
    assert_eq!(right["photos"][0]["side"], "back");
    assert_eq!(list(&right, "items").len(), 8);
    let page = staff.client.get(&path).await.text;
    assert!(!page.contains("Swap fronts and backs"));
}
