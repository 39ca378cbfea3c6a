//! Forms of the admin that are sent twice: over a slow line, with a double tap, or by "back" and "send" again.

use serde_json::json;
use spirit_beads::audit::Actor;
use spirit_beads::audit::submissions;
use spirit_beads::auth::Scope;
use uuid::Uuid;

use crate::admin::{OWNER, PASSWORD, audited, signed_in, staffed};
use crate::support::forms::Form;
use crate::support::{Answer, Client, Shop, at_once, card, session_of};

/// Sends a form so many times at once.
async fn sent_at_once(form: &Form, client: &Client, times: usize) -> Vec<Answer> {
    at_once((0..times).map(|_| {
        let (form, client) = (form.clone(), client.clone());
        async move { form.send(&client).await }
    }))
    .await
}

async fn count(shop: &Shop, what: &'static str) -> i64 {
    sqlx::query_scalar(what)
        .fetch_one(&shop.db)
        .await
        .expect(what)
}

const PRODUCTS: &str = "select count(*) from products";

async fn new_product(client: &Client) -> Form {
    let page = client.get("/admin/new-product").await.text;
    Form::to(&page, "/admin/new-product").with(&[("name", "Sunrise"), ("price", "47")])
}

#[tokio::test]
async fn a_product_whose_form_is_sent_three_times_at_once_and_then_again_is_one_product() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await.client;
    let form = new_product(&owner).await;
    let mut answers = sent_at_once(&form, &owner, 3).await;
    answers.push(form.send(&owner).await);
    for answer in &answers {
        assert_eq!(answer.status, 303, "{}", answer.text);
        assert_eq!(answer.header("location"), answers[0].header("location"));
    }
    assert_eq!(count(&shop, PRODUCTS).await, 1);
    // The page rendered anew is another form.
    let other = new_product(&owner).await.with(&[("slug", "sunrise-2")]);
    assert_eq!(other.send(&owner).await.status, 303);
    assert_eq!(count(&shop, PRODUCTS).await, 2);
}

#[tokio::test]
async fn a_form_that_was_done_and_comes_with_something_else_in_it_is_refused() {
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let owner = signed_in(&shop, OWNER).await.client;
    let page = owner.get("/admin/products/sunrise").await.text;
    let form = Form::to(&page, "/admin/products/sunrise/stock").with(&[("pieces", "5")]);
    assert_eq!(form.send(&owner).await.status, 303);
    let answer = form.clone().with(&[("pieces", "6")]).send(&owner).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert!(
        answer.text.contains("This form was sent before"),
        "{}",
        answer.text
    );
    assert_eq!(shop.stock(&piece).await, (6, 0));
}

#[tokio::test]
async fn a_form_with_field_errors_is_corrected_and_sent_again() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await.client;
    let faulty = new_product(&owner).await.with(&[("price", "much")]);
    for answer in sent_at_once(&faulty, &owner, 2).await {
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
    // By "back", so with the id of the first, and on the page that shows the faults.
    let corrected = faulty.clone().with(&[("price", "47")]);
    let shown = faulty.send(&owner).await;
    assert_eq!(corrected.send(&owner).await.status, 303);
    assert_eq!(count(&shop, PRODUCTS).await, 1);
    let again =
        Form::to(&shown.text, "/admin/new-product").with(&[("price", "48"), ("slug", "sunrise-2")]);
    assert_eq!(again.send(&owner).await.status, 303);
    assert_eq!(count(&shop, PRODUCTS).await, 2);
}

#[tokio::test]
async fn a_password_that_is_shown_once_is_in_both_answers_and_nowhere_in_the_database() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await.client;
    let page = owner.get("/admin/users").await.text;
    let form = Form::to(&page, "/admin/users").with(&[
        ("email", "cat@example.com"),
        ("role", "staff"),
        ("your_password", PASSWORD),
    ]);
    let secret = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{}", answer.text);
        let (_, rest) = answer
            .text
            .split_once("<code class=\"secret select\">")
            .expect("the password");
        rest.split('<').next().expect("its end").to_owned()
    };
    let answers = sent_at_once(&form, &owner, 2).await;
    let password = secret(&answers[0]);
    assert_eq!(secret(&answers[1]), password);
    assert_eq!(secret(&form.send(&owner).await), password);
    let kept: Vec<Vec<u8>> =
        sqlx::query_scalar("select answer from form_submissions where answer is not null")
            .fetch_all(&shop.db)
            .await
            .expect("the answers");
    assert!(!kept.is_empty());
    for answer in kept {
        let has = |text: &str| {
            answer
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        assert!(!has(&password) && !has("html"), "it is encrypted");
    }
    assert_eq!(
        signed_in_as(&shop, "cat@example.com", &password).await,
        303,
        "it is the password"
    );

    // Another session gets nothing of it, and after some minutes nobody does.
    let other = signed_in(&shop, OWNER).await.client;
    assert_eq!(form.send(&other).await.status, 403);
    sqlx::query("update form_submissions set answer_until = now()")
        .execute(&shop.db)
        .await
        .expect("time passes");
    shop.sweep_all().await;
    let late = form.send(&owner).await;
    assert_eq!(late.status, 409, "{}", late.text);
    assert!(!late.text.contains(&password));
    assert_eq!(count(&shop, "select count(*) from users").await, 3);
}

