//! The page that edits one product.

use askama::Template;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};

use super::context::AdminContext;
use super::form::{Form, by_field, slug_as_field_error};
use super::image_form::ImageForm;
use super::products::path_to;
use super::sign_in::refused;
use crate::app::App;
use crate::error::{Code, Error, FieldError, Result};
use crate::http::{Path, Query};
use crate::products::categories::{self, CountedCategory};
use crate::products::{
    self, MAX_IMAGES, MovementView, Product, ProductInput, StockInput, Write, lighter_type_display,
};
use crate::types::ids::ImageId;
use crate::types::money::{Cents, Currency};

/// Number of stock movements shown on a product's page.
const LEDGER: i64 = 50;

/// The fields of the form, with their labels.
const FIELDS: [(&str, &str); 8] = [
    ("name", "Name"),
    ("slug", "Address"),
    ("price", "Price"),
    ("category", "Category"),
    ("lighter_type", "Size"),
    ("weight_ounces", "Weight"),
    ("description", "Description"),
    ("is_sold_out", "Sold out"),
];

/// The page of a product, or of a new one.
#[derive(Template)]
#[template(path = "product.html", config = "src/admin/askama.toml")]
pub struct ProductPage<'a> {
    context: &'a AdminContext,
    /// `None` on the page for a new product.
    product: Option<Product>,
    form: Form,
    /// Field values when the form was opened.
    was: Form,
    version: i64,
    /// Fields that somebody else changed in the meantime.
    clashes: Vec<Clash>,
    stock_form: Form,
    pub schedule_form: Form,
    pub image_error: Option<String>,
    /// Images that were uploaded with a refused form of a new product. The form carries them along.
    kept: Vec<ImageId>,
    /// The image that was just removed, and its index, to undo that.
    removed: Option<(ImageId, usize)>,
    categories: Vec<CountedCategory>,
    movements: Vec<MovementView>,
    movement_count: i64,
}

/// A field that somebody else changed while the form was open.
struct Clash {
    field: &'static str,
    label: &'static str,
    was: String,
    theirs: String,
    /// The value typed here, if it differs. It stays in the form.
    yours: Option<String>,
}

impl ProductPage<'_> {
    fn heading(&self) -> &str {
        let product = self.product.as_ref();
        product.map_or("A new product", |product| &product.name)
    }

    /// Returns the value that somebody else saved for a field in the meantime.
    fn theirs(&self, field: &str) -> Option<&str> {
        let clash = self.clashes.iter().find(|clash| clash.field == field)?;
        Some(&clash.theirs)
    }

    /// Value of the field for the time at which a draft goes on sale.
    fn on_sale_at(&self) -> String {
        if self.schedule_form.has_errors() {
            return self.schedule_form.get("on_sale_at");
        }
        let product = self.product.as_ref();
        let at = product.and_then(|product| product.on_sale_at);
        at.map(|at| self.context.local_time(&at))
            .unwrap_or_default()
    }

    fn currency(&self) -> Currency {
        self.context.currency()
    }

    /// URL of the product at Stripe, or of the sandbox.
    fn at_stripe(&self, id: &str) -> String {
        let key = self.context.app.config.stripe.secret_key.as_ref();
        match key.map(|key| key.reveal()) {
            None => "/sandbox/".to_owned(),
            Some(key) if key.contains("_test_") => {
                format!("https://dashboard.stripe.com/test/products/{id}")
            }
            Some(_) => format!("https://dashboard.stripe.com/products/{id}"),
        }
    }
}

fn reason(reason: &str) -> &str {
    match reason {
        "initial" => "First stock",
        "received" => "Received",
        "made" => "Made",
        "correction" => "Correction",
        "damaged" => "Damaged",
        "lost" => "Lost",
        "returned" => "Returned",
        "sale" => "Sold",
        "import" => "Imported",
        other => other,
    }
}

/// `GET /admin/new-product`: not below `/admin/products/`, because a product's id may be any text.
pub async fn show_new(State(app): State<App>, context: AdminContext) -> Result<Response> {
    let form = Form::of(&[
        ("lighter_type", "1"),
        ("weight_ounces", "2.00"),
        ("count", "1"),
    ]);
    new_page(&app, &context, form, Vec::new(), None).await
}

