//! Categories in the admin.

use serde_json::Value;

use super::{actions, makes};
use crate::admin::{STAFF, signed_in, staffed};

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
