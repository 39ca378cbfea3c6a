//! The owner's admin: products and categories.

mod categories;
mod images;
mod lighters;
mod list;
mod table_photos;

use serde_json::{Value, json};

use crate::admin::{Browser, OWNER, STAFF, audited, signed_in, staffed};
use crate::support::images::jpeg;
use crate::support::{Answer, Shop};

/// The form of a product, as somebody fills it in.
const SUNRISE: [(&str, &str); 8] = [
    ("name", "Sunrise"),
    ("slug", ""),
    ("price", "47.50"),
    ("lighter_type", "2"),
    ("weight_ounces", "1.5"),
    ("description", "Red <and> gold"),
    ("count", "3"),
    ("sale", "now"),
];

/// These fields, with others in place of those of the same name.
fn with<'a>(
    fields: &[(&'a str, &'a str)],
    others: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut all: Vec<_> = fields.to_vec();
    all.retain(|(name, _)| others.iter().all(|(other, _)| other != name));
    all.extend(others);
    all
}

/// Makes a product, and returns where its page is.
async fn makes(admin: &Browser, others: &[(&str, &str)]) -> String {
    let new = "/admin/new-product";
    let made = admin.submit(new, new, &with(&SUNRISE, others)).await;
    assert_eq!(made.status, 303, "{}", made.text);
    made.header("location").to_owned()
}

/// Fields that the form of a page would send if nobody touched it: its hidden fields and texts, the first form with a
/// version.
fn opened(page: &str) -> Vec<(String, String)> {
    let (_, form) = page.split_once("data-product>").expect("the form");
    let form = form.split("</form>").next().expect("its end");
    let attribute = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        rest.split('"').next().map(plain)
    };
    let mut fields = Vec::new();
    for tag in form.split("<input").skip(1) {
        let tag = tag.split('>').next().expect("its end");
        let name = attribute(tag, "name").expect("a name");
        let is_off = tag.contains("checkbox") && !tag.contains(" checked");
        if name != "csrf" && name != "once" && !is_off {
            fields.push((name, attribute(tag, "value").unwrap_or_default()));
        }
    }
    for select in form.split("<select").skip(1) {
        let chosen = select.split("</select>").next().expect("its end");
        let chosen = chosen
            .split("<option")
            .find(|option| option.contains(" selected"));
        let value = chosen.and_then(|option| attribute(option, "value"));
        fields.push((
            attribute(select, "name").expect("a name"),
            value.unwrap_or_default(),
        ));
    }
    let (_, text) = form.split_once("<textarea").expect("a textarea");
    let (_, text) = text.split_once(">\n").expect("its text");
    let text = text.split("</textarea>").next().expect("its end");
    fields.push(("description".to_owned(), plain(text)));
    fields
}

fn plain(text: &str) -> String {
    text.replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#38;", "&")
}

/// Sends the form that was opened, with some fields changed.
async fn saves(
    admin: &Browser,
    path: &str,
    form: &[(String, String)],
    changed: &[(&str, &str)],
) -> Answer {
    let form: Vec<(&str, &str)> = form.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    admin.submit(path, path, &with(&form, changed)).await
}

async fn actions(shop: &Shop) -> Vec<String> {
    let log = audited(shop).await.into_iter();
    // What sets the stage comes by tokens.
    log.filter(|entry| !entry.0.starts_with("token:"))
        .map(|entry| entry.1)
        .filter(|action| !action.starts_with("user"))
        .collect()
}

fn id_of(path: &str) -> &str {
    path.trim_start_matches("/admin/products/")
        .split('#')
        .next()
        .expect("an id")
}

