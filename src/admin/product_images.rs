//! The images of a product, on its page.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::context::AdminContext;
use super::form::Form;
use super::image_form::ImageForm;
use super::product::{ProductPage, with_status};
use super::products::path_to;
use crate::app::App;
use crate::error::{Error, Result};
use crate::http::Path;
use crate::products::{self, ImageMove};
use crate::types::ids::ImageId;

/// `POST /admin/products/{id}/images`: appends images. Unreadable files are reported and don't affect the others.
pub async fn add(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response> {
    let product = products::find(&mut *app.db.acquire().await?, &id).await?;
    let ImageForm {
        images: batch,
        mut refusals,
        ..
    } = ImageForm::read(&app, request, "image").await?;
    let ids = batch.ids();
    let field_error = if ids.is_empty() {
        match refusals.is_empty() {
            true => "Choose at least one image.".to_owned(),
            false => refusals.join(" "),
        }
    } else {
        let added = async {
            let mut tx = app.db.begin().await?;
            let product = products::add_images(&mut tx, &context.actor()?, &id, &ids).await?;
            tx.commit().await?;
            Ok(product)
        };
        match added.await {
            Ok(product) => {
                batch.done();
                let count = match ids.len() {
                    1 => "The image is added.".to_owned(),
                    n => format!("{n} images are added."),
                };
                refusals.insert(0, count);
                return Ok(context.go_on(
                    &format!("{}#images", path_to(&product)),
                    &refusals.join(" "),
                ));
            }
            Err(error) => {
                batch.discard().await;
                match error {
                    Error::Invalid(field_errors) => {
                        let field_errors: Vec<String> = field_errors
                            .into_iter()
                            .map(|field_error| field_error.message)
                            .collect();
                        field_errors.join(" ")
                    }
                    other => return Err(other),
                }
            }
        }
    };
    let mut page = ProductPage::open(&app, &context, product).await?;
    page.image_error = Some(field_error);
    Ok(with_status(
        context.show(&page)?,
        Some(StatusCode::BAD_REQUEST),
    ))
}

/// `POST /admin/products/{id}/images/arrange`: moves or removes an image, or puts back one that was removed.
pub async fn arrange(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let images: Option<Vec<ImageId>> = form.all("image").into_iter().map(ImageId::parse).collect();
    let mut images = images.unwrap_or_default();
    let action = form.get("do");
    let asked = match (action.as_str(), images.pop()) {
        (_, None) => return Err(Error::invalid("image", "is not known")),
        ("up", Some(image)) => ImageMove::Up(image),
        ("down", Some(image)) => ImageMove::Down(image),
        ("remove", Some(image)) => ImageMove::Remove(image),
        ("put_back", Some(image)) => {
            ImageMove::PutBack(image, form.get("at").parse().unwrap_or(usize::MAX))
        }
        ("order", Some(last)) => {
            images.push(last);
            ImageMove::Order(images)
        }
        _ => return Err(Error::invalid("do", "is not known")),
    };
    let mut tx = app.db.begin().await?;
    let before = products::find(&mut tx, &id).await?;
    let product = products::move_images(&mut tx, &context.actor()?, &id, &asked).await?;
    tx.commit().await?;
    let path = path_to(&product);
    let (back, said) = match asked {
        ImageMove::Remove(image) => {
            let mut places = before.images.iter();
            let at = places.position(|one| one.id == image).unwrap_or_default();
            let back = format!("{path}?removed={image}&at={at}#images");
            (back, "The image is removed.")
        }
        ImageMove::PutBack(..) => (format!("{path}#images"), "The image is back."),
        _ => (format!("{path}#images"), "The images are in the new order."),
    };
    Ok(context.go_on(&back, said))
}
