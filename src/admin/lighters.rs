//! Products from photographs: chosen, looked over in a table, then made. Nothing is kept between the steps but the images,
//! which are swept if the form is given up.

use askama::Template;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::context::AdminContext;
use super::form::Form;
use super::sign_in::refused;
use crate::app::App;
use crate::error::{Error, FieldError, Result};
use crate::images::{self, Archive, Batch, FormLimits, ReceivedFile};
use crate::products::categories::{self, CountedCategory};
use crate::products::lighters::{self, Lighter, LighterDraft, Matching, Step, Summary};
use crate::types::ids::ImageId;
use crate::types::money::{Cents, Currency};

/// Most photographs in one form, those in zip files included.
const MOST: usize = 200;

/// All files of a form together, as a multiple of the largest image.
const LARGEST_IMAGES: u64 = 40;

/// Fields of a row that a person edits.
const CELLS: [&str; 5] = ["name", "category", "price", "lighter_type", "images"];

#[derive(Template)]
#[template(path = "lighters.html", config = "src/admin/askama.toml")]
struct LightersPage<'a> {
    context: &'a AdminContext,
    form: Form,
    rows: Vec<Row>,
    categories: Vec<CountedCategory>,
    /// A sentence for each file that was refused.
    refusals: Vec<String>,
}

/// A row of the table. The form has its cells, as `name.0`.
struct Row {
    index: String,
    images: Vec<ImageId>,
    /// The change that it needs, in words.
    state: String,
    /// Faults in the names of its files.
    notes: Vec<String>,
    is_left_out: bool,
}

impl LightersPage<'_> {
    fn value(&self, field: &str, row: &Row) -> String {
        self.form.get(&format!("{field}.{}", row.index))
    }

    fn error(&self, field: &str, row: &Row) -> Option<&str> {
        self.form.field_error(&format!("{field}.{}", row.index))
    }

    fn has_error(&self, row: &Row) -> bool {
        CELLS.iter().any(|field| self.error(field, row).is_some())
    }

    fn currency(&self) -> String {
        self.context.app.config.shop.currency.in_words()
    }
}

/// `GET /admin/import-lighters`: not below `/admin/products/`, because a product's id may be any text.
pub async fn show(State(app): State<App>, context: AdminContext) -> Result<Response> {
    let form = Form::of(&[("type", "1")]);
    page(&app, &context, form, Vec::new(), Vec::new()).await
}

async fn page(
    app: &App,
    context: &AdminContext,
    form: Form,
    rows: Vec<Row>,
    refusals: Vec<String>,
) -> Result<Response> {
    let is_faulty = form.has_errors();
    let shown = context.show(&LightersPage {
        context,
        form,
        rows,
        categories: categories::list(&mut *app.db.acquire().await?).await?,
        refusals,
    })?;
    Ok(match is_faulty {
        true => refused(shown, StatusCode::BAD_REQUEST, None),
        false => shown,
    })
}

/// `POST /admin/import-lighters`: stores the photographs, and shows what their names tell. Nothing is made yet.
pub async fn look(
    State(app): State<App>,
    context: AdminContext,
    request: Request,
) -> Result<Response> {
    let sent = Photographs::read(&app, request).await?;
    let lighter_type = match sent.form.get("type").as_str() {
        "2" => 2,
        _ => 1,
    };
    if sent.files.is_empty() {
        let why = match sent.refusals.is_empty() {
            true => "Choose photographs, or a zip file with them.".to_owned(),
            false => "None of the files could be taken.".to_owned(),
        };
        let form = sent.form.refused(Error::invalid("photos", why))?;
        return page(&app, &context, form, Vec::new(), sent.refusals).await;
    }
    let currency = app.config.shop.currency;
    let drafts = lighters::drafts(&sent.files, lighter_type, currency);
    let mut form = Form::default();
    for (index, draft) in drafts.iter().enumerate() {
        fill(&mut form, index, draft, currency);
    }
    let notes = drafts.into_iter().map(|draft| draft.notes).collect();
    let looked_over = look_over(&app, form, notes).await?;
    let shown = page(
        &app,
        &context,
        looked_over.form,
        looked_over.rows,
        sent.refusals,
    )
    .await?;
    // Whatever is still to be typed, the photographs arrived.
    Ok(refused(shown, StatusCode::OK, None))
}

/// The photographs of a form.
struct Photographs {
    form: Form,
    /// Names and images.
    files: Vec<(String, ImageId)>,
    refusals: Vec<String>,
}

