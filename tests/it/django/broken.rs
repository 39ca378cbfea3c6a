//! Old shops that cannot be read: each ends in one clear sentence, and nothing is kept.

use super::{Takeover, in_postgres};

/// Fails with a sentence that has these words in it.
async fn refuses(takeover: &Takeover, words: &[&str]) {
    let complaint = takeover.fail(&[]).await;
    for word in words {
        assert!(complaint.contains(word), "{word}: {complaint}");
    }
    assert_eq!(
        complaint.trim_end().lines().count(),
        1,
        "one sentence: {complaint}"
    );
    assert!(!complaint.contains("panicked"), "{complaint}");
    assert_eq!(takeover.one::<i64>("select count(*) from images").await, 0);
}

#[tokio::test]
async fn a_table_is_missing() {
    for table in [
        "orders_orderitem",
        "products_category",
        "custom_orders_customorderrequest",
        "auth_user",
    ] {
        let takeover = Takeover::begin().await;
        takeover.change(&format!("drop table {table}")).await;
        refuses(&takeover, &["no table", table, "nothing was imported"]).await;
    }
}

#[tokio::test]
async fn a_column_is_missing() {
    let takeover = Takeover::begin().await;
    takeover
        .change("alter table orders_order rename column amount_total to total")
        .await;
    refuses(&takeover, &["orders_order has no column amount_total"]).await;
}

#[tokio::test]
async fn the_media_folder_is_wrong() {
    let mut takeover = Takeover::begin().await;
    takeover.media = takeover.beside.home.dir.join("nowhere");
    refuses(&takeover, &["no media folder", "nowhere"]).await;
    takeover.media = takeover.sqlite.clone();
    refuses(&takeover, &["is no folder"]).await;
    takeover.media = takeover.beside.home.dir.join("empty");
    std::fs::create_dir(&takeover.media).expect("a folder");
    refuses(&takeover, &["none of the", "image files", "the wrong one"]).await;
}

#[tokio::test]
async fn the_file_is_cut_off_or_none() {
    let takeover = Takeover::begin().await;
    let whole = std::fs::read(&takeover.sqlite).expect("a file");
    for length in [whole.len() - 4096, whole.len() / 2, 4096, 100] {
        std::fs::write(&takeover.sqlite, &whole[..length]).expect("a file");
        refuses(
            &takeover,
            &["reading the old shop's database", "old.sqlite3"],
        )
        .await;
    }
    std::fs::write(&takeover.sqlite, "This is a text.".repeat(1000)).expect("a file");
    refuses(&takeover, &["no SQLite database"]).await;
    std::fs::write(&takeover.sqlite, "").expect("a file");
    refuses(&takeover, &["no table"]).await;
    std::fs::remove_file(&takeover.sqlite).expect("a file");
    refuses(&takeover, &["there is no such file"]).await;
    assert!(!takeover.sqlite.exists(), "nothing is made");
}

#[tokio::test]
async fn the_prices_are_in_dollars() {
    let takeover = Takeover::begin().await;
    let cents = "products.0005_product_currency_product_stripe_price_id_and_more";
    takeover
        .change("delete from django_migrations where app = 'products' and name like '0005%'")
        .await;
    refuses(&takeover, &["in dollars", cents]).await;
    // A copy without Django's own table tells by its type.
    takeover
        .change(
            "drop table django_migrations;
             alter table products_product add column dollars decimal;
             update products_product set dollars = price / 100.0;
             alter table products_product drop column price;
             alter table products_product rename column dollars to price;",
        )
        .await;
    refuses(&takeover, &["in dollars", cents]).await;
}

