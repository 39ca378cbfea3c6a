//! The owner's admin: products and categories.

use serde_json::{Value, json};
use spirit_beads::products::{self, Reason};
use spirit_beads::types::ids::ProductId;

use crate::admin::{Browser, OWNER, STAFF, audited, signed_in, staffed};
use crate::support::images::jpeg;
use crate::support::{Answer, Shop};

/// The form of a product, as somebody fills it in.
const SUNRISE: [(&str, &str); 7] = [
    ("name", "Sunrise"),
    ("slug", ""),
    ("price", "47.50"),
    ("lighter_type", "2"),
    ("weight_ounces", "1.5"),
    ("description", "Red <and> gold"),
    ("count", "3"),
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

/// What the form of a page would send if nobody touched it: its hidden fields and texts, the first form with a version.
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
        "Sunrise is created.",
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
        page.contains("2 images are added. Image 2: This is not an image."),
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
        none.text.contains("Image 1: This is not an image."),
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
async fn what_was_typed_stays_beside_its_errors() {
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

#[tokio::test]
async fn stock_comes_and_goes_for_a_reason() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let path = makes(&staff, &[]).await;
    let stock = format!("{path}/stock");
    for (reason, pieces, left) in [
        ("made", "4", 7),
        ("damaged", "2", 5),
        ("correction_fewer", "1", 4),
        ("correction_more", "2", 6),
    ] {
        let answer = staff
            .submit(
                &path,
                &stock,
                &[
                    ("reason", reason),
                    ("pieces", pieces),
                    ("note", "by <hand>"),
                ],
            )
            .await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        assert_eq!(shop.stock(id_of(&path)).await, (left, 0), "{reason}");
    }
    let page = staff.get(&path).await.text;
    for part in [
        "6 pieces are available now.",
        "<span class=\"delta\">−2</span><span>Damaged: by &#60;hand&#62;",
        "<span class=\"delta\">+4</span><span>Made",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    for (reason, pieces, error) in [
        ("lost", "7", "The stock cannot go below"),
        ("made", "x", "Must be a whole number from 1 on."),
        ("made", "-1", "Must be a whole number from 1 on."),
        ("sale", "1", "Must be received"),
    ] {
        let answer = staff
            .submit(
                &path,
                &stock,
                &[("reason", reason), ("pieces", pieces), ("note", "kept")],
            )
            .await;
        assert_eq!(answer.status, 400, "{reason}");
        assert!(
            answer.text.contains(error) && answer.text.contains("value=\"kept\""),
            "{}",
            answer.text
        );
    }
    assert_eq!(shop.stock(id_of(&path)).await, (6, 0));
    let log = audited(&shop).await;
    let entries: Vec<&Value> = log
        .iter()
        .filter(|e| e.1 == "product.stock")
        .filter_map(|e| e.4.as_ref())
        .collect();
    assert_eq!(entries.len(), 4);
    assert_eq!(
        entries[1],
        &json!({"on_hand": 5, "delta": -2, "reason": "damaged", "note": "by <hand>"})
    );
    shop.audit().await;
}

#[tokio::test]
async fn the_list_is_narrowed_down_and_many_are_changed_at_once() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    for n in 0..32 {
        let name = format!("Piece {n:02}");
        shop.stocks_with(
            &name,
            n,
            json!({"price": 1000 + n, "lighter_type": 1 + n % 2}),
        )
        .await;
    }
    shop.stocks_with("Turtle & Co", 5, json!({"price": 9900}))
        .await;
    let names = async |query: &str| -> Vec<String> {
        let page = staff.get(&format!("/admin/products{query}")).await;
        assert_eq!(page.status, 200, "{query}");
        let rows = page.text.split("<span class=\"what\"><strong>").skip(1);
        rows.map(|rest| plain(rest.split('<').next().expect("its end")))
            .collect()
    };
    let first = names("").await;
    assert_eq!((first.len(), first[0].as_str()), (30, "Piece 00"));
    assert_eq!(
        names("?page=2").await,
        ["Piece 30", "Piece 31", "Turtle & Co"]
    );
    assert_eq!(names("?search=turtle").await, ["Turtle & Co"]);
    assert_eq!(names("?sort=dearest").await[0], "Turtle & Co");
    assert_eq!(names("?sort=stock").await[1], "Piece 01");
    assert_eq!(names("?show=sold-out").await, ["Piece 00"]);
    assert_eq!(names("?show=running-out").await, [] as [&str; 0]);
    assert_eq!(names("?size=2").await.len(), 16);
    assert_eq!(names("?category=99").await.len(), 0);
    for odd in [
        "?page=0",
        "?page=x",
        "?show=x",
        "?size=9",
        "?category=x",
        "?sort=x",
        "?search=%00%FF",
        "?page=99999",
    ] {
        names(odd).await;
    }
    let mut conn = shop.db.acquire().await.expect("a connection");
    let piece = ProductId::parse("piece-01").expect("an id");
    for (delta, reason) in [(5, Reason::Made), (-5, Reason::Lost)] {
        products::adjust(&mut conn, &piece, delta, reason, "", "x")
            .await
            .expect("the stock");
    }
    assert_eq!(names("?show=running-out").await, ["Piece 01"]);

    let here = "/admin/products";
    let archive = [
        ("id", "piece-02"),
        ("id", "piece-03"),
        ("do", "archive"),
        ("back", "/admin/products?size=1"),
    ];
    let done = staff.submit(here, here, &archive).await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, "/admin/products?size=1"),
        "{}",
        done.text
    );
    assert!(
        staff
            .get(here)
            .await
            .text
            .contains("2 products are archived.")
    );
    assert_eq!(names("?show=archived").await, ["Piece 02", "Piece 03"]);
    assert_eq!(shop.client.get("/api/products/piece-02/").await.status, 404);
    let restore = [
        ("id", "piece-02"),
        ("do", "restore"),
        ("back", "https://evil.example/"),
    ];
    assert_eq!(
        staff.submit(here, here, &restore).await.header("location"),
        here
    );
    assert_eq!(names("?show=archived").await, ["Piece 03"]);
    staff.submit(here, here, &[("do", "archive")]).await;
    assert!(staff.get(here).await.text.contains("Nothing was checked"));
    // All or none.
    let odd = [("id", "piece-04"), ("id", "nothing"), ("do", "archive")];
    assert_eq!(staff.submit(here, here, &odd).await.status, 404);
    assert_eq!(names("?show=archived").await, ["Piece 03"]);
    sqlx::query("update products set stripe_status = 'error', stripe_error = 'no such <thing>' where id = 'piece-05'")
        .execute(&shop.db)
        .await
        .expect("a product");
    assert_eq!(names("?show=stripe").await, ["Piece 05"]);
    let page = staff.get("/admin/products/piece-05").await.text;
    assert!(
        page.contains("Stripe did not take it: no such &#60;thing&#62;")
            && page.contains("Try again"),
        "{page}"
    );
    staff
        .submit(here, here, &[("id", "piece-05"), ("do", "sync")])
        .await;
    assert_eq!(names("?show=stripe").await, [] as [&str; 0]);
    assert_eq!(
        actions(&shop).await,
        [
            "product.archive",
            "product.archive",
            "product.restore",
            "product.sync"
        ]
    );
}

