//! Categories and products.

use anyhow::ensure;
use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};

use super::decide::{CHANGED_IN_BOTH, sort};
use super::{Applied, Plan, rows};
use crate::django::findings::{Findings, add};
use crate::django::hashes::{self, RowKind};
use crate::django::target::{NewCategory, NewProduct};
use crate::error::Result;

pub(super) async fn write_categories(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    applied: &mut Applied,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let ours = &plan.known.categories;
    let rows = plan.target.categories.iter();
    let rows = rows.map(|category| (category.id.to_string(), category));
    let mut sorted = sort(plan, RowKind::Category, rows, |category| {
        ours.contains_key(&category.id)
    });
    for (id, category) in std::mem::take(&mut sorted.foreign) {
        // Products name their category by this number, so another category must not take its place.
        ensure!(
            ours.get(&category.id)
                .is_some_and(|ours| ours.name == category.name),
            "the new shop has a category {id} of its own, and the old shop has another one of this number: import into a \
             shop whose catalog is empty; nothing was imported"
        );
        sorted.changed.push(category);
    }
    sorted.name_kept(applied, findings, CHANGED_IN_BOTH);
    // A new one may have the name or the slug that another had.
    update_categories(conn, &sorted.changed).await?;
    rows::write(conn, INSERT_CATEGORIES, &sorted.new).await?;
    Ok(())
}

const INSERT_CATEGORIES: &str =
    "insert into categories (id, name, name_key, slug, description, position, created_at, updated_at)
     select id, name, name_key, slug, description, 0, created_at, updated_at
     from jsonb_to_recordset($1)
          as r (id bigint, name text, name_key text, slug text, description text, created_at timestamptz,
                updated_at timestamptz)";

/// Updates categories, which may have swapped their names or slugs.
async fn update_categories(conn: &mut PgConnection, changed: &[&NewCategory]) -> Result<()> {
    rows::write(
        conn,
        "update categories
         set name_key = null, slug = '~' || categories.id
         from jsonb_to_recordset($1) as r (id bigint)
         where categories.id = r.id",
        changed,
    )
    .await?;
    rows::write(
        conn,
        "update categories
         set name = r.name, name_key = r.name_key, slug = r.slug, description = r.description,
             updated_at = r.updated_at
         from jsonb_to_recordset($1)
              as r (id bigint, name text, name_key text, slug text, description text, updated_at timestamptz)
         where categories.id = r.id",
        changed,
    )
    .await?;
    Ok(())
}

pub(super) async fn write_products(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    applied: &mut Applied,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let rows = plan.target.products.iter();
    let rows = rows.map(|product| (product.id.clone(), product));
    let sorted = sort(plan, RowKind::Product, rows, |product| {
        plan.known.products.contains_key(&product.id)
    });
    sorted.name_kept(applied, findings, CHANGED_IN_BOTH);
    let text = "the new shop has a product of this id that no import made: ours stays";
    sorted.name_foreign(applied, &mut findings.conflicts, text);
    // A new one may have the slug that another had.
    update_products(conn, &sorted.changed).await?;
    insert_products(conn, &sorted.new, plan.is_paused).await?;
    let written: Vec<&NewProduct> = sorted.new.into_iter().chain(sorted.changed).collect();
    write_images(conn, &written).await?;
    Ok(())
}

async fn insert_products(
    conn: &mut PgConnection,
    new: &[&NewProduct],
    is_paused: bool,
) -> Result<()> {
    let sql = match is_paused {
        true => INSERT_PAUSED_PRODUCTS,
        false => INSERT_PRODUCTS,
    };
    rows::write(conn, sql, new).await?;
    Ok(())
}

macro_rules! insert_products {
    ($is_paused:literal) => {
        concat!(
            "insert into products (id, name, slug, lighter_type, price, currency, category_id, description, primary_image,
                                   secondary_image, weight_ounces, is_sold_out, is_active, created_at, updated_at,
                                   stripe_product_id, stripe_price_id, stripe_paused)
             select id, name, slug, lighter_type, price, currency, category_id, description, primary_image,
                    secondary_image, weight_ounces, is_sold_out, is_active, created_at, updated_at,
                    stripe_product_id, stripe_price_id, ",
            $is_paused,
            "
             from jsonb_to_recordset($1)
                  as r (id text, name text, slug text, lighter_type smallint, price bigint, currency text,
                        category_id bigint, description text, primary_image text, secondary_image text,
                        weight_ounces numeric, is_sold_out boolean, is_active boolean, created_at timestamptz,
                        updated_at timestamptz, stripe_product_id text, stripe_price_id text)"
        )
    };
}