impl Photographs {
    async fn read(app: &App, request: Request) -> Result<Photographs> {
        let deadline = request.extensions().get().cloned();
        // The guard has read a plain form, which has no files.
        if let Some(plain) = request.extensions().get::<Form>() {
            return Ok(Photographs {
                form: plain.clone(),
                files: Vec::new(),
                refusals: Vec::new(),
            });
        }
        let limits = FormLimits {
            files: MOST,
            file_bytes: app.storage.limits().file_bytes,
            bytes: app.storage.limits().file_bytes * LARGEST_IMAGES,
            takes_archives: true,
        };
        let sent = images::read_form_within(&app.storage, request, &["photos"], limits).await?;
        let mut taken = Taken {
            batch: Batch::begin(&app.storage, &app.db, deadline),
            files: Vec::new(),
            refusals: Vec::new(),
        };
        for (name, file) in sent.file_names.into_iter().zip(sent.files) {
            taken.keep(app, name, file).await?;
        }
        let mut surplus = sent.surplus;
        for file in sent.archives {
            let Some(mut archive) = Archive::open(file).await? else {
                let why = "The zip file could not be read.".to_owned();
                taken.refusals.push(why);
                continue;
            };
            while let Some((name, file)) = archive.next(&app.storage).await? {
                match taken.files.len() < MOST {
                    true => taken.keep(app, name, file).await?,
                    false => surplus += 1,
                }
            }
        }
        if surplus > 0 {
            taken.refusals.push(format!(
                "Up to {MOST} photographs at once are taken; the last {surplus} were left out."
            ));
        }
        taken.batch.done();
        Ok(Photographs {
            form: Form::of_pairs(sent.fields.into_iter()),
            files: taken.files,
            refusals: taken.refusals,
        })
    }
}

/// Photographs that were taken so far.
struct Taken {
    batch: Batch,
    files: Vec<(String, ImageId)>,
    refusals: Vec<String>,
}

impl Taken {
    async fn keep(&mut self, app: &App, name: String, file: ReceivedFile) -> Result<()> {
        match self.batch.keep(file).await? {
            Some(refusal) => {
                let why = refusal.sentence(&app.storage.limits());
                self.refusals.push(format!("{name}: {why}"));
            }
            None => self
                .files
                .extend(self.batch.ids().pop().map(|image| (name, image))),
        }
        Ok(())
    }
}

fn fill(form: &mut Form, index: usize, draft: &LighterDraft, currency: Currency) {
    let price = draft.price.map(|price| price.plain(currency.code()));
    form.set(&format!("name.{index}"), &draft.name);
    form.set(&format!("category.{index}"), &draft.category);
    form.set(&format!("price.{index}"), price.unwrap_or_default());
    form.set(
        &format!("lighter_type.{index}"),
        draft.lighter_type.to_string(),
    );
    for image in &draft.images {
        form.set(&format!("image.{index}"), image.to_string());
    }
}

/// Rows of a form, read and compared with the catalog. Nothing was changed.
struct LookedOver {
    /// With the errors of its cells.
    form: Form,
    rows: Vec<Row>,
}

/// Reads the rows of a form, and says what would become of each.
async fn look_over(app: &App, form: Form, notes: Vec<Vec<String>>) -> Result<LookedOver> {
    let matching = matching(app, &form);
    let mut rows = Rows::read(&form, matching.currency);
    let mut tx = app.db.begin().await?;
    let planned = lighters::plan(&mut tx, rows.lighters.clone(), &matching).await;
    tx.rollback().await?;
    let steps = match planned {
        Ok(planned) => planned.into_iter().map(|one| state(&one.step)).collect(),
        Err(error) => {
            rows.add(error)?;
            Vec::new()
        }
    };
    let mut steps = steps.into_iter();
    let mut notes = notes.into_iter();
    let shown = form.starting_with("name.").into_iter().map(|(index, _)| {
        let is_left_out = form.has(&format!("leave.{index}"), "yes");
        let step = (!is_left_out).then(|| steps.next()).flatten();
        Row {
            index: index.to_owned(),
            images: images_of(&form, index),
            state: match is_left_out {
                true => "Left out".to_owned(),
                false => step.unwrap_or_default(),
            },
            notes: notes.next().unwrap_or_default(),
            is_left_out,
        }
    });
    let shown = shown.collect();
    let form = match rows.field_errors.is_empty() {
        true => form,
        false => form.refused(Error::Invalid(rows.field_errors))?,
    };
    Ok(LookedOver { form, rows: shown })
}