#[tokio::test]
async fn a_product_with_two_images_is_in_the_shop_and_at_stripe() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let empty = staff.get("/admin/products").await.text;
    assert!(empty.contains("Create the first one"), "{empty}");

    let path = makes(&staff, &[]).await;
    let page = staff.get(&path).await.text;
    for part in [
        "Sunrise is on sale.",
        "There are no images yet.",
        "Red &#60;and&#62; gold",
        "First stock",
        "user:ben@example.com",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let images = format!("{path}/images");
    let sent = staff
        .upload(
            &path,
            &images,
            &[&jpeg(500, 400), b"no image at all", &jpeg(400, 500)],
        )
        .await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    assert!(sent.header("location").ends_with("#images"));
    let page = staff.get(&path).await.text;
    assert!(
        page.contains("2 images are added. photo.jpg: This is not an image."),
        "{page}"
    );
    shop.run_jobs().await;

    let product = shop.client.get("/api/products/sunrise/").await.json;
    assert_eq!(product["price"], 4750);
    assert_eq!(product["lighter_type"], 2);
    assert_eq!(product["inventory_count"], 3);
    assert_eq!(product["description"], "Red <and> gold");
    let wide: Vec<&Value> = product["images"]
        .as_array()
        .expect("images")
        .iter()
        .map(|one| &one["width"])
        .collect();
    assert_eq!(wide, [500, 400]);
    let at_stripe = shop.at_stripe("price").await;
    assert_eq!(at_stripe[0]["unit_amount"], 4750);
    assert!(
        staff
            .get(&path)
            .await
            .text
            .contains("Stripe has it as it is here.")
    );

    // The second image comes first, and the other goes.
    let page = staff.get(&path).await.text;
    let ids: Vec<&str> = page
        .split("data-image=\"")
        .skip(1)
        .map(|rest| &rest[..64])
        .collect();
    let arrange = format!("{path}/images/arrange");
    staff
        .submit(&path, &arrange, &[("image", ids[1]), ("do", "up")])
        .await;
    let product = shop.client.get("/api/products/sunrise/").await.json;
    assert_eq!(product["images"][0]["width"], 400);
    staff
        .submit(
            &path,
            &arrange,
            &[("image", ids[0]), ("image", ids[1]), ("do", "order")],
        )
        .await;
    let product = shop.client.get("/api/products/sunrise/").await.json;
    assert_eq!(product["images"][0]["width"], 500);
    staff
        .submit(&path, &arrange, &[("image", ids[1]), ("do", "remove")])
        .await;
    let product = shop.client.get("/api/products/sunrise/").await.json;
    assert_eq!(product["images"].as_array().map(Vec::len), Some(1));
    for bad in [
        &[("image", "x"), ("do", "up")][..],
        &[("do", "up")],
        &[("image", ids[0]), ("do", "x")],
    ] {
        assert_eq!(staff.submit(&path, &arrange, bad).await.status, 400);
    }

    let none = staff.upload(&path, &images, &[b"nothing"]).await;
    assert_eq!(none.status, 400);
    assert!(
        none.text.contains("photo.jpg: This is not an image."),
        "{}",
        none.text
    );
    let none = staff.upload(&path, &images, &[]).await;
    assert!(
        none.text.contains("Choose at least one image."),
        "{}",
        none.text
    );

    assert_eq!(
        actions(&shop).await,
        [
            "product.create",
            "product.images",
            "product.images",
            "product.images",
            "product.images"
        ]
    );
    let log = audited(&shop).await;
    let made = log
        .iter()
        .find(|entry| entry.1 == "product.create")
        .expect("an entry");
    assert_eq!(
        (made.0.as_str(), made.2.as_str()),
        (
            "user:ben@example.com",
            format!("product:{}", id_of(&path)).as_str()
        )
    );
    assert_eq!(made.4.as_ref().expect("facts")["price"], "$47.50");
    shop.audit().await;
}

#[tokio::test]
async fn typed_values_stay_beside_their_errors() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let new = "/admin/new-product";
    for price in [
        "", "abc", "47,50", "47.505", "-3", "1e3", "0.49", "1000000", "٤٧",
    ] {
        let answer = staff
            .submit(
                new,
                new,
                &with(
                    &SUNRISE,
                    &[
                        ("price", price),
                        ("weight_ounces", "heavy"),
                        ("count", "-1"),
                    ],
                ),
            )
            .await;
        assert_eq!(answer.status, 400, "{price}");
        let page = &answer.text;
        for part in [
            "value=\"Sunrise\"",
            &format!(
                "name=\"price\" value=\"{price}\" required inputmode=\"decimal\" autocomplete=\"off\" aria-invalid=\"true\""
            ),
            "value=\"heavy\"",
            "Red &#60;and&#62; gold</textarea>",
            "<option value=\"2\" selected>",
            "<div id=\"price-about\">\n<p class=\"error\">Must be",
            "<p class=\"error\">Must be a number",
            "<p class=\"error\">Must be a whole number from 0",
        ] {
            assert!(page.contains(part), "{price}: {part}: {page}");
        }
        assert!(!page.contains("This field is required."), "{page}");
    }
    assert_eq!(actions(&shop).await, [] as [&str; 0]);
    let path = makes(&staff, &[("price", "$1,234.50")]).await;
    let form = opened(&staff.get(&path).await.text);
    let answer = saves(
        &staff,
        &path,
        &form,
        &[("price", "12.345"), ("name", "Other")],
    )
    .await;
    assert_eq!(answer.status, 400);
    for part in [
        "value=\"12.345\"",
        "value=\"Other\"",
        "name=\"was_name\" value=\"Sunrise\"",
        "name=\"version\" value=\"1\"",
    ] {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
    // A slug that another has stands beside its field; an empty one is made from the name.
    let other = makes(&staff, &[("name", "Moon")]).await;
    let form = opened(&staff.get(&other).await.text);
    let answer = saves(&staff, &other, &form, &[("slug", "sunrise")]).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer
            .text
            .contains("Another product has the slug sunrise."),
        "{}",
        answer.text
    );
    let answer = saves(
        &staff,
        &other,
        &form,
        &[("slug", ""), ("name", "Full Moon")],
    )
    .await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(
        shop.client.get("/api/products/full-moon/").await.json["name"],
        "Full Moon"
    );
    for missing in ["nothing", "%00", "a%2Fb"] {
        assert_eq!(
            staff
                .get(&format!("/admin/products/{missing}"))
                .await
                .status,
            404
        );
    }
}

