//! Time and memory of an import: 500 products, 3,000 orders and 1,400 images, as small as those of the sample shop, and of the
//! sizes that cameras make.
//!
//! `SHOP_PROGRAM=$PWD/target/release/spirit-beads cargo test --test it a_large_shop -- --ignored --nocapture` measures it.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::process::Child;

use super::Takeover;
use crate::process::peak_memory;
use crate::support::{heavy, images};

const LONGEST: Duration = Duration::from_secs(60);

/// Pixels of an image below which each file is drawn anew.
const SMALL: u32 = 200_000;

/// Bytes of the process.
const MOST_MEMORY: u64 = 150 << 20;

/// Rows that make the sample large. Every product has two images, some orders one, and every request two.
const ROWS: &str = "
    create temporary table numbers as
        with recursive n (n) as (select 1 union all select n + 1 from n where n < 2829) select n from n;
    insert into products_product (id, name, slug, lighter_type, price, currency, description, primary_image,
                                  secondary_image, is_sold_out, is_active, inventory_count, weight_ounces, created_at,
                                  updated_at)
        select 'large-' || n, 'Large ' || n, 'large-' || n, 1 + n % 2, 4500, 'usd', 'Beads.',
               'products/large-' || n || '-1.jpg', 'products/large-' || n || '-2.jpg', 0, 1, n % 5, 2,
               '2026-03-01 12:00:00', '2026-03-01 12:00:00'
        from numbers
        where n <= 439;
    insert into orders_order (id, stripe_session_id, stripe_payment_intent, amount_total, currency, status,
                              customer_email, shipping_address, created_at, is_custom_order, product_image, shipped_at,
                              shipping_carrier)
        select printf('%032x', n), 'cs_large_' || n, case n % 5 when 0 then null else 'pi_large_' || n end,
               9000 + case n % 5 when 0 then 0 else 500 end, 'usd',
               case n % 5 when 0 then 'pending' when 1 then 'paid' else 'shipped' end,
               'large' || n || '@example.com', '{\"name\": \"A Shopper\", \"line1\": \"1 Kiln St\", \"country\": \"US\"}',
               datetime('2026-01-01', n || ' hours'), 0,
               case when n % 5 > 1 and n < 250 then 'orders/shipped/large-' || n || '.jpg' end,
               case when n % 5 > 1 then datetime('2026-01-03', n || ' hours') end, 'USPS'
        from numbers;
    insert into orders_orderitem (unit_price, quantity, order_id, product_id)
        select 4500, 1, printf('%032x', n), 'large-' || (1 + n * 7 % 439) from numbers
        union all
        select 4500, 1, printf('%032x', n), 'large-' || (1 + n * 11 % 439) from numbers;
    insert into custom_orders_customorderrequest (id, name, email, description, images, status, admin_notes,
                                                  created_at, updated_at, completion_images)
        select printf('%032x', n), 'A Visitor', 'visitor' || n || '@example.com', 'A case in blue.',
               json_array('/media/custom_orders/large-' || n || '-1.jpg', '/media/custom_orders/large-' || n || '-2.jpg'),
               'pending', '', '2026-04-01 12:00:00', '2026-04-01 12:00:00', '[]'
        from numbers
        where n <= 106;";

/// Widths and heights of the images of products, of finished pieces, and of visitors.
type Sizes = [(u32, u32); 3];

#[tokio::test]
#[ignore = "measures a release build: see the module"]
async fn a_large_shop_is_imported_in_a_minute_and_little_memory() {
    import_large([(320, 240), (320, 300), (400, 300)], true).await;
}

#[tokio::test]
#[ignore = "measures a release build: see the module"]
async fn a_large_shop_with_the_images_of_cameras() {
    import_large([(1600, 1200), (2000, 1500), (4032, 3024)], false).await;
}

async fn import_large(sizes: Sizes, has_limits: bool) {
    let _seat = heavy().await;
    let mut takeover = Takeover::begin().await;
    takeover.change(ROWS).await;
    let media = takeover.beside.home.dir.join("media");
    copy(&takeover.media, &media);
    let files = draw(&media, sizes);
    takeover.media = media;
    println!("{files} images");
    for what in ["dry run", "first import", "second import"] {
        let options: &[&str] = match what {
            "dry run" => &["--dry-run"],
            _ => &[],
        };
        let (time, memory) = measure(&takeover, options).await;
        println!("{what}: {:.1} s, {} MB", time.as_secs_f64(), memory >> 20);
        assert!(!has_limits || time <= LONGEST, "{what}: {time:?}");
        assert!(
            !has_limits || memory <= MOST_MEMORY,
            "{what}: {memory} bytes"
        );
    }
    for (table, count) in [("products", 500), ("orders", 3_000), ("images", 1_390)] {
        let sql = format!("select count(*) from {table}");
        let found = takeover.one::<i64>(&sql).await;
        assert!(found >= count, "{found} {table}");
    }
}

/// Imports, and returns its time and the peak of its memory.
async fn measure(takeover: &Takeover, options: &[&str]) -> (Duration, u64) {
    let (media, sqlite) = (
        takeover.media.display().to_string(),
        takeover.sqlite.display().to_string(),
    );
    let arguments = ["import-django", "--media", &media, "--sqlite", &sqlite];
    let settings = takeover.beside.settings();
    let began = Instant::now();
    let child = takeover
        .beside
        .home
        .command(&[&arguments, options].concat(), &settings)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the program");
    let memory = peak_until_the_end(child).await;
    (began.elapsed(), memory)
}

async fn peak_until_the_end(mut child: Child) -> u64 {
    let pid = child.id().expect("it runs");
    let mut peak = 0;
    loop {
        // Until it is waited for, an ended process has a status file without memory.
        peak = peak.max(peak_memory(pid).unwrap_or(0));
        let ended = tokio::time::timeout(Duration::from_millis(20), child.wait()).await;
        if let Ok(status) = ended {
            assert!(status.expect("a status").success());
            return peak;
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).expect("a copy")),
        }
    }
}

/// Draws the images: of products, of finished pieces, and of visitors. Returns how many files there are.
fn draw(media: &Path, sizes: Sizes) -> usize {
    let products =
        (1..=439).flat_map(|n| [1, 2].map(|side| format!("products/large-{n}-{side}.jpg")));
    let shipped = (1..250).filter(|n| n % 5 > 1);
    let shipped = shipped.map(|n| format!("orders/shipped/large-{n}.jpg"));
    let requests =
        (1..=106).flat_map(|n| [1, 2].map(|side| format!("custom_orders/large-{n}-{side}.jpg")));
    let of_sizes = [
        (sizes[0], products.collect::<Vec<_>>()),
        (sizes[1], shipped.collect()),
        (sizes[2], requests.collect()),
    ];
    let mut files = 161;
    for ((width, height), names) in of_sizes {
        let jpeg = images::jpeg(width, height);
        files += names.len();
        for (number, name) in names.iter().enumerate() {
            let file = match width * height < SMALL {
                true => images::jpeg(width + number as u32 % 32, height + number as u32 / 32),
                false => another(&jpeg, number),
            };
            std::fs::write(media.join(name), file).expect("a file");
        }
    }
    files
}

/// The image with other shades, by its table of quantization: to encode each anew takes longer than the import.
fn another(jpeg: &[u8], number: usize) -> Vec<u8> {
    let mut jpeg = jpeg.to_vec();
    let table = jpeg.windows(2).position(|bytes| bytes == [0xff, 0xdb]);
    let first = table.expect("a table") + 5;
    jpeg[first + 1] += (number % 32) as u8;
    jpeg[first + 2] += (number / 32) as u8;
    jpeg
}
