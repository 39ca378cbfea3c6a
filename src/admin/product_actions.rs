//! Changes of a whole product, each by a button: put on sale, archived, copied, sent to Stripe again, deleted.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::context::AdminContext;
use super::form::Form;
use super::product::{ProductPage, with_status};
use super::products::path_to;
use crate::app::App;
use crate::error::{Error, Result};
use crate::http::Path;
use crate::products;
use crate::types::calendar;

/// `POST /admin/products/{id}/active`: puts the product on sale or archives it.
pub async fn set_active(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let is_active = form.get("active") == "yes";
    let mut tx = app.db.begin().await?;
    let product = products::set_active(&mut tx, &context.actor()?, &id, is_active, None).await?;
    tx.commit().await?;
    let said = if is_active {
        format!("{} is on sale.", product.name)
    } else {
        format!("{} is archived: shoppers do not see it.", product.name)
    };
    Ok(context.go_on(&path_to(&product), &said))
}

/// `POST /admin/products/{id}/schedule`: sets or removes the time at which a draft goes on sale.
pub async fn schedule(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let done = async {
        let on_sale_at = match form.get("do").as_str() {
            "clear" => None,
            _ => {
                let at = calendar::local_instant(&form.get("on_sale_at"), context.time_zone);
                let unread = || Error::invalid("on_sale_at", "Choose a day and a time.");
                Some(at.ok_or_else(unread)?)
            }
        };
        let mut tx = app.db.begin().await?;
        let product = products::schedule(&mut tx, &context.actor()?, &id, on_sale_at).await?;
        tx.commit().await?;
        Ok(product)
    };
    match done.await {
        Ok(product) => {
            let said = match product.on_sale_at {
                Some(at) => format!("{} goes on sale {}.", product.name, context.time(&at)),
                None => format!("{} stays a draft.", product.name),
            };
            Ok(context.go_on(&path_to(&product), &said))
        }
        Err(error) => {
            let product = products::find(&mut *app.db.acquire().await?, &id).await?;
            let mut page = ProductPage::open(&app, &context, product).await?;
            page.schedule_form = form.refused(error)?;
            Ok(with_status(
                context.show(&page)?,
                Some(StatusCode::BAD_REQUEST),
            ))
        }
    }
}

/// `POST /admin/products/{id}/delete`: deletes the product permanently. Orders keep their lines.
pub async fn delete(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let gone = products::delete(&mut tx, &context.actor()?, &id, None).await?;
    tx.commit().await?;
    let said = format!("{} is deleted.", gone.name);
    Ok(context.go_on("/admin/products", &said))
}

/// `POST /admin/products/{id}/sync`
pub async fn sync(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let product = products::resync(&mut tx, &context.actor()?, &id).await?;
    tx.commit().await?;
    Ok(context.go_on(&path_to(&product), "It is being sent to Stripe again."))
}

/// `POST /admin/products/{id}/duplicate`
pub async fn duplicate(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let copy = products::duplicate(&mut tx, &context.actor()?, &id).await?;
    tx.commit().await?;
    let said = "This is the copy. It is a draft, and has no stock yet.";
    Ok(context.go_on(&path_to(&copy), said))
}