#[tokio::test]
async fn a_row_fits_no_rule() {
    for (change, words) in [
        (
            "update orders_order set created_at = 'yesterday' where rowid = 5",
            ["created_at is not a time", "orders_order"],
        ),
        (
            "update orders_order set amount_total = 'much' where rowid = 5",
            ["amount_total is not a whole number", "orders_order"],
        ),
        (
            "update orders_order set id = 'x' where rowid = 5",
            ["id is not a UUID", "orders_order x"],
        ),
        (
            "update custom_orders_customorderrequest set quoted_price = 'a lot' where rowid = 2",
            ["quoted_price is not an amount", "custom_orders"],
        ),
        (
            "update products_product set is_active = 'maybe' where id = '1'",
            ["is_active is not true or false", "products_product 1"],
        ),
        (
            "update products_product set inventory_count = 5000000000 where id = '1'",
            [
                "inventory_count is not a number of pieces",
                "products_product 1",
            ],
        ),
        (
            "update products_product set name = printf('%0256d', 1) where id = '1'",
            ["name is not at most 255 characters", "products_product 1"],
        ),
        (
            "update products_category set name = printf('%0101d', 1) where id = 1",
            ["name is not at most 100 characters", "products_category 1"],
        ),
        (
            "update orders_orderitem set unit_price = 1000000000000, quantity = 2147483647 where rowid = 1",
            [
                "quantity is not one that any stock has",
                "orders_orderitem 1",
            ],
        ),
    ] {
        let takeover = Takeover::begin().await;
        takeover.change(change).await;
        refuses(&takeover, &words).await;
    }
}

#[tokio::test]
async fn a_copy_has_a_row_twice() {
    let takeover = Takeover::begin().await;
    takeover
        .change(
            "create table copy as select * from orders_order;
             drop table orders_order;
             alter table copy rename to orders_order;
             insert into orders_order select * from orders_order limit 1;
             update orders_order set id = upper(id) where rowid = (select max(rowid) from orders_order);",
        )
        .await;
    refuses(&takeover, &["orders_order", "is there twice"]).await;
}

#[tokio::test]
async fn the_database_cannot_be_reached() {
    let mut takeover = Takeover::begin().await;
    takeover.sqlite = "nowhere".into();
    let url = "postgres://shop:hunter2@127.0.0.1:1/old";
    takeover
        .beside
        .settings
        .push(("DJANGO_DATABASE_URL", url.to_owned()));
    let complaint = takeover.fail(&[]).await;
    assert!(
        complaint.contains("DJANGO_DATABASE_URL") && complaint.contains("connecting"),
        "{complaint}"
    );
    assert!(!complaint.contains("hunter2"), "{complaint}");
}

#[tokio::test]
async fn a_difference_keeps_nothing_and_names_its_row() {
    let (_database, url) = in_postgres().await;
    for (spoil, words) in [
        (
            "create function spoil() returns trigger language plpgsql as $$
             begin
                 if new.id = 'c65ae89d-5417-40a3-b10b-b138611f4dc3' then
                     new.total := new.total + 1; new.subtotal := new.subtotal + 1;
                 end if;
                 return new;
             end $$;
             create trigger spoil before insert on orders for each row execute function spoil()",
            ["order c65ae89d-5417-40a3-b10b-b138611f4dc3", "money by month"],
        ),
        (
            "create function spoil() returns trigger language plpgsql as $$
             begin
                 return case when new.position > 0 then null else new end;
             end $$;
             create trigger spoil before insert on product_images for each row execute function spoil()",
            ["images came in, and it has 1", "product"],
        ),
        (
            "create function spoil() returns trigger language plpgsql as $$
             begin
                 return case when new.product_id = 'odd-steady' then null else new end;
             end $$;
             create trigger spoil before insert on stock_movements for each row execute function spoil()",
            ["product odd-steady: 50 on hand, the ledger says 0", "50 pieces in the old shop, 0 from it in the ledger"],
        ),
        (
            "create function spoil() returns trigger language plpgsql as $$
             begin
                 return case when new.id = 'pi_3xu1gMjGcqQcC0a5AqQcNU1N' then null else new end;
             end $$;
             create trigger spoil before insert on payments for each row execute function spoil()",
            ["payment pi_3xu1gMjGcqQcC0a5AqQcNU1N", "it is not here"],
        ),
        (
            "create function spoil() returns trigger language plpgsql as $$
             begin
                 new.description := new.description || '.';
                 return new;
             end $$;
             create trigger spoil before insert on custom_orders for each row execute function spoil()",
            ["custom order a8c1bbc2-df69-45d2-94f4-694ab6ac9329", "and 19 more"],
        ),
    ] {
        let mut takeover = Takeover::begin().await;
        takeover.beside.settings.push(("DJANGO_DATABASE_URL", url.clone()));
        sqlx::raw_sql(spoil).execute(&takeover.shop.db).await.expect("a trigger");
        let complaint = takeover.fail(&[]).await;
        for word in words {
            assert!(complaint.contains(word), "{word}: {complaint}");
        }
    }
}