async fn signed_in_as(shop: &Shop, email: &str, password: &str) -> u16 {
    let client = shop.shopper();
    let page = client.get("/admin/sign-in").await.text;
    let form = Form::to(&page, "/admin/sign-in").with(&[("email", email), ("password", password)]);
    form.send(&client).await.status
}

#[tokio::test]
async fn signing_in_with_two_taps_makes_one_session() {
    let shop = staffed().await;
    let client = shop.shopper();
    let page = client.get("/admin/sign-in").await.text;
    let form = Form::to(&page, "/admin/sign-in").with(&[("email", OWNER), ("password", PASSWORD)]);
    let mut answers = sent_at_once(&form, &client, 3).await;
    // With the cookie of the session, by "back".
    answers.push(form.send(&client).await);
    for answer in &answers {
        assert_eq!(answer.status, 303, "{}", answer.text);
        assert_eq!(answer.header("location"), "/admin");
    }
    assert_eq!(count(&shop, "select count(*) from sessions").await, 1);
    assert_eq!(client.get("/admin").await.status, 200);
    // Whoever signs out ends what was kept of it.
    let page = client.get("/admin").await.text;
    let out = Form::to(&page, "/admin/sign-out");
    for answer in [out.send(&client).await, out.send(&client).await] {
        assert_eq!(answer.header("location"), "/admin/sign-in");
    }
    assert_eq!(form.send(&client).await.status, 403);
    assert_ne!(client.get("/admin").await.status, 200);
}

#[tokio::test]
async fn a_password_changed_with_two_taps_leaves_nobody_signed_out() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await.client;
    // The browser that gave up on the first answer, and so has the old cookie.
    let stopped = owner.cookie("admin_session").expect("a session");
    let page = owner.get("/admin/account").await.text;
    let form = Form::to(&page, "/admin/account/password")
        .with(&[("current", PASSWORD), ("new", "another fine password 7")]);
    assert_eq!(form.send(&owner).await.status, 303);
    assert_eq!(owner.get("/admin").await.status, 200);
    owner.set_cookie("admin_session", &stopped);
    assert_eq!(owner.get("/admin").await.status, 303, "it is worthless");
    let again = form.send(&owner).await;
    assert_eq!(
        (again.status, again.header("location")),
        (303, "/admin/account")
    );
    assert_eq!(owner.get("/admin").await.status, 200);
    // To a third browser it says nothing.
    let other = shop.shopper();
    other.set_cookie("admin_session", "somebody else's");
    assert_eq!(
        form.send(&other).await.header("location"),
        "/admin/sign-in?next=%2Fadmin%2Faccount%2Fpassword&why=session-over"
    );
}

/// The shop dies while it carries the form out: what is left of it is this row.
async fn dies(shop: &Shop, sql: &'static str) {
    let done = sqlx::query(sql).execute(&shop.db).await.expect(sql);
    assert_eq!(done.rows_affected(), 1, "{sql}");
}