const INSERT_PAUSED_PRODUCTS: &str = insert_products!("true");
const INSERT_PRODUCTS: &str = insert_products!("false");

/// Updates products, which may have swapped their slugs. Their ids at Stripe follow as long as the old shop makes them.
async fn update_products(conn: &mut PgConnection, changed: &[&NewProduct]) -> Result<()> {
    rows::write(
        conn,
        "update products
         set slug = '~' || products.id
         from jsonb_to_recordset($1) as r (id text)
         where products.id = r.id",
        changed,
    )
    .await?;
    rows::write(
        conn,
        "update products p
         set name = r.name, slug = r.slug, lighter_type = r.lighter_type, price = r.price, currency = r.currency,
             category_id = r.category_id, description = r.description, primary_image = r.primary_image,
             secondary_image = r.secondary_image, weight_ounces = r.weight_ounces, is_sold_out = r.is_sold_out,
             is_active = r.is_active, created_at = r.created_at, updated_at = r.updated_at, deleted_at = null,
             version = p.version + 1,
             price_version = p.price_version
                 + case when (p.price, p.currency) = (r.price, r.currency) then 0 else 1 end,
             stripe_status = 'pending',
             stripe_product_id = case when p.stripe_paused then r.stripe_product_id else p.stripe_product_id end,
             stripe_price_id = case when p.stripe_paused then r.stripe_price_id else p.stripe_price_id end
         from jsonb_to_recordset($1)
              as r (id text, name text, slug text, lighter_type smallint, price bigint, currency text,
                    category_id bigint, description text, primary_image text, secondary_image text,
                    weight_ounces numeric, is_sold_out boolean, is_active boolean, created_at timestamptz,
                    updated_at timestamptz, stripe_product_id text, stripe_price_id text)
         where p.id = r.id",
        changed,
    )
    .await?;
    Ok(())
}

async fn write_images(conn: &mut PgConnection, products: &[&NewProduct]) -> Result<()> {
    #[derive(Serialize)]
    struct ProductImages<'a> {
        id: &'a str,
        images: &'a [crate::types::ids::ImageId],
    }
    let images: Vec<ProductImages<'_>> = products
        .iter()
        .map(|product| ProductImages {
            id: &product.id,
            images: &product.images,
        })
        .collect();
    rows::write(
        conn,
        "delete from product_images
         using jsonb_to_recordset($1) as r (id text)
         where product_id = r.id",
        &images,
    )
    .await?;
    rows::write(
        conn,
        "insert into product_images (product_id, position, image_id)
         select r.id, image.position - 1, image.id
         from jsonb_to_recordset($1) as r (id text, images jsonb)
         cross join jsonb_array_elements_text(r.images) with ordinality as image (id, position)",
        &images,
    )
    .await?;
    Ok(())
}

/// Takes products that the old shop deleted out of the shop, and frees their slugs.
pub(super) async fn remove_products(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    findings: &mut Findings,
) -> Result<()> {
    let there: std::collections::HashSet<&str> = plan
        .target
        .products
        .iter()
        .map(|product| product.id.as_str())
        .collect();
    let Some(known) = plan.known.rows.get(&RowKind::Product) else {
        return Ok(());
    };
    let mut gone: Vec<&str> = known
        .keys()
        .map(String::as_str)
        .filter(|id| !there.contains(id))
        .collect();
    gone.sort_unstable();
    for id in gone {
        let row = format!("product {id}");
        let is_deleted = plan
            .known
            .products
            .get(id)
            .is_none_or(|ours| ours.is_deleted);
        if is_deleted {
            add(
                &mut findings.gone,
                row,
                "the old shop deleted it: it left this shop, too",
            );
            continue;
        }
        if !known[id].is_untouched {
            add(
                &mut findings.gone,
                row,
                "the old shop deleted it, and it changed here: it stays",
            );
            continue;
        }
        sqlx::query(
            "update products
             set deleted_at = now(), is_active = false, version = version + 1
             where id = $1",
        )
        .bind(id)
        .execute(&mut *conn)
        .await?;
        record_removal(conn, id).await?;
        add(
            &mut findings.gone,
            row,
            "the old shop deleted it: it left this shop, too",
        );
    }
    Ok(())
}

/// Records the removal under another hash than any row's, so that a product that comes back is followed.
async fn record_removal(conn: &mut PgConnection, id: &str) -> Result<()> {
    let sql = format!(
        "update import_rows i
         set wanted = 'deleted', made = ours.hash
         from ({}) as ours
         where ours.id = i.id
           and i.kind = 'product'
           and i.id = $1",
        hashes::of(RowKind::Product)
    );
    // The text is made of constants.
    sqlx::query(AssertSqlSafe(sql))
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}
