//! The admin's pages of custom orders: a piece from the first word to the shipment, by the admin alone.

use serde_json::Value;
use stripe_sandbox::Fault;

use crate::admin::{Browser, STAFF, signed_in, staffed};
use crate::support::images::{Part, jpeg};
use crate::support::{Answer, Shop, card};

/// The number of the first request of a shop.
async fn number(shop: &Shop) -> String {
    let number: i64 = sqlx::query_scalar("select number from custom_orders limit 1")
        .fetch_one(&shop.db)
        .await
        .expect("a request");
    format!("CO-{number}")
}

/// Actions of somebody in the admin on one request.
struct Bench {
    shop: Shop,
    staff: Browser,
    path: String,
}

impl Bench {
    async fn open() -> Bench {
        let shop = staffed().await;
        shop.asks_for_a_piece("cy@example.com").await;
        let staff = signed_in(&shop, STAFF).await;
        let path = format!("/admin/custom-orders/{}", number(&shop).await);
        Bench { shop, staff, path }
    }

    async fn page(&self) -> String {
        let answer = self.staff.get(&self.path).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    }

    /// Sends a form of the request's page.
    async fn act(&self, what: &str, fields: &[(&str, &str)]) -> Answer {
        let path = format!("{}/{what}", self.path);
        self.staff.submit(&self.path, &path, fields).await
    }

    /// Sends a form that has to be taken, and returns the page that follows.
    async fn does(&self, what: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.act(what, fields).await;
        assert_eq!(answer.status, 303, "{what}: {}", answer.text);
        let next = answer.header("location").to_owned();
        self.staff.get(&next).await.text
    }

    async fn quotes(&self, amount: &str) -> String {
        let fields = [
            ("amount", amount),
            ("description", "One Classic case <blue>, loomed"),
            ("zone", "us"),
            ("shipping", ""),
            ("valid_days", "10"),
        ];
        self.does("quote", &fields).await
    }

    /// Sends the email that is looked at.
    async fn approves(&self) -> Answer {
        let on = format!("{}/approve", self.path);
        let page = self.staff.get(&on).await.text;
        let (_, rest) = page.split_once("name=\"seen\" value=\"").expect("a draft");
        let seen = rest.split('"').next().expect("its end").to_owned();
        self.staff.submit(&on, &on, &[("seen", &seen)]).await
    }

    async fn link(&self) -> String {
        let sql = "select link_id from custom_order_quotes where state = 'live'";
        sqlx::query_scalar(sql)
            .fetch_one(&self.shop.db)
            .await
            .expect("a live quote")
    }

    /// The steps that the page offers, by where their forms go.
    fn offers(&self, page: &str) -> Vec<String> {
        let prefix = format!("action=\"{}/", self.path);
        let mut forms: Vec<String> = page
            .split(&prefix)
            .skip(1)
            .map(|rest| rest.split('"').next().expect("its end").to_owned())
            .collect();
        if page.contains(&format!("href=\"{}/approve\"", self.path)) {
            forms.push("approve".to_owned());
        }
        // Notes, messages and corrections are no steps.
        let no_steps = [
            "note", "message", "resend", "shipment", "customer", "unship",
        ];
        forms.retain(|form| !no_steps.contains(&form.as_str()));
        forms.sort();
        forms
    }

    async fn audited(&self) -> Vec<(String, String, String, Value)> {
        sqlx::query_as("select actor, action, object, after from audit_log where action like 'custom%' order by id")
            .fetch_all(&self.shop.db)
            .await
            .expect("the log")
    }
}