#[tokio::test]
async fn a_product_is_archived_restored_and_copied() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let path = makes(&staff, &[]).await;
    staff
        .upload(&path, &format!("{path}/images"), &[&jpeg(300, 300)])
        .await;
    let active = format!("{path}/active");
    staff.submit(&path, &active, &[("active", "no")]).await;
    assert_eq!(shop.client.get("/api/products/sunrise/").await.status, 404);
    assert!(staff.get(&path).await.text.contains("Put it on sale"));
    staff.submit(&path, &active, &[("active", "yes")]).await;
    assert_eq!(shop.client.get("/api/products/sunrise/").await.status, 200);
    let copied = staff.submit(&path, &format!("{path}/duplicate"), &[]).await;
    assert_eq!(copied.status, 303, "{}", copied.text);
    let copy = copied.header("location").to_owned();
    assert_ne!(copy, path);
    let page = staff.get(&copy).await.text;
    for part in [
        "Sunrise (copy)",
        "Put it on sale",
        "value=\"sunrise-copy\"",
        "value=\"47.50\"",
        "data-image=",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(shop.stock(id_of(&copy)).await, (0, 0));
    shop.run_jobs().await;
    staff.submit(&path, &format!("{path}/sync"), &[]).await;
    assert!(
        staff
            .get(&path)
            .await
            .text
            .contains("It is waiting to be sent.")
    );
    shop.run_jobs().await;
    assert_eq!(
        actions(&shop).await,
        [
            "product.create",
            "product.images",
            "product.archive",
            "product.restore",
            "product.duplicate",
            "product.sync"
        ]
    );
}