#[tokio::test]
async fn two_who_edit_one_product_lose_nothing() {
    let shop = staffed().await;
    let (ann, ben) = (signed_in(&shop, OWNER).await, signed_in(&shop, STAFF).await);
    let path = makes(&ann, &[]).await;
    let (anns, bens) = (
        opened(&ann.get(&path).await.text),
        opened(&ben.get(&path).await.text),
    );
    let saved = saves(&ann, &path, &anns, &[("name", "Dawn"), ("price", "50")]).await;
    assert_eq!(saved.status, 303, "{}", saved.text);

    let answer = saves(
        &ben,
        &path,
        &bens,
        &[("price", "55"), ("weight_ounces", "3.00")],
    )
    .await;
    assert_eq!(answer.status, 409);
    for part in [
        "Somebody else changed this product meanwhile",
        "<td data-label=\"Before\">47.50</td><td data-label=\"Theirs, saved\"><ins>50.00</ins></td><td data-label=\"In your form\">55</td>",
        "<td data-label=\"Before\">Sunrise</td><td data-label=\"Theirs, saved\"><ins>Dawn</ins></td><td data-label=\"In your form\">theirs</td>",
        "name=\"price\" value=\"55\"",
        "Saved meanwhile by somebody else: <strong>50.00</strong>",
        "name=\"name\" value=\"Dawn\"",
        "name=\"version\" value=\"2\"",
    ] {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
    let product = shop.client.get("/api/products/sunrise/").await.json;
    assert_eq!(
        (&product["name"], &product["price"]),
        (&json!("Dawn"), &json!(5000))
    );

    // He has seen it, and means it.
    let saved = saves(&ben, &path, &opened(&answer.text), &[]).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let product = shop.client.get("/api/products/sunrise/").await.json;
    assert_eq!(
        (&product["name"], &product["price"]),
        (&json!("Dawn"), &json!(5500))
    );

    // New images are no conflict with a form that has none.
    let form = opened(&ben.get(&path).await.text);
    ann.upload(&path, &format!("{path}/images"), &[&jpeg(300, 300)])
        .await;
    let saved = saves(&ben, &path, &form, &[("is_sold_out", "yes")]).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let product = shop.client.get("/api/products/sunrise/").await.json;
    assert_eq!(product["is_sold_out"], true);
    assert_eq!(product["images"].as_array().map(Vec::len), Some(1));
    let form = opened(&ben.get(&path).await.text);
    assert!(
        form.contains(&("is_sold_out".to_owned(), "yes".to_owned())),
        "{form:?}"
    );
    assert_eq!(
        actions(&shop).await,
        [
            "product.create",
            "product.change",
            "product.change",
            "product.images",
            "product.change"
        ]
    );
    let log = audited(&shop).await;
    let second = &log
        .iter()
        .filter(|entry| entry.1 == "product.change")
        .nth(1)
        .expect("an entry");
    assert_eq!(
        second.3,
        Some(json!({"price": "$50.00", "weight_ounces": "1.50"}))
    );
    assert_eq!(
        second.4,
        Some(json!({"price": "$55.00", "weight_ounces": "3.00"}))
    );
}
