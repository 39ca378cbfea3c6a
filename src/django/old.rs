//! The old shop's rows as types, whichever of its forms the database has.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::ensure;
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::row::RowReader;
use super::source::{CATEGORIES, ITEMS, ORDERS, PRODUCT_IMAGES, PRODUCTS, REQUESTS, Source, USERS};

/// Everything that the old shop has.
pub struct OldShop {
    pub categories: Vec<OldCategory>,
    pub products: Vec<OldProduct>,
    /// In the order of their numbers: by time, then by id.
    pub orders: Vec<OldOrder>,
    /// In the order in which they were made.
    pub requests: Vec<OldRequest>,
    pub users: Vec<OldUser>,
    /// Lines whose order is not in the database, as `orders_orderitem 17`.
    pub stray_items: Vec<String>,
}

/// A line comes to less than this many cents, so that no sum of lines overflows.
const MOST_OF_A_LINE: i64 = 1 << 53;

/// A row of `products_category`.
pub struct OldCategory {
    pub id: i64,
    pub name: String,
    pub slug: String,
    pub description: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A row of `products_product`.
pub struct OldProduct {
    pub id: String,
    pub name: String,
    pub slug: String,
    pub lighter_type: String,
    pub price: i64,
    pub currency: String,
    pub stripe_product_id: Option<String>,
    pub stripe_price_id: Option<String>,
    pub category_id: Option<i64>,
    pub description: String,
    /// Paths as written: the primary one, the secondary one, then those of the older form.
    pub images: Vec<String>,
    pub is_sold_out: bool,
    pub is_active: bool,
    pub inventory_count: i32,
    /// Hundredths of an ounce.
    pub weight: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A row of `orders_order` with its lines.
pub struct OldOrder {
    pub id: Uuid,
    pub session: Option<String>,
    pub payment: Option<String>,
    pub amount_total: i64,
    pub currency: String,
    pub status: String,
    pub email: Option<String>,
    pub address: Value,
    pub is_custom_order: bool,
    pub shipped_at: Option<DateTime<Utc>>,
    pub tracking_number: Option<String>,
    pub carrier: Option<String>,
    pub image: Option<String>,
    pub created_at: DateTime<Utc>,
    pub items: Vec<OldItem>,
}

/// A row of `orders_orderitem`.
pub struct OldItem {
    pub product_id: String,
    /// Kept by the oldest forms only.
    pub product_name: Option<String>,
    pub unit_price: i64,
    pub quantity: i32,
}

/// A row of `custom_orders_customorderrequest`.
pub struct OldRequest {
    pub id: Uuid,
    pub name: String,
    pub email: String,
    pub description: String,
    pub colors: Option<String>,
    pub images: Value,
    pub status: String,
    pub admin_notes: String,
    /// Cents.
    pub quoted_price: Option<i64>,
    pub link: Option<String>,
    pub completion_images: Value,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub order: Option<Uuid>,
}

/// A row of `auth_user`.
pub struct OldUser {
    pub id: i64,
    pub username: String,
    pub email: String,
    pub is_superuser: bool,
    pub is_staff: bool,
    pub is_active: bool,
    pub joined_at: Option<DateTime<Utc>>,
}

/// Columns of a table that the import reads, or ignores on purpose, separated by blanks.
pub fn known_columns(table: &str) -> &'static str {
    match table {
        CATEGORIES => "id name slug description created_at updated_at",
        // pattern and custom_pattern became categories, or were dropped.
        PRODUCTS => {
            "id name slug lighter_type price currency stripe_product_id stripe_price_id category_id description
             primary_image secondary_image image pattern custom_pattern is_sold_out is_active inventory_count
             weight_ounces created_at updated_at"
        }
        PRODUCT_IMAGES => "id image alt_text is_primary order product_id created_at",
        ORDERS => {
            "id stripe_session_id stripe_payment_intent amount_total currency status customer_email shipping_address
             is_custom_order shipped_at tracking_number shipping_carrier product_image created_at"
        }
        // The type of the product at that time: the product has it.
        ITEMS => "id order_id product_id product_name lighter_type unit_price quantity",
        REQUESTS => {
            "id name email description colors images status admin_notes quoted_price stripe_payment_link
             stripe_payment_intent completion_images created_at updated_at related_order_id"
        }
        USERS => {
            "id username email password is_superuser is_staff is_active date_joined last_login first_name last_name"
        }
        _ => "id app name applied",
    }
}

impl OldShop {
    /// Reads all rows.
    ///
    /// # Errors
    /// A sentence that names the row that no rule fits.
    pub fn read(source: &Source) -> anyhow::Result<OldShop> {
        let mut orders = read_all(source, ORDERS, OldOrder::read)?;
        orders.sort_by_key(|order| (order.created_at, order.id));
        let stray_items = add_items(source, &mut orders)?;
        let mut requests = read_all(source, REQUESTS, OldRequest::read)?;
        requests.sort_by_key(|request| (request.created_at, request.id));
        let mut products = read_all(source, PRODUCTS, OldProduct::read)?;
        products.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        add_further_images(source, &mut products)?;
        let mut categories = read_all(source, CATEGORIES, OldCategory::read)?;
        categories.sort_by_key(|category| category.id);
        let mut users = read_all(source, USERS, OldUser::read)?;
        users.sort_by_key(|user| user.id);
        Ok(OldShop {
            categories,
            products,
            orders,
            requests,
            users,
            stray_items,
        })
    }
}

/// Reads a table. Copies without constraints may have an id twice, and then nobody knows which row is the right one.
fn read_all<T>(
    source: &Source,
    table: &'static str,
    read: impl Fn(&RowReader<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let mut ids = HashSet::new();
    let mut all = Vec::new();
    for row in &source.table(table).rows {
        let row = RowReader::new(table, row);
        ensure!(
            !row.text("id").is_empty(),
            "{table} has a row without an id: nothing was imported"
        );
        let id = match table {
            ORDERS | REQUESTS => row.uuid("id")?.to_string(),
            _ => row.text("id"),
        };
        ensure!(
            ids.insert(id),
            "{} is there twice: nothing was imported",
            row.name()
        );
        all.push(read(&row)?);
    }
    Ok(all)
}

/// Gives each order its lines, in the order of their ids. Returns those of no order.
fn add_items(source: &Source, orders: &mut [OldOrder]) -> anyhow::Result<Vec<String>> {
    let places: HashMap<Uuid, usize> = orders
        .iter()
        .enumerate()
        .map(|(place, order)| (order.id, place))
        .collect();
    let mut items = BTreeMap::new();
    for row in &source.table(ITEMS).rows {
        let row = RowReader::new(ITEMS, row);
        let id = row.integer("id")?;
        let item = OldItem {
            product_id: row.text("product_id"),
            product_name: row.optional_text("product_name"),
            unit_price: row.amount("unit_price")?,
            quantity: row.count("quantity")?,
        };
        let sum = item.unit_price.checked_mul(i64::from(item.quantity));
        ensure!(
            sum.is_some_and(|sum| sum.abs() < MOST_OF_A_LINE),
            row.unfit("quantity", "one that any stock has at this price")
        );
        let twin = items.insert(id, (row.optional_uuid("order_id")?, item));
        ensure!(
            twin.is_none(),
            "{} is there twice: nothing was imported",
            row.name()
        );
    }
    let mut stray = Vec::new();
    for (id, (order, item)) in items {
        match order.and_then(|order| places.get(&order)) {
            Some(place) => orders[*place].items.push(item),
            None => stray.push(format!("{ITEMS} {id}")),
        }
    }
    Ok(stray)
}

/// Adds the images of the table that products.0015 dropped, in their order, after those of the product's own columns.
fn add_further_images(source: &Source, products: &mut [OldProduct]) -> anyhow::Result<()> {
    let mut further: BTreeMap<String, Vec<(i64, i64, String)>> = BTreeMap::new();
    for row in &source.table(PRODUCT_IMAGES).rows {
        let row = RowReader::new(PRODUCT_IMAGES, row);
        let position = match row.optional_text("order") {
            Some(_) => row.integer("order")?,
            None => 0,
        };
        if let Some(image) = row.optional_text("image") {
            let of_product = further.entry(row.text("product_id")).or_default();
            of_product.push((position, row.integer("id")?, image));
        }
    }
    for product in products {
        let mut images = further.remove(&product.id).unwrap_or_default();
        images.sort();
        let images = images.into_iter().map(|(.., image)| image);
        product.images.extend(images);
    }
    Ok(())
}

impl OldCategory {
    fn read(row: &RowReader<'_>) -> anyhow::Result<OldCategory> {
        let created_at = row.time("created_at")?;
        Ok(OldCategory {
            id: row.integer("id")?,
            name: row.text_within("name", 100)?,
            slug: row.text("slug"),
            description: row.text("description"),
            created_at,
            updated_at: row.optional_time("updated_at")?.unwrap_or(created_at),
        })
    }
}

impl OldProduct {
    fn read(row: &RowReader<'_>) -> anyhow::Result<OldProduct> {
        let created_at = row.time("created_at")?;
        let primary = row.optional_text("primary_image");
        let images = [
            primary.or_else(|| row.optional_text("image")),
            row.optional_text("secondary_image"),
        ];
        let category_id = match row.optional_text("category_id") {
            Some(_) => Some(row.integer("category_id")?),
            None => None,
        };
        Ok(OldProduct {
            id: row.text_within("id", 100)?,
            name: row.text_within("name", 255)?,
            slug: row.text("slug"),
            lighter_type: row.text("lighter_type"),
            price: row.integer("price")?,
            currency: row.text("currency"),
            stripe_product_id: row.optional_text("stripe_product_id"),
            stripe_price_id: row.optional_text("stripe_price_id"),
            category_id,
            description: row.text("description"),
            images: images.into_iter().flatten().collect(),
            is_sold_out: row.boolean("is_sold_out", false)?,
            is_active: row.boolean("is_active", true)?,
            inventory_count: row.count("inventory_count")?,
            weight: row.dollars_in_cents("weight_ounces")?,
            created_at,
            updated_at: row.optional_time("updated_at")?.unwrap_or(created_at),
        })
    }
}

impl OldOrder {
    /// Returns true when the old shop calls it shipped, or says when it was.
    pub fn was_shipped(&self) -> bool {
        let word = self.status.trim().to_lowercase();
        self.shipped_at.is_some() || ["shipped", "delivered", "completed"].contains(&word.as_str())
    }

    fn read(row: &RowReader<'_>) -> anyhow::Result<OldOrder> {
        Ok(OldOrder {
            id: row.uuid("id")?,
            session: row.optional_text("stripe_session_id"),
            payment: row.optional_text("stripe_payment_intent"),
            amount_total: row.amount("amount_total")?,
            currency: row.text("currency"),
            status: row.text("status"),
            email: row.optional_text("customer_email"),
            address: row.json("shipping_address"),
            is_custom_order: row.boolean("is_custom_order", false)?,
            shipped_at: row.optional_time("shipped_at")?,
            tracking_number: row.optional_text("tracking_number"),
            carrier: row.optional_text("shipping_carrier"),
            image: row.optional_text("product_image"),
            created_at: row.time("created_at")?,
            items: Vec::new(),
        })
    }
}

impl OldRequest {
    fn read(row: &RowReader<'_>) -> anyhow::Result<OldRequest> {
        let created_at = row.time("created_at")?;
        Ok(OldRequest {
            id: row.uuid("id")?,
            name: row.text("name"),
            email: row.text("email"),
            description: row.text("description"),
            colors: row.optional_text("colors"),
            images: row.json("images"),
            status: row.text("status"),
            admin_notes: row.text("admin_notes"),
            quoted_price: row.dollars_in_cents("quoted_price")?,
            link: row.optional_text("stripe_payment_link"),
            completion_images: row.json("completion_images"),
            created_at,
            updated_at: row.optional_time("updated_at")?.unwrap_or(created_at),
            order: row.optional_uuid("related_order_id")?,
        })
    }
}

impl OldUser {
    fn read(row: &RowReader<'_>) -> anyhow::Result<OldUser> {
        Ok(OldUser {
            id: row.integer("id")?,
            username: row.text("username"),
            email: row.text("email"),
            is_superuser: row.boolean("is_superuser", false)?,
            is_staff: row.boolean("is_staff", false)?,
            is_active: row.boolean("is_active", true)?,
            joined_at: row.optional_time("date_joined")?,
        })
    }
}