#[tokio::test]
async fn categories_come_change_and_go_and_their_products_stay() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let here = "/admin/categories";
    assert!(
        staff
            .get(here)
            .await
            .text
            .contains("There is no category yet.")
    );
    let answer = staff
        .submit(here, here, &[("name", " "), ("description", "kept")])
        .await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.text.contains("Must have 1 to 100 characters.")
            && answer.text.contains("kept</textarea>"),
        "{}",
        answer.text
    );
    let made = staff
        .submit(here, here, &[("name", "Paths <1>"), ("description", "")])
        .await;
    assert_eq!(made.status, 303, "{}", made.text);
    let id: i64 = sqlx::query_scalar("select id from categories")
        .fetch_one(&shop.db)
        .await
        .expect("one");
    let path = makes(&staff, &[("category", &id.to_string())]).await;
    let page = staff.get(here).await.text;
    assert!(
        page.contains("Paths &#60;1&#62;") && page.contains("1 product on sale"),
        "{page}"
    );

    let one = format!("{here}/{id}");
    let answer = staff
        .submit(here, &one, &[("name", ""), ("description", "typed")])
        .await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.text.contains("<details class=\"wide-row\" open>")
            && answer.text.contains("typed</textarea>"),
        "{}",
        answer.text
    );
    staff
        .submit(here, &one, &[("name", "Ways"), ("description", "d")])
        .await;
    let product = shop.client.get("/api/products/sunrise/").await.json;
    assert_eq!(product["category_name"], "Ways");
    assert_eq!(
        shop.client.get("/api/categories/paths-1/").await.json["description"],
        "d"
    );

    let gone = staff.submit(here, &format!("{one}/delete"), &[]).await;
    assert_eq!(gone.status, 303, "{}", gone.text);
    assert!(
        staff
            .get(here)
            .await
            .text
            .contains("The category Ways is deleted. Its products stay.")
    );
    let product = shop.client.get("/api/products/sunrise/").await.json;
    assert_eq!(product["category"], Value::Null);
    assert!(staff.get(&path).await.text.contains("Sunrise"));
    assert_eq!(
        staff
            .submit(here, &format!("{one}/delete"), &[])
            .await
            .status,
        404
    );
    assert_eq!(staff.submit(here, &one, &[("name", "x")]).await.status, 404);
    assert_eq!(
        actions(&shop).await,
        [
            "category.create",
            "product.create",
            "category.change",
            "category.delete"
        ]
    );
}