async fn new_page(
    app: &App,
    context: &AdminContext,
    form: Form,
    kept: Vec<ImageId>,
    image_error: Option<String>,
) -> Result<Response> {
    let faulty = form.has_errors();
    let page = context.show(&ProductPage {
        context,
        product: None,
        form,
        was: Form::default(),
        version: 0,
        clashes: Vec::new(),
        stock_form: Form::default(),
        schedule_form: Form::default(),
        image_error,
        kept,
        removed: None,
        categories: categories::list(&mut *app.db.acquire().await?).await?,
        movements: Vec::new(),
        movement_count: 0,
    })?;
    Ok(with_status(page, faulty.then_some(StatusCode::BAD_REQUEST)))
}

/// `POST /admin/new-product`: creates a product with its images. If the form is refused, the images that arrived with it
/// stay with the form; those of a form that is given up are swept.
pub async fn create(
    State(app): State<App>,
    context: AdminContext,
    request: Request,
) -> Result<Response> {
    let ImageForm {
        form,
        images: batch,
        refusals,
    } = ImageForm::read(&app, request, "image").await?;
    let kept = form.all("kept").into_iter().filter_map(ImageId::parse);
    let mut images: Vec<ImageId> = Vec::new();
    // A photograph that is chosen again is the same image.
    for id in kept.chain(batch.ids()) {
        if !images.contains(&id) {
            images.push(id);
        }
    }
    let made = async {
        let (mut fields, mut field_errors) = read(&form, app.config.shop.currency);
        if images.len() > MAX_IMAGES {
            let sentence = format!("A product has up to {MAX_IMAGES} images. Leave some out.");
            field_errors.push(FieldError::new("images", sentence));
        }
        match form.get("count").as_str() {
            "" => {}
            count => match count.parse::<i64>() {
                Ok(count) => {
                    fields.insert("inventory_count".to_owned(), count.into());
                }
                Err(_) => {
                    field_errors.push(FieldError::new("count", "Must be a whole number, like 3."))
                }
            },
        }
        fields.insert("is_draft".to_owned(), (form.get("sale") != "now").into());
        let images = images.iter().take(MAX_IMAGES);
        let ids: Vec<Value> = images.map(|id| id.to_string().into()).collect();
        fields.insert("images".to_owned(), ids.into());
        let mut tx = app.db.begin().await?;
        let input = ProductInput::parse(fields, Write::Create, &[], app.config.shop.currency);
        let made = products::create(&mut tx, &context.actor()?, input).await;
        let product = with_field_errors(made.map_err(slug_as_field_error), field_errors)?;
        tx.commit().await?;
        Ok(product)
    };
    match made.await {
        Ok(product) => {
            batch.done();
            let mut said = match product.is_draft {
                true => format!("{} is saved as a draft.", product.name),
                false => format!("{} is on sale.", product.name),
            };
            if images.is_empty() {
                said.push_str(" Add its images next.");
            }
            for refusal in &refusals {
                said.push(' ');
                said.push_str(refusal);
            }
            Ok(context.go_on(&path_to(&product), &said))
        }
        Err(error) => {
            let form = form.refused(by_field(error))?;
            batch.done();
            let image_error = (!refusals.is_empty()).then(|| refusals.join(" "));
            new_page(&app, &context, form, images, image_error).await
        }
    }
}

/// `GET /admin/products/{id}`: accepts an id or a slug.
pub async fn show(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response> {
    let product = products::find(&mut *app.db.acquire().await?, &id).await?;
    let given = |name| query.get(name).unwrap_or_default();
    let removed = ImageId::parse(given("removed"));
    let removed = removed.filter(|id| product.images.iter().all(|image| image.id != *id));
    let at = given("at").parse().unwrap_or_default();
    let mut page = ProductPage::open(&app, &context, product).await?;
    page.removed = removed.map(|id| (id, at));
    context.show(&page)
}

impl<'a> ProductPage<'a> {
    /// Loads the page of a product with its current values.
    pub async fn open(
        app: &App,
        context: &'a AdminContext,
        product: Product,
    ) -> Result<ProductPage<'a>> {
        let mut conn = app.db.acquire().await?;
        let (movement_count, movements) =
            products::latest_movements(&mut conn, &product.id, LEDGER).await?;
        let form = form_of(&product);
        Ok(ProductPage {
            context,
            was: form.clone(),
            form,
            version: product.version,
            product: Some(product),
            clashes: Vec::new(),
            stock_form: Form::default(),
            schedule_form: Form::default(),
            image_error: None,
            kept: Vec::new(),
            removed: None,
            categories: categories::list(&mut conn).await?,
            movements,
            movement_count,
        })
    }
}

