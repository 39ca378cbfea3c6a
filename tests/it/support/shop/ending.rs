//! The end of every test's shop: its queue is drained and its books are checked, without the test asking for it.

use serde_json::Value;
use spirit_beads::app::App;
use spirit_beads::config::{Config, Secret};
use spirit_beads::db::Pools;
use spirit_beads::stripe::Stripe;
use stripe_sandbox::Sandbox;
use tokio::net::TcpListener;

use super::{books, jobs};
use crate::support::{SECRET_KEY, STRIPE_KEY, WEBHOOK_SECRET, database};

/// Something that a test leaves behind on purpose. docs/testing.md counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// Jobs that fail even when Stripe and the mail server are well.
    FailedJobs,
    /// Money at Stripe without an order: the shop never hears of it, hears of it wrongly, or cannot refund it.
    UnsettledMoney,
    /// Books that do not add up, since the test wrote into the tables.
    WrongBooks,
    /// A database or a shop that is out of order.
    BrokenShop,
}

/// A shop that is about to end.
pub(super) struct Ending {
    pub(super) database: String,
    pub(super) config: Config,
    pub(super) leaves: Vec<Leftover>,
}

impl Ending {
    /// Ends the shop. Returns a complaint, unless all is well.
    ///
    /// The test's own runtime waits in `drop` meanwhile, so this is a thread with a runtime, connections and a sandbox of
    /// its own. Outages that the test arranged are over: Stripe is well, and emails go into the folder.
    pub(super) fn run(self) -> Result<(), String> {
        if self.leaves(Leftover::BrokenShop) {
            return Ok(());
        }
        let ending = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(self.end());
        });
        ending.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.unwrap_or_else(|| "see above".to_owned())
        })
    }

    async fn end(self) {
        let pools = database::pools(&self.database);
        let db = pools.requests.clone();
        if !self.leaves(Leftover::FailedJobs) && jobs::hurry_all(&db).await {
            let left = self.drain(pools).await;
            assert!(left.is_empty(), "jobs left over at the end: {left:#?}");
        }
        if !self.leaves(Leftover::WrongBooks) {
            books::audit_books(&db).await;
        }
        if !self.leaves(Leftover::UnsettledMoney) {
            books::audit_charges(&db).await;
        }
    }

    fn leaves(&self, leftover: Leftover) -> bool {
        self.leaves.contains(&leftover)
    }

    /// Works off the queue; returns the jobs that fail.
    async fn drain(&self, pools: Pools) -> Vec<(Value, Option<String>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let public_url = &self.config.server.public_url;
        let settings = stripe_sandbox::Settings {
            business_name: "Spirit Beads".to_owned(),
            secret_key: STRIPE_KEY.to_owned(),
            webhook_secret: WEBHOOK_SECRET.to_owned(),
            webhook_url: format!("{public_url}/api/payments/webhook/"),
            pages_url: format!("{public_url}/sandbox"),
        };
        let db = pools.requests.clone();
        let sandbox = Sandbox::open(db.clone(), settings)
            .await
            .expect("a sandbox");
        let api = sandbox.api();
        tokio::spawn(async move { axum::serve(listener, api).await });

        let mut config = self.config.clone();
        config.mail.smtp = None;
        config.stripe.api_url = Some(format!("http://{address}"));
        let key = config.stripe.secret_key.as_ref().expect("a key");
        let stripe = Stripe::new(key, config.stripe.api_url.as_deref(), config.stripe.timeout)
            .expect("a client");
        let app = App::new(pools, stripe, Secret::new(SECRET_KEY), config).expect("an app");
        let began = chrono::Utc::now();
        jobs::run(&app, &db).await;
        jobs::failed(&db, began).await
    }
}

mod tests {
    use crate::support::{Leftover, Shop, card, session_of};

    async fn with_a_job_given_up() -> Shop {
        let shop = Shop::open().await;
        shop.stocks("Sunrise", 1).await;
        sqlx::query("update graphile_worker._private_jobs set attempts = max_attempts")
            .execute(&shop.db)
            .await
            .expect("the queue");
        shop
    }

    async fn with_stock_from_nowhere() -> Shop {
        let shop = Shop::open().await;
        shop.stocks("Sunrise", 1).await;
        sqlx::query("update products set on_hand = on_hand + 1")
            .execute(&shop.db)
            .await
            .expect("the product");
        shop
    }

    async fn with_a_payment_unheard_of() -> Shop {
        let shop = Shop::open().await;
        let piece = shop.stocks("Sunrise", 1).await;
        let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop
    }

    #[tokio::test]
    #[should_panic(expected = "jobs left over at the end")]
    async fn a_job_given_up_fails_its_test() {
        with_a_job_given_up().await;
    }

    #[tokio::test]
    #[should_panic(expected = "the books do not add up")]
    async fn stock_from_nowhere_fails_its_test() {
        with_stock_from_nowhere().await;
    }

    #[tokio::test]
    #[should_panic(expected = "money without an order")]
    async fn a_payment_unheard_of_fails_its_test() {
        with_a_payment_unheard_of().await;
    }

    #[tokio::test]
    async fn leftovers_named_by_the_test_fail_nothing() {
        with_a_job_given_up().await.leaves(Leftover::FailedJobs);
        with_stock_from_nowhere().await.leaves(Leftover::WrongBooks);
        let shop = with_a_payment_unheard_of().await;
        shop.leaves(Leftover::UnsettledMoney);
    }
}