#[tokio::test]
async fn a_piece_goes_from_request_to_completed_by_the_admin_alone() {
    let bench = Bench::open().await;
    let board = bench.staff.get("/admin/custom-orders").await.text;
    assert!(board.contains(&bench.path) && board.contains("A case in blue and gold"));
    let today = bench.staff.get("/admin").await.text;
    assert!(
        today.contains("<strong>1</strong> custom order to answer"),
        "{today}"
    );

    let page = bench.page().await;
    assert_eq!(bench.offers(&page), ["quote", "reject"]);
    let preview = bench.quotes("$1,090.50").await;
    for part in [
        "$1,095.50",
        "cy@example.com",
        "sandbox title=",
        "Approve, and send",
    ] {
        assert!(preview.contains(part), "{part}: {preview}");
    }
    assert_eq!(bench.shop.emails_of("custom_order_approved").await, 0);
    let email = bench.staff.get(&format!("{}/email", bench.path)).await;
    assert_eq!(email.status, 200);
    assert!(email.text.contains("$1,095.50"), "{}", email.text);
    assert!(email.text.contains("&#60;blue&#62;") || email.text.contains("&lt;blue&gt;"));
    let policy = email.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'")
            && policy.contains("sandbox")
            && policy.contains("frame-ancestors 'self'"),
        "{policy}"
    );
    assert_eq!(email.header("x-frame-options"), "SAMEORIGIN");
    assert_eq!(
        bench.offers(&bench.page().await),
        ["approve", "quote", "quote/discard", "reject"]
    );

    assert_eq!(bench.approves().await.status, 303);
    let waiting = bench.page().await;
    assert!(waiting.contains("asking Stripe…") && waiting.contains("<meta http-equiv=\"refresh\""));
    assert_eq!(bench.offers(&waiting), [] as [&str; 0]);
    bench.shop.run_jobs().await;
    let live = bench.page().await;
    assert!(
        live.contains("can be paid") && !live.contains("http-equiv=\"refresh\""),
        "{live}"
    );
    assert_eq!(bench.offers(&live), ["quote", "withdraw"]);

    let session = bench
        .shop
        .stripe
        .open_link(&bench.link().await)
        .await
        .expect("a page");
    bench
        .shop
        .stripe
        .pay(&session, card())
        .await
        .expect("a payment");
    bench.shop.deliver().await;
    bench.shop.run_jobs().await;
    let paid = bench.page().await;
    assert_eq!(bench.offers(&paid), ["ship", "start"]);
    assert!(paid.contains("href=\"/admin/orders/SB-1001\""), "{paid}");
    let making = bench.does("start", &[]).await;
    assert_eq!(bench.offers(&making), ["ship"]);

    // A carrier is missing: what was typed comes back, and so do the images.
    let image_url = jpeg(90, 60);
    let ship = format!("{}/ship", bench.path);
    let parts = [
        Part::text("carrier", ""),
        Part::text("tracking_number", "9400 1000"),
        Part::file("images", &image_url),
    ];
    let refused = bench.staff.submit_parts(&bench.path, &ship, &parts).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(
        refused
            .text
            .contains("Carrier is needed, because the tracking number does not tell it.")
    );
    assert!(
        refused.text.contains("value=\"9400 1000\""),
        "{}",
        refused.text
    );
    let (_, rest) = refused
        .text
        .split_once("name=\"image\" value=\"")
        .expect("the photo");
    let kept = rest.split('"').next().expect("its end");
    let parts = [
        Part::text("carrier", "USPS"),
        Part::text("tracking_number", "9400 1000"),
        Part::text("image", kept),
    ];
    let shipped = bench.staff.submit_parts(&bench.path, &ship, &parts).await;
    assert_eq!(shipped.status, 303, "{}", shipped.text);
    let shipped = bench.page().await;
    assert_eq!(bench.offers(&shipped), ["complete"]);
    assert!(
        shipped.contains(kept) && shipped.contains("tLabels=94001000"),
        "{shipped}"
    );
    let done = bench.does("complete", &[]).await;
    assert_eq!(bench.offers(&done), [] as [&str; 0]);
    assert!(done.contains("Nothing more: this one is over."));
    bench.shop.run_jobs().await;
    assert_eq!(bench.shop.emails_of("custom_order_shipped").await, 1);

    let log = bench.audited().await;
    let actions: Vec<&str> = log.iter().map(|entry| entry.1.as_str()).collect();
    assert_eq!(
        actions,
        [
            "custom_order.quote",
            "custom_order.approve",
            "custom_order.start",
            "custom_order.ship",
            "custom_order.complete"
        ]
    );
    assert!(log.iter().all(|entry| {
        entry.0 == "user:ben@example.com"
            && bench
                .path
                .ends_with(entry.2.trim_start_matches("custom_order:"))
    }));
    assert_eq!(log[3].3["carrier"], "USPS");
    bench.shop.audit().await;
}