/// `POST /admin/products/{id}`: saves the fields that the form changed. If somebody else changed some of the same
/// fields, the page shows their values and saves nothing.
pub async fn change(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let product = products::find(&mut *app.db.acquire().await?, &id).await?;
    let version: i64 = form.get("version").parse().unwrap_or_default();
    let error = match save(&app, &context, &product, version, &form).await {
        Ok(saved) => return Ok(is_saved(&context, &saved)),
        Err(error) => error,
    };
    // The current state, which may be newer than the one that caused the conflict.
    let product = products::find(&mut *app.db.acquire().await?, &id).await?;
    let mut page = ProductPage::open(&app, &context, product).await?;
    let status = error.status();
    match error {
        Error::Conflict(Code::VersionConflict, _) => {
            page.merge(&form);
            if let Some(product) = page.product.as_ref().filter(|_| page.clashes.is_empty()) {
                // The concurrent change touched no field of this form; it may have changed the images.
                let saved = save(&app, &context, product, page.version, &form).await?;
                return Ok(is_saved(&context, &saved));
            }
        }
        other => {
            page.was = Form::of_pairs(FIELDS.iter().map(|(field, _)| {
                let was = form.get(&format!("was_{field}"));
                ((*field).to_owned(), was)
            }));
            page.version = version;
            page.form = form.refused(other)?;
        }
    }
    Ok(with_status(context.show(&page)?, Some(status)))
}

fn is_saved(context: &AdminContext, product: &Product) -> Response {
    context.go_on(&path_to(product), &format!("{} is saved.", product.name))
}

async fn save(
    app: &App,
    context: &AdminContext,
    product: &Product,
    version: i64,
    form: &Form,
) -> Result<Product> {
    let (mut fields, field_errors) = read(form, app.config.shop.currency);
    if form.get("slug") == product.slug {
        // It stays, even one that was copied from another shop and would not be allowed anew.
        fields.remove("slug");
    }
    let mut input = ProductInput::parse(fields, Write::Patch, &[], app.config.shop.currency);
    if form.get("slug").is_empty() {
        input.value.slug = Some(String::new());
    }
    let mut tx = app.db.begin().await?;
    let (actor, version) = (context.actor()?, Some(version));
    let saved = products::change(&mut tx, &actor, &product.id.0, version, input).await;
    let product = with_field_errors(saved.map_err(slug_as_field_error), field_errors)?;
    tx.commit().await?;
    Ok(product)
}

impl ProductPage<'_> {
    /// Merges the typed values with what somebody else saved in the meantime. A field that only they changed takes
    /// their value. If both changed it, the typed value stays and theirs is shown beside it. Saves nothing.
    fn merge(&mut self, typed: &Form) {
        let theirs = std::mem::take(&mut self.form);
        let mut merged = Vec::new();
        for (field, label) in FIELDS {
            let was = unix(typed.get(&format!("was_{field}")));
            let mine = unix(typed.get(field));
            let now = theirs.get(field);
            let stays = now == was || (mine != was && mine != now);
            if now != was {
                self.clashes.push(Clash {
                    field,
                    label,
                    was: self.shown(field, &was),
                    theirs: self.shown(field, &now),
                    yours: stays.then(|| self.shown(field, &mine)),
                });
            }
            merged.push((field.to_owned(), if stays { mine } else { now }));
        }
        self.form = Form::of_pairs(merged.into_iter());
        self.was = theirs;
    }

    /// Formats a field's value for people.
    fn shown(&self, field: &str, value: &str) -> String {
        let category = || {
            let mut all = self.categories.iter();
            let found = all.find(|one| one.category.id.to_string() == value)?;
            Some(found.category.name.clone())
        };
        match (field, value) {
            ("category", "") => "none".to_owned(),
            ("category", _) => category().unwrap_or_else(|| "one that was deleted".to_owned()),
            ("lighter_type", _) => lighter_type_display(value.parse().unwrap_or(0)).to_owned(),
            ("is_sold_out", "yes") => "yes".to_owned(),
            ("is_sold_out", _) => "no".to_owned(),
            (_, "") => "empty".to_owned(),
            _ => value.to_owned(),
        }
    }
}