fn matching(app: &App, form: &Form) -> Matching {
    Matching {
        currency: app.config.shop.currency,
        categories: Vec::new(),
        update: form.has("update", "yes"),
    }
}

/// The change that a row needs, in a few words.
fn state(step: &Step) -> String {
    match step {
        Step::Create => "New",
        Step::Keep(_) => "In the catalog already",
        Step::Leave(_) => "In the catalog with other images, which stay",
        Step::Update(..) => "In the catalog: takes images and price",
    }
    .to_owned()
}

fn images_of(form: &Form, index: &str) -> Vec<ImageId> {
    let images = form.all(&format!("image.{index}")).into_iter();
    images.filter_map(ImageId::parse).collect()
}

/// The rows of a form that are not left out.
struct Rows {
    /// Index of each in the form.
    indices: Vec<String>,
    lighters: Vec<Lighter>,
    /// By the cells of the form.
    field_errors: Vec<FieldError>,
}

impl Rows {
    fn read(form: &Form, currency: Currency) -> Rows {
        let mut rows = Rows {
            indices: Vec::new(),
            lighters: Vec::new(),
            field_errors: Vec::new(),
        };
        for (index, _) in form.starting_with("name.").into_iter().take(MOST) {
            if form.has(&format!("leave.{index}"), "yes") {
                continue;
            }
            let cell = |field: &str| form.get(&format!("{field}.{index}"));
            let price = Cents::parse(&cell("price"), currency.code());
            if price.is_none() {
                let why = format!("Must be an amount, like {}.", currency.example());
                let field = format!("price.{index}");
                rows.field_errors.push(FieldError::new(field, why));
            }
            rows.lighters.push(Lighter {
                name: cell("name"),
                category: cell("category"),
                lighter_type: cell("lighter_type").parse().unwrap_or_default(),
                price: price.unwrap_or_default(),
                images: images_of(form, index),
            });
            rows.indices.push(index.to_owned());
        }
        rows
    }

    /// Adds the field errors of the products to the cells that have none.
    fn add(&mut self, error: Error) -> Result<()> {
        let Error::Invalid(field_errors) = error else {
            return Err(error);
        };
        for FieldError { field, message } in field_errors {
            let place = field
                .strip_prefix("products[")
                .and_then(|rest| rest.split_once("]."))
                .and_then(|(at, cell)| Some((self.indices.get(at.parse::<usize>().ok()?)?, cell)));
            let field = match place {
                Some((index, cell)) => format!("{cell}.{index}"),
                None => field,
            };
            if self.field_errors.iter().all(|known| known.field != field) {
                self.field_errors.push(FieldError::new(field, message));
            }
        }
        Ok(())
    }
}

/// `POST /admin/import-lighters/make`: makes the products of the table, all or none.
pub async fn make(State(app): State<App>, context: AdminContext, form: Form) -> Result<Response> {
    let matching = matching(&app, &form);
    let is_draft = form.get("sale") != "now";
    let rows = Rows::read(&form, matching.currency);
    if form.get("do") != "look" && !rows.lighters.is_empty() && rows.field_errors.is_empty() {
        let mut tx = app.db.begin().await?;
        match lighters::plan(&mut tx, rows.lighters, &matching).await {
            Ok(planned) => {
                let actor = context.actor()?;
                let currency = matching.currency;
                let made = lighters::apply(&mut tx, &actor, &planned, currency, is_draft).await?;
                tx.commit().await?;
                let back = match is_draft {
                    true => "/admin/products?show=drafts",
                    false => "/admin/products",
                };
                return Ok(context.go_on(back, &in_words(&made, is_draft)));
            }
            // Told beside the cells.
            Err(Error::Invalid(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let LookedOver { form, rows } = look_over(&app, form, Vec::new()).await?;
    page(&app, &context, form, rows, Vec::new()).await
}

/// `3 products are made as drafts. 1 was in the catalog already.`
fn in_words(made: &Summary, is_draft: bool) -> String {
    let how = if is_draft {
        "made as drafts"
    } else {
        "on sale"
    };
    let are = |count: usize| match count {
        1 => "1 product is".to_owned(),
        many => format!("{many} products are"),
    };
    let mut said = format!("{} {how}.", are(made.created));
    if made.updated > 0 {
        said.push_str(&format!(" {} changed.", are(made.updated)));
    }
    if made.kept + made.left > 0 {
        let there = are(made.kept + made.left);
        said.push_str(&format!(" {there} left as they were."));
    }
    said
}