#[tokio::test]
async fn categories_are_put_in_order_by_two_buttons_and_change_their_address() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let here = "/admin/categories";
    for name in ["Suns", "Moons", "Stars"] {
        let made = staff
            .submit(here, here, &[("name", name), ("slug", "")])
            .await;
        assert_eq!(made.status, 303, "{}", made.text);
    }
    let order = async || -> Vec<String> {
        let page = staff.get(here).await.text;
        let names = page.split("<span class=\"lead\"><strong>").skip(1);
        names
            .map(|rest| rest.split('<').next().expect("its end").to_owned())
            .collect()
    };
    assert_eq!(order().await, ["Moons", "Stars", "Suns"]);
    let page = staff.get(here).await.text;
    // A button says what it moves, and the ends go no further.
    for part in ["Suns up</span>", "Moons down</span>"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(page.matches("<button disabled>").count(), 2, "{page}");
    let id: i64 = sqlx::query_scalar("select id from categories where name = 'Suns'")
        .fetch_one(&shop.db)
        .await
        .expect("one");
    for (way, names) in [
        ("up", ["Moons", "Suns", "Stars"]),
        ("up", ["Suns", "Moons", "Stars"]),
        ("up", ["Suns", "Moons", "Stars"]),
        ("down", ["Moons", "Suns", "Stars"]),
    ] {
        let moved = staff.submit(here, &format!("{here}/{id}/{way}"), &[]).await;
        assert_eq!(
            moved.header("location"),
            format!("{here}#c{id}"),
            "{}",
            moved.text
        );
        assert_eq!(order().await, names);
    }
    let page = staff.get("/admin/new-product").await.text;
    let place = |name: &str| page.find(&format!(">{name}</option>"));
    assert!(place("Moons") < place("Suns") && place("Suns") < place("Stars"));
    let shown = shop.client.get("/api/categories/").await;
    assert_eq!(shown.each("results", "name"), ["Moons", "Stars", "Suns"]);

    let one = format!("{here}/{id}");
    let address = |slug| [("name", "Suns"), ("slug", slug), ("description", "")];
    for (slug, error) in [
        ("moons", "Another category has the slug moons."),
        ("No way", "Must be lower-case letters"),
    ] {
        let refused = staff.submit(here, &one, &address(slug)).await;
        assert_eq!(refused.status, 400);
        assert!(
            refused.text.contains(error) && refused.text.contains(&format!("value=\"{slug}\"")),
            "{}",
            refused.text
        );
    }
    for (slug, kept) in [("dawns", "dawns"), ("", "dawns")] {
        assert_eq!(staff.submit(here, &one, &address(slug)).await.status, 303);
        let path = format!("/api/categories/{kept}/");
        assert_eq!(shop.client.get(&path).await.json["id"], id);
    }
    assert_eq!(
        actions(&shop).await,
        [
            "category.create",
            "category.create",
            "category.create",
            "category.order",
            "category.order",
            "category.order",
            "category.change"
        ]
    );
}

#[tokio::test]
async fn a_deleted_product_stays_in_its_orders_and_gives_its_address_back() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let path = makes(&staff, &[]).await;
    let id = id_of(&path).to_owned();
    let admin = shop.admin(&spirit_beads::auth::Scope::ALL).await;
    let sale = json!({"lines": [{"product_id": id, "quantity": 1}]});
    assert_eq!(admin.post("/api/admin/orders/", &sale).await.status, 201);
    let page = staff.get(&path).await.text;
    assert!(
        page.contains("Delete Sunrise for good") && page.contains("2 of it are still on hand."),
        "{page}"
    );
    let gone = staff.submit(&path, &format!("{path}/delete"), &[]).await;
    assert_eq!(
        (gone.status, gone.header("location")),
        (303, "/admin/products"),
        "{}",
        gone.text
    );
    for (on, said) in [
        ("/admin/products", "Sunrise is deleted."),
        ("/admin/orders/SB-1001", "Sunrise"),
    ] {
        let page = staff.get(on).await.text;
        assert!(page.contains(said), "{page}");
    }
    assert_eq!(staff.get(&path).await.status, 404);
    let again = staff
        .submit("/admin/account", &format!("{path}/delete"), &[])
        .await;
    assert_eq!(again.status, 404);
    shop.run_jobs().await;
    makes(&staff, &[]).await;
    assert_eq!(
        shop.client.get("/api/products/sunrise/").await.status,
        200,
        "the address is free again"
    );
    assert_eq!(
        actions(&shop).await[..],
        ["product.create", "product.delete", "product.create"]
    );
    shop.audit().await;
}

#[tokio::test]
async fn a_product_may_be_called_new() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let file = json!({"products": [
        {"id": "new", "name": "The new one", "slug": "new", "lighter_type": 1, "price": 4700},
    ]});
    shop.imports(&file).await.expect("an import");
    let list = staff.get("/admin/products").await.text;
    assert!(list.contains("href=\"/admin/products/new\""), "{list}");
    let page = staff.get("/admin/products/new").await.text;
    assert!(page.contains("<h1>The new one</h1>"), "{page}");
    assert!(list.contains("href=\"/admin/new-product\""), "{list}");
}