/// `POST /admin/products/{id}/stock`: changes the stock, with a reason.
pub async fn change_stock(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let changed = async {
        let (reason, sign) = match form.get("reason").as_str() {
            "correction_more" => ("correction".to_owned(), 1),
            "correction_fewer" => ("correction".to_owned(), -1),
            goes @ ("damaged" | "lost") => (goes.to_owned(), -1),
            comes => (comes.to_owned(), 1),
        };
        let pieces: Option<i64> = form.get("pieces").parse().ok();
        let pieces = pieces.filter(|pieces| (1..=1_000_000).contains(pieces));
        let mut field_errors = Vec::new();
        if pieces.is_none() {
            field_errors.push(FieldError::new(
                "pieces",
                "Must be a whole number from 1 on.",
            ));
        }
        // A stand-in for a faulty number, so that the errors of the other fields are found, too.
        let fields = [
            ("delta", Value::from(sign * pieces.unwrap_or(1))),
            ("reason", reason.into()),
            ("note", unix(form.get("note")).into()),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        let input = StockInput::parse(fields.into_iter().collect());
        let mut tx = app.db.begin().await?;
        let done = products::change_stock(&mut tx, &context.actor()?, &id, input).await;
        let stock = match with_field_errors(done, field_errors) {
            // Beside the number, which the owner can lower.
            Err(Error::Conflict(Code::StockIsHeld, sentence)) => {
                Err(Error::invalid("pieces", sentence))
            }
            other => other,
        }?;
        tx.commit().await?;
        Ok(stock.inventory_count)
    };
    let changed = changed.await;
    let product = products::find(&mut *app.db.acquire().await?, &id).await?;
    match changed {
        Ok(1) => Ok(context.go_on(&path_to(&product), "1 piece is available now.")),
        Ok(n) => Ok(context.go_on(
            &path_to(&product),
            &format!("{n} pieces are available now."),
        )),
        Err(error) => {
            let mut page = ProductPage::open(&app, &context, product).await?;
            page.stock_form = form.refused(error)?;
            Ok(with_status(
                context.show(&page)?,
                Some(StatusCode::BAD_REQUEST),
            ))
        }
    }
}

/// Creates the form with a product's current values.
fn form_of(product: &Product) -> Form {
    let category = product.category_id.map(|id| id.to_string());
    let sold_out = if product.is_sold_out { "yes" } else { "" };
    Form::of(&[
        ("name", &product.name),
        ("slug", &product.slug),
        ("price", &product.price.plain(&product.currency)),
        ("category", &category.unwrap_or_default()),
        ("lighter_type", &product.lighter_type.to_string()),
        ("weight_ounces", &product.weight_ounces),
        ("description", &unix(product.description.clone())),
        ("is_sold_out", sold_out),
    ])
}

/// Maps the form to the API's fields. Returns errors for fields that the form writes differently than the API.
fn read(form: &Form, currency: Currency) -> (Map<String, Value>, Vec<FieldError>) {
    let mut fields = Map::new();
    let mut field_errors = Vec::new();
    for field in ["name", "slug", "weight_ounces", "description"] {
        let text = unix(form.get(field));
        // Without a slug, one is made from the name.
        if field != "slug" || !text.is_empty() {
            fields.insert(field.to_owned(), text.into());
        }
    }
    let size = form.get("lighter_type").parse::<i64>().unwrap_or_default();
    fields.insert("lighter_type".to_owned(), size.into());
    let category = form.get("category").parse::<i64>().ok();
    fields.insert("category".to_owned(), category.into());
    fields.insert(
        "is_sold_out".to_owned(),
        form.has("is_sold_out", "yes").into(),
    );
    match Cents::parse(&form.get("price"), currency.code()) {
        Some(price) if currency.check_charge(price).is_ok() => {
            fields.insert("price".to_owned(), price.0.into());
        }
        Some(_) => {
            let bounds = currency.charges_in_words();
            field_errors.push(FieldError::new("price", format!("Must be from {bounds}.")));
        }
        None => {
            let example = currency.example();
            field_errors.push(FieldError::new(
                "price",
                format!("Must be an amount like {example}."),
            ));
        }
    }
    (fields, field_errors)
}

/// Combines the result with errors found in the form. With errors, the result is `Err`, and the caller does not commit.
fn with_field_errors<T>(done: Result<T>, mut field_errors: Vec<FieldError>) -> Result<T> {
    if field_errors.is_empty() {
        return done;
    }
    if let Err(Error::Invalid(others)) = done {
        field_errors.extend(others);
    }
    Err(Error::Invalid(field_errors))
}

/// Converts the CRLF line breaks that browsers send.
fn unix(text: String) -> String {
    text.replace("\r\n", "\n")
}

/// Marks a page that refuses a form with its status.
pub fn with_status(page: Response, status: Option<StatusCode>) -> Response {
    match status {
        Some(status) => refused(page, status, None),
        None => page,
    }
}
