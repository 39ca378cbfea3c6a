//! What the owner chose for photographed pieces: the words of their names, the background of their images.

use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::{Batch, list, photograph, text};
use crate::admin::{OWNER, signed_in, staffed};
use crate::support::forms::Form;

const HERE: &str = "/admin/settings";

#[tokio::test]
async fn names_are_made_of_the_words_in_the_settings() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let ours = Form::to(&owner.get(HERE).await.text, HERE)
        .get("piece_words")
        .to_owned();
    assert!(ours.contains("red: Ember, "), "{ours}");
    // A fault is named by its line, and nothing typed is lost.
    for (faulty, told) in [
        (
            "red: Rowan\nreds: Poppy",
            "Words cannot be read: Line 2: no color and no pattern is named &#34;reds&#34;.",
        ),
        ("red Rowan", "Words cannot be read: Line 1 has no colon."),
    ] {
        let refused = owner.submit(HERE, HERE, &[("piece_words", faulty)]).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert!(refused.text.contains(told), "{told}: {}", refused.text);
        assert_eq!(
            Form::to(&refused.text, HERE)
                .get("piece_words")
                .replace("\r\n", "\n"),
            faulty
        );
    }
    let own: String = ours
        .lines()
        .filter_map(|line| Some(format!("{}: Zaagi\n", line.split_once(':')?.0)))
        .collect();
    let saved = owner.submit(HERE, HERE, &[("piece_words", &own)]).await;
    assert_eq!(saved.status, 303, "{}", saved.text);

    let batch = Batch::begin(&shop, &json!({})).await;
    let photo = photograph("lighters.jpg");
    batch.sends("front", &[("table.jpg", &photo)]).await;
    shop.run_jobs().await;
    let shown = batch.shows().await;
    let names: Vec<&str> = list(&shown, "items")
        .iter()
        .map(|item| text(&item["name"]))
        .collect();
    assert_eq!(names.len(), 11, "{names:?}");
    assert!(
        names.iter().all(|name| name.starts_with("Zaagi Zaagi")),
        "{names:?}"
    );

    // Our own words are no choice, and an emptied field goes back to them.
    let programs = shop.admin(&[Scope::Settings]).await;
    let chosen =
        async || programs.get("/api/admin/settings/").await.json["chosen"]["piece_words"].clone();
    assert_eq!(chosen().await, own.trim());
    for back in ["", &ours] {
        owner.submit(HERE, HERE, &[("piece_words", &own)]).await;
        owner.submit(HERE, HERE, &[("piece_words", back)]).await;
        assert_eq!(chosen().await, Value::Null);
    }
}

#[tokio::test]
async fn images_are_staged_on_the_background_of_the_settings() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let ours = Form::to(&owner.get(HERE).await.text, HERE)
        .get("stage_background")
        .to_owned();
    assert_eq!(ours, "#F4F1ED");
    for faulty in ["blue", "#12345", "#12345G", "#+12345", "123456"] {
        let refused = owner
            .submit(HERE, HERE, &[("stage_background", faulty)])
            .await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert!(
            refused.text.contains("must be a color, as #F4F1ED"),
            "{faulty}: {}",
            refused.text
        );
    }
    let saved = owner
        .submit(HERE, HERE, &[("stage_background", "#204060")])
        .await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let batch = Batch::begin(&shop, &json!({})).await;
    let photo = photograph("s210-kin-front.jpg");
    batch.sends("front", &[("table.jpg", &photo)]).await;
    shop.run_jobs().await;
    let shown = batch.shows().await;
    let id: String = sqlx::query_scalar("select image_id from intake_pieces where number = 1")
        .fetch_one(&shop.db)
        .await
        .expect("an image");
    assert!(text(&list(&shown, "pieces")[0]["image"]["url"]).contains(&id));
    let folders = std::fs::read_dir(shop.media_folder().join("images")).expect("the store");
    let folder = folders
        .map(|folder| folder.expect("a folder").path())
        .find(|folder| folder.to_string_lossy().contains(&id))
        .expect("the image");
    let image = image::open(folder.join("original.jpg")).expect("an image");
    let corner = image.into_rgb8().get_pixel(5, 5).0;
    let near = corner
        .iter()
        .zip([0x20, 0x40, 0x60])
        .all(|(is, wanted)| is.abs_diff(wanted) < 3);
    assert!(near, "{corner:?}");

    // A lower case is no other choice, and ours is none.
    let programs = shop.admin(&[Scope::Settings]).await;
    let chosen = async || {
        let settings = programs.get("/api/admin/settings/").await.json;
        settings["chosen"]["stage_background"].clone()
    };
    assert_eq!(chosen().await, "#204060");
    for back in ["", "#f4f1ed"] {
        owner
            .submit(HERE, HERE, &[("stage_background", "#aabbcc")])
            .await;
        assert_eq!(chosen().await, "#AABBCC");
        owner
            .submit(HERE, HERE, &[("stage_background", back)])
            .await;
        assert_eq!(chosen().await, Value::Null);
    }
}