#[tokio::test]
async fn a_price_is_read_to_the_cent_and_nothing_typed_is_lost() {
    let bench = Bench::open().await;
    for (amount, shipping, days, error) in [
        ("", "", "10", "Price must be an amount in dollars"),
        ("12,5", "", "10", "Price must be an amount in dollars"),
        ("0.49", "", "10", "Price must be from $0.50"),
        ("90.005", "", "10", "Price must be an amount in dollars"),
        ("90", "-1", "10", "Shipping must be an amount in dollars"),
        ("90", "999999.99", "10", "Shipping must be at most"),
        ("90", "", "366", "Days must be from 1 to 365"),
        ("90", "", "x", "Days must be from 1 to 365"),
    ] {
        let fields = [
            ("amount", amount),
            ("description", "Typed <once>"),
            ("zone", "international"),
            ("shipping", shipping),
            ("valid_days", days),
        ];
        let refused = bench.act("quote", &fields).await;
        assert_eq!(refused.status, 400, "{amount} {shipping} {days}");
        assert!(refused.text.contains(error), "{error}: {}", refused.text);
        assert!(
            refused.text.contains("Typed &#60;once&#62;</textarea>"),
            "{}",
            refused.text
        );
        assert!(refused.text.contains("value=\"international\" selected"));
    }
    assert!(bench.audited().await.is_empty());
    bench.quotes("90.29").await;
    let kept: (i64, i64, i32) =
        sqlx::query_as("select amount, shipping, valid_days from custom_order_quotes")
            .fetch_one(&bench.shop.db)
            .await
            .expect("a draft");
    assert_eq!(kept, (9029, 500, 10));
    // What was kept stands in the form again.
    assert!(bench.page().await.contains(
        "name=\"amount\" inputmode=\"decimal\" required autocomplete=\"off\" value=\"90.29\""
    ));
}

#[tokio::test]
async fn only_the_quote_that_was_looked_at_is_sent() {
    let bench = Bench::open().await;
    bench.quotes("90").await;
    let on = format!("{}/approve", bench.path);
    let page = bench.staff.get(&on).await.text;
    let (_, rest) = page.split_once("name=\"seen\" value=\"").expect("a draft");
    let seen = rest.split('"').next().expect("its end").to_owned();
    // Somebody else names another price meanwhile.
    bench.quotes("900").await;
    let refused = bench.staff.submit(&on, &on, &[("seen", &seen)]).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(
        refused.text.contains("Somebody changed the quote"),
        "{}",
        refused.text
    );
    assert_eq!(bench.approves().await.status, 303);
    bench.shop.run_jobs().await;
    let first = bench.link().await;

    // Another quote takes the place of the one that the customer has.
    let preview = bench.quotes("120").await;
    assert!(preview.contains("Replace the quote, and send"), "{preview}");
    assert_eq!(bench.approves().await.status, 303);
    assert!(bench.page().await.contains("closing at Stripe…"));
    bench.shop.run_jobs().await;
    assert_ne!(bench.link().await, first);
    assert!(bench.page().await.contains("$125.00"));
    assert_eq!(bench.shop.emails_of("custom_order_approved").await, 2);

    let taken_back = bench
        .does("withdraw", &[("reason", "The beads are gone.")])
        .await;
    assert!(taken_back.contains("closing at Stripe…"), "{taken_back}");
    bench.shop.run_jobs().await;
    let over = bench.page().await;
    assert_eq!(bench.offers(&over), ["quote", "reject"]);
    assert_eq!(bench.shop.emails_of("quote_withdrawn").await, 1);
    assert_eq!(bench.shop.emails_of("custom_order_rejected").await, 0);
    // There is no email of a quote that may not be sent.
    let gone = bench.staff.get(&on).await;
    assert_eq!(
        (gone.status, gone.header("location")),
        (303, bench.path.as_str())
    );
}

