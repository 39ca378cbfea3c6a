//! Images of a product on its page: with the form of a new one, refused, removed and put back.

use super::{SUNRISE, makes, with};
use crate::admin::{Browser, STAFF, audited, signed_in, staffed};
use crate::support::Answer;
use crate::support::forms::Form;
use crate::support::images::{Part, jpeg};

const NEW: &str = "/admin/new-product";

/// Sends the form of a new product with these files.
async fn sends(staff: &Browser, fields: &[(&str, &str)], files: &[&[u8]]) -> Answer {
    let mut parts: Vec<Part<'_>> = fields
        .iter()
        .map(|(name, value)| Part::text(name, value))
        .collect();
    parts.extend(files.iter().map(|file| Part::file("image", file)));
    staff.submit_parts(NEW, NEW, &parts).await
}

/// The widths of a product's images, in order.
async fn widths(client: &crate::support::Client) -> Vec<serde_json::Value> {
    let product = client.get("/api/products/sunrise/").await.json;
    let images = product["images"].as_array().expect("images").iter();
    images.map(|image| image["width"].clone()).collect()
}

#[tokio::test]
async fn a_new_product_comes_with_its_images_and_a_refused_form_keeps_them() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let bad = with(&SUNRISE, &[("price", "much")]);
    let refused = sends(
        &staff,
        &bad,
        &[&jpeg(300, 200), b"no image", &jpeg(200, 300)],
    )
    .await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    for part in ["Must be an amount like", "photo.jpg: ", "name=\"kept\""] {
        assert!(refused.text.contains(part), "{part}: {}", refused.text);
    }
    let kept: Vec<String> = Form::to(&refused.text, NEW)
        .pairs()
        .into_iter()
        .filter_map(|(name, value)| (name == "kept").then_some(value))
        .collect();
    assert_eq!(kept.len(), 2);

    let mut good = with(&SUNRISE, &[]);
    good.extend(kept.iter().map(|id| ("kept", id.as_str())));
    let made = sends(&staff, &good, &[&jpeg(100, 100)]).await;
    assert_eq!(made.status, 303, "{}", made.text);
    assert_eq!(widths(&shop.client).await, [300, 200, 100]);
    let page = staff.get(made.header("location")).await.text;
    assert!(page.contains("Sunrise is on sale."), "{page}");
    assert!(!page.contains("Add its images next"), "{page}");
    assert_eq!(page.matches("Shown in the shop").count(), 2, "{page}");

    // A made-up id is no image.
    let mut bad = with(&SUNRISE, &[("name", "Moon")]);
    let made_up: String = kept[0].chars().rev().collect();
    bad.push(("kept", &made_up));
    let refused = sends(&staff, &bad, &[]).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(
        refused.text.contains("There is no such image."),
        "{}",
        refused.text
    );
    shop.run_jobs().await;
}

#[tokio::test]
async fn a_removed_image_is_put_back_where_it_was() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let path = makes(&staff, &[]).await;
    let three = [jpeg(300, 300), jpeg(200, 200), jpeg(100, 100)];
    let three: Vec<&[u8]> = three.iter().map(Vec::as_slice).collect();
    staff.upload(&path, &format!("{path}/images"), &three).await;
    let arrange = format!("{path}/images/arrange");
    let page = staff.get(&path).await.text;
    let mut shown = page.split("data-image=\"").skip(2);
    let second = shown.next().and_then(|rest| rest.split('"').next());
    let second = second.expect("the second image");
    let removed = staff
        .submit(&path, &arrange, &[("image", second), ("do", "remove")])
        .await;
    assert_eq!(widths(&shop.client).await, [300, 100]);

    let back = removed.header("location").to_owned();
    let page = staff.get(&back).await.text;
    let (_, undo) = page.split_once("class=\"undo\"").expect("an undo");
    let undo = undo.split("</form>").next().expect("its end");
    for part in [second, "name=\"at\" value=\"1\"", "value=\"put_back\""] {
        assert!(undo.contains(part), "{part}: {undo}");
    }
    for _ in 0..2 {
        let fields = [("image", second), ("at", "1"), ("do", "put_back")];
        let answer = staff.submit(&path, &arrange, &fields).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        assert_eq!(widths(&shop.client).await, [300, 200, 100]);
    }
    assert!(!staff.get(&back).await.text.contains("class=\"undo\""));
    let log = audited(&shop).await;
    let images = log.iter().filter(|entry| entry.1 == "product.images");
    assert_eq!(images.count(), 3, "{log:?}");
    shop.run_jobs().await;
}

#[tokio::test]
async fn kept_images_count_once_and_can_be_left_out() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let bad = with(&SUNRISE, &[("price", "much")]);
    let kept_of = |answer: &Answer| -> Vec<String> {
        let pairs = Form::to(&answer.text, NEW).pairs().into_iter();
        let kept = pairs.filter(|(name, _)| name == "kept");
        kept.map(|(_, value)| value).collect()
    };
    // The same photograph twice, and once more with the refused form.
    let raven = jpeg(300, 200);
    let refused = sends(&staff, &bad, &[&raven, &raven]).await;
    assert_eq!(kept_of(&refused).len(), 1, "{}", refused.text);
    let mut again = with(&SUNRISE, &[("price", "much")]);
    let kept = kept_of(&refused);
    again.push(("kept", &kept[0]));
    let refused = sends(&staff, &again, &[&raven]).await;
    assert_eq!(kept_of(&refused), kept);

    // Ten more are too many; without one of them it goes.
    let ten: Vec<Vec<u8>> = (0..10).map(|n| jpeg(100 + n, 100)).collect();
    let ten: Vec<&[u8]> = ten.iter().map(Vec::as_slice).collect();
    let mut good = with(&SUNRISE, &[]);
    good.push(("kept", &kept[0]));
    let refused = sends(&staff, &good, &ten).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(
        refused.text.contains("up to 10 images. Leave some out."),
        "{}",
        refused.text
    );
    let all = kept_of(&refused);
    assert_eq!(all.len(), 11);
    let mut good = with(&SUNRISE, &[]);
    good.extend(all.iter().skip(1).map(|id| ("kept", id.as_str())));
    let made = sends(&staff, &good, &[]).await;
    assert_eq!(made.status, 303, "{}", made.text);
    assert_eq!(widths(&shop.client).await.len(), 10);
    shop.run_jobs().await;
}
