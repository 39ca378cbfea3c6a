//! A shop of 500 products on an empty folder.

use std::process::Stdio;
use std::time::Duration;

use embedded_postgres::{Cluster, Settings};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::{Result, fixed};

/// Time that a start may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running shop.
pub struct Shop {
    address: String,
    server: Child,
    cluster: Cluster,
    pub db: PgPool,
    /// Ids of its products.
    pub ids: Vec<String>,
    // Last: removed when nothing is in it any more.
    _folder: tempfile::TempDir,
}

impl Shop {
    /// Starts the program, and fills its catalog.
    pub async fn start(program: &str) -> Result<Shop> {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        let address = TcpListener::bind("127.0.0.1:0")
            .await?
            .local_addr()?
            .to_string();
        let server = Command::new(std::fs::canonicalize(program)?)
            .current_dir(&folder)
            .env("DATA_DIR", &data)
            .env("BIND_ADDR", &address)
            .env("LOG_FILTER", "warn")
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let ready = async {
            while fixed::fetch(&address, "/readyz", None).await.is_err() {
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(PATIENCE, ready).await?;
        // Shares the server that the shop has started.
        let cluster = Cluster::start(Settings {
            app_name: "spirit-beads".to_owned(),
            superuser: "spirit_beads".to_owned(),
            ..Settings::new(data.join("postgres"))
        })
        .await?;
        let db = PgPoolOptions::new()
            .max_connections(8)
            .connect_with(cluster.connect_options("spirit_beads"))
            .await?;
        sqlx::raw_sql(FILL).execute(&db).await?;
        let sql = "select id from products where is_active order by name, id";
        let ids = sqlx::query_scalar(sql).fetch_all(&db).await?;
        Ok(Shop {
            address,
            server,
            cluster,
            db,
            ids,
            _folder: folder,
        })
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Id of the server's process.
    pub fn pid(&self) -> u32 {
        self.server.id().unwrap_or_default()
    }

    /// Ends the shop.
    pub async fn stop(mut self) -> Result<()> {
        self.db.close().await;
        self.server.kill().await?;
        self.cluster.stop().await?;
        Ok(())
    }
}

/// As many products as it takes to have 500, with one image or two each, of those that the shop begins with.
const FILL: &str = "
    insert into products (id, name, slug, lighter_type, price, category_id, description, on_hand)
    select 'bench-' || n, 'Bench ' || n, 'bench-' || n, 1 + n % 2, 4000 + n,
           (select id from categories order by id offset n % 4 limit 1), repeat('A one-of-a-kind piece. ', 6), 1
    from generate_series(1, 500 - (select count(*) from products where is_active)) as n;
    insert into stock_movements (product_id, delta, reason, actor)
    select id, 1, 'initial', 'bench' from products where id like 'bench-%';
    insert into product_images (product_id, position, image_id)
    select p.id, place, image.id
    from products p
    cross join generate_series(0, 1) as place
    cross join lateral (select id from images order by md5(id || p.id) offset place limit 1) as image
    where p.id like 'bench-%'
      and (place = 0 or right(p.id, 1) < '8');
    analyze;
";