#[tokio::test]
async fn a_request_is_declined_noted_and_seen_to() {
    let bench = Bench::open().await;
    let refusal = Fault::Refused {
        code: "parameter_invalid".to_owned(),
        message: "No".to_owned(),
        param: None,
    };
    bench.quotes("90").await;
    bench
        .shop
        .stripe
        .fail_next("POST /v1/payment_links", refusal, 1);
    assert_eq!(bench.approves().await.status, 303);
    bench.shop.run_jobs().await;
    let page = bench.page().await;
    assert!(
        page.contains("refused by Stripe") && page.contains("parameter_invalid"),
        "{page}"
    );
    assert_eq!(bench.offers(&page), ["quote", "reject"]);
    let (_, rest) = page
        .split_once("action=\"/admin/review-items/")
        .expect("a button");
    let (item, _) = rest.split_once('/').expect("its item");
    let resolve = format!("/admin/review-items/{item}/resolve");
    let answer = bench.staff.submit(&bench.path, &resolve, &[]).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, bench.path.as_str())
    );
    let resolved = bench.page().await;
    assert!(!resolved.contains("class=\"alert"), "{resolved}");

    assert_eq!(bench.act("note", &[("text", " ")]).await.status, 400);
    let noted = bench
        .does("note", &[("text", "Asked for <more> time")])
        .await;
    assert!(
        noted.contains("Note: Asked for &#60;more&#62; time"),
        "{noted}"
    );
    let refused = bench.act("reject", &[("reason", "")]).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused
            .text
            .contains("Reason must have 1 to 2000 characters."),
        "{}",
        refused.text
    );
    let declined = bench
        .does("reject", &[("reason", "We make no ravens.")])
        .await;
    assert!(declined.contains("Declined"), "{declined}");
    assert_eq!(bench.offers(&declined), [] as [&str; 0]);
    bench.shop.run_jobs().await;
    assert_eq!(bench.shop.emails_of("custom_order_rejected").await, 1);
    // A button of a page that is out of date changes nothing.
    for what in ["start", "complete", "approve"] {
        let answer = bench.act(what, &[]).await;
        assert_eq!(answer.status, 409, "{what}: {}", answer.text);
    }
    let actions: Vec<String> = bench
        .audited()
        .await
        .into_iter()
        .map(|entry| entry.1)
        .collect();
    assert_eq!(
        actions,
        [
            "custom_order.quote",
            "custom_order.approve",
            "custom_order.note",
            "custom_order.reject"
        ]
    );
}

#[tokio::test]
async fn a_draft_is_thrown_away() {
    let bench = Bench::open().await;
    bench.quotes("90").await;
    let page = bench.does("quote/discard", &[]).await;
    assert_eq!(bench.offers(&page), ["quote", "reject"]);
    assert!(page.contains("The draft is thrown away."), "{page}");
    // Of a page that is out of date: there is nothing to throw away any more.
    bench.does("quote/discard", &[]).await;
    let log = bench.audited().await;
    let actions: Vec<&str> = log.iter().map(|entry| entry.1.as_str()).collect();
    assert_eq!(
        actions,
        ["custom_order.quote", "custom_order.discard_quote"]
    );
}