#[tokio::test]
async fn a_form_whose_shop_died_is_carried_out_unless_it_took_effect() {
    let shop = staffed().await;
    shop.stocks("Sunrise", 1).await;
    let owner = signed_in(&shop, OWNER).await.client;
    let page = owner.get("/admin/products/sunrise").await.text;
    let form = Form::to(&page, "/admin/products/sunrise/stock").with(&[("pieces", "5")]);
    // After the commit, before the answer was recorded.
    assert_eq!(form.send(&owner).await.status, 303);
    dies(
        &shop,
        "update form_submissions
         set state = 'running', lease_until = now(), answer = null, fingerprint = null
         where effect_at is not null",
    )
    .await;
    let again = form.send(&owner).await;
    assert_eq!(again.status, 409, "{}", again.text);
    assert!(
        again.text.contains("nothing was done twice"),
        "{}",
        again.text
    );
    assert_eq!(shop.stock("sunrise").await, (6, 0));

    // Before the commit.
    let page = owner.get("/admin/products/sunrise").await.text;
    let form = Form::to(&page, "/admin/products/sunrise/stock").with(&[("pieces", "7")]);
    assert_eq!(form.send(&owner).await.status, 303);
    sqlx::raw_sql(
        "update products set on_hand = 6;
         delete from stock_movements where delta = 7;",
    )
    .execute(&shop.db)
    .await
    .expect("nothing was committed");
    dies(
        &shop,
        "update form_submissions
         set state = 'running', lease_until = now(), answer = null, fingerprint = null, effect_at = null
         where state = 'done' and answer is not null and effect_at is not null",
    )
    .await;
    assert_eq!(form.send(&owner).await.status, 303);
    assert_eq!(shop.stock("sunrise").await, (13, 0));
    shop.audit().await;
}

#[tokio::test]
async fn an_attempt_that_only_seemed_dead_changes_nothing_any_more() {
    let shop = Shop::open().await;
    let mut conn = shop.db.acquire().await.expect("a connection");
    let id = Uuid::new_v4().as_bytes().to_vec();
    let claim = submissions::claim(&mut conn, &id, b"").await.expect("SQL");
    let first = claim.expect("it is new");
    let seen = submissions::find(&mut conn, &id).await.expect("SQL");
    let seen = seen.expect("the submission");
    let busy = submissions::reclaim(&mut conn, &id, &seen, b"").await;
    assert!(busy.expect("SQL").is_none(), "its lease holds");
    dies(&shop, "update form_submissions set lease_until = now()").await;
    let second = submissions::reclaim(&mut conn, &id, &seen, b"").await;
    let second = second.expect("SQL").expect("the lease is over");
    assert!(first.mark(&mut conn).await.is_err());
    second.mark(&mut conn).await.expect("the mark");
    let actor = Actor::console().carrying_out(Some(first));
    let change = spirit_beads::audit::record(
        &mut conn,
        &actor,
        "test.change",
        "x",
        serde_json::Value::Null,
        serde_json::Value::Null,
    );
    assert!(change.await.is_err(), "its transaction must not commit");
    drop(conn);
    assert_eq!(
        audited(&shop).await.len(),
        1,
        "the statement alone is there"
    );
}

#[tokio::test]
async fn two_sales_or_refunds_at_once_with_one_id_are_one_or_the_other() {
    let shop = staffed().await;
    for name in ["Sunrise", "Turtle"] {
        shop.stocks(name, 5).await;
    }
    let owner = signed_in(&shop, OWNER).await.client;
    let page = async |piece: &str| {
        let page = owner.get(&format!("/admin/sell?piece={piece}")).await.text;
        Form::to(&page, "/admin/sell")
    };
    let sunrise = page("sunrise").await;
    let mut turtle = page("turtle").await;
    turtle.fill("sale", sunrise.get("sale"));
    let answers = at_once([sunrise.clone(), turtle].map(|form| {
        let owner = owner.clone();
        async move { form.send(&owner).await.status }
    }))
    .await;
    assert!(
        answers == [303, 409] || answers == [409, 303],
        "{answers:?}"
    );
    let left = shop.stock("sunrise").await.0 + shop.stock("turtle").await.0;
    assert_eq!(left, 9);

    let mut orders = Vec::new();
    for _ in 0..2 {
        let answer = shop.shopper().check_out(&[("sunrise", 1)]).await;
        let session = session_of(&answer);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
        let order = shop.order(&session).await;
        orders.push(order["number"].as_i64().expect("a number"));
    }
    let admin = shop.admin(&Scope::ALL).await;
    let id = Uuid::new_v4();
    let answers = at_once(orders.into_iter().map(|number| {
        let admin = admin.clone();
        async move {
            let path = format!("/api/admin/orders/SB-{number}/refund/");
            let body = json!({"id": id, "amount": 100});
            admin.post(&path, &body).await.status
        }
    }))
    .await;
    assert!(
        answers == [202, 409] || answers == [409, 202],
        "{answers:?}"
    );
    assert_eq!(count(&shop, "select count(*) from refunds").await, 1);
    shop.audit().await;
}
