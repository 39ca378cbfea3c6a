//! The categories page.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};

use super::context::AdminContext;
use super::form::{Form, slug_as_field_error};
use super::sign_in::refused;
use crate::app::App;
use crate::error::Result;
use crate::http::Path;
use crate::products::Write;
use crate::products::categories::{self, CategoryInput, CountedCategory};

const HERE: &str = "/admin/categories";

#[derive(Template)]
#[template(path = "categories.html", config = "src/admin/askama.toml")]
struct CategoriesPage<'a> {
    context: &'a AdminContext,
    categories: Vec<CountedCategory>,
    /// Form for a new category.
    form: Form,
    /// Id and form of the category whose change was refused.
    refused: Option<(i64, Form)>,
}

impl CategoriesPage<'_> {
    /// Returns a category's form, with the submitted values if it was refused.
    fn form_of(&self, one: &CountedCategory) -> Form {
        match &self.refused {
            Some((id, form)) if *id == one.category.id => form.clone(),
            _ => Form::of(&[
                ("name", &one.category.name),
                ("slug", &one.category.slug),
                ("description", &one.category.description),
            ]),
        }
    }
}

/// `GET /admin/categories`
pub async fn list(State(app): State<App>, context: AdminContext) -> Result<Response> {
    show(&app, &context, Form::default(), None).await
}

async fn show(
    app: &App,
    context: &AdminContext,
    form: Form,
    changed: Option<(i64, Form)>,
) -> Result<Response> {
    let faulty = form.has_errors() || changed.is_some();
    let page = context.show(&CategoriesPage {
        context,
        categories: categories::list(&mut *app.db.acquire().await?).await?,
        form,
        refused: changed,
    })?;
    Ok(if faulty {
        refused(page, StatusCode::BAD_REQUEST, None)
    } else {
        page
    })
}

/// Maps the form to the API's fields. Without a slug, a new category gets one from its name and an existing one keeps
/// its own.
fn read(form: &Form) -> Map<String, Value> {
    let description = form.get("description").replace("\r\n", "\n");
    let fields = [
        ("name", form.get("name")),
        ("slug", form.get("slug")),
        ("description", description),
    ];
    let fields = fields.into_iter();
    fields
        .filter(|(name, value)| *name != "slug" || !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect()
}

/// `POST /admin/categories`
pub async fn create(State(app): State<App>, context: AdminContext, form: Form) -> Result<Response> {
    let made = async {
        let mut tx = app.db.begin().await?;
        let input = CategoryInput::parse(read(&form), Write::Create);
        let made = categories::create(&mut tx, &context.actor()?, input).await?;
        tx.commit().await?;
        Ok(made)
    };
    match made.await {
        Ok(made) => Ok(context.go_on(HERE, &format!("The category {} is made.", made.name))),
        Err(error) => {
            let form = form.refused(slug_as_field_error(error))?;
            show(&app, &context, form, None).await
        }
    }
}

/// `POST /admin/categories/{id}`: changes the name, slug or description.
pub async fn change(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<i64>,
    form: Form,
) -> Result<Response> {
    let changed = async {
        let mut tx = app.db.begin().await?;
        let mut fields = read(&form);
        let known = categories::list(&mut tx).await?;
        let own = known.iter().find(|known| known.category.id == id);
        if own.is_some_and(|own| own.category.slug == form.get("slug")) {
            // It stays, even one that was copied from another shop and would not be allowed anew.
            fields.remove("slug");
        }
        let input = CategoryInput::parse(fields, Write::Patch);
        let changed = categories::change(&mut tx, &context.actor()?, id, input).await?;
        tx.commit().await?;
        Ok(changed)
    };
    match changed.await {
        Ok(changed) => Ok(context.go_on(HERE, &format!("The category {} is saved.", changed.name))),
        Err(error) => {
            let form = form.refused(slug_as_field_error(error))?;
            show(&app, &context, Form::default(), Some((id, form))).await
        }
    }
}

/// `POST /admin/categories/{id}/up`: moves the category up one place.
pub async fn move_up(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<i64>,
) -> Result<Response> {
    step(&app, &context, id, true).await
}

/// `POST /admin/categories/{id}/down`
pub async fn move_down(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<i64>,
) -> Result<Response> {
    step(&app, &context, id, false).await
}

async fn step(app: &App, context: &AdminContext, id: i64, up: bool) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let moved = categories::shift(&mut tx, &context.actor()?, id, up).await?;
    tx.commit().await?;
    let said = format!(
        "{} is moved {}.",
        moved.name,
        if up { "up" } else { "down" }
    );
    Ok(context.go_on(&format!("{HERE}#c{id}"), &said))
}

/// `POST /admin/categories/{id}/delete`: deletes the category, but not its products.
pub async fn delete(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<i64>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let gone = categories::delete(&mut tx, &context.actor()?, id).await?;
    tx.commit().await?;
    let said = format!("The category {} is deleted. Its products stay.", gone.name);
    Ok(context.go_on(HERE, &said))
}
