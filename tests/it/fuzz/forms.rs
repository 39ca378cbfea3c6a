//! The admin's forms, with the fields that they have on their pages.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use reqwest::Method;
use spirit_beads::admin;

use super::shop::Stage;
use super::{Request, encoded, filled, shown, text, try_inputs};
use crate::admin::PASSWORD;
use crate::support::images::{self, FORM, Part};

/// A form as it stands on a page: where it goes, its fields, and whether it is sent with files.
#[derive(Clone, Debug)]
struct Form {
    action: String,
    fields: Vec<(String, String)>,
    has_files: bool,
}

struct AdminPages {
    stage: Stage,
    /// The token of the session's forms.
    token: RefCell<String>,
    /// Of each route the forms that lead to it.
    forms: Vec<Vec<Form>>,
}

#[test]
fn no_form_of_the_admin_is_a_server_error() {
    try_inputs(
        600,
        pages,
        requests,
        async |pages: &AdminPages, request: Request| {
            let stage = &pages.stage;
            let with = |token: &str| request.clone().with("x-csrf-token", token);
            let token = pages.token.borrow().clone();
            let mut answer = with(&token).send(&stage.owner).await?;
            let is_out = answer.header("location").starts_with("/admin/sign-in");
            if is_out || [403, 429].contains(&answer.status) {
                // An input before this one has ended the session, or given too many wrong passwords.
                stage.let_in().await;
                let token = stage.csrf().await;
                answer = with(&token).send(&stage.owner).await?;
                pages.token.replace(token);
            }
            prop_assert_ne!(answer.status, 405);
            shown(&answer)
        },
        async |pages| pages.stage.settles().await,
    );
}

async fn pages() -> AdminPages {
    let stage = Stage::open().await;
    let mut forms = BTreeMap::new();
    for route in admin::routes() {
        if route.method != Method::GET || route.path.contains("assets") {
            continue;
        }
        for name in stage.names_for(route.path).iter().take(16) {
            let page = stage.owner.get(&filled(route.path, name)).await;
            if page.status == 200 {
                let found = forms_of(&page.text).into_iter();
                forms.extend(found.map(|form| (form.action.clone(), form)));
            }
            if !route.path.contains('{') {
                break;
            }
        }
    }
    let is_to = |route: &str, action: &str| {
        let parts = || route.split('/').zip(action.split('/'));
        let is_as_long = route.split('/').count() == action.split('/').count();
        is_as_long && parts().all(|(part, given)| part.starts_with('{') || part == given)
    };
    let mut by_door = Vec::new();
    for route in admin::routes() {
        if route.method != Method::POST {
            continue;
        }
        let found = forms
            .values()
            .filter(|form| is_to(route.path, &form.action));
        let mut found: Vec<Form> = found.cloned().collect();
        if found.is_empty() {
            // Its form comes only later, or in a page's other state: it is sent what others have.
            found.extend(stage.names_for(route.path).iter().map(|name| Form {
                action: filled(route.path, name),
                fields: Vec::new(),
                has_files: false,
            }));
        }
        by_door.push(found);
    }
    assert!(forms.len() > 50, "{}", forms.len());
    let forms = by_door;
    let token = RefCell::new(stage.csrf().await);
    AdminPages {
        stage,
        token,
        forms,
    }
}

/// Every form of a page that is sent with POST.
fn forms_of(page: &str) -> Vec<Form> {
    let value = |tag: &str, name: &str| -> Option<String> {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        Some(
            rest.split('"')
                .next()?
                .replace("&#38;", "&")
                .replace("&amp;", "&"),
        )
    };
    let mut forms = Vec::new();
    for form in page.split("<form").skip(1) {
        let (form, _) = form.split_once("</form>").unwrap_or((form, ""));
        let head = form.split('>').next().unwrap_or_default();
        let Some(action) = value(&format!(" {head}"), "action").filter(|_| head.contains("post"))
        else {
            continue;
        };
        let mut fields = Vec::new();
        for tag in form.split('<') {
            let is_field = ["input ", "textarea ", "select ", "button "]
                .iter()
                .any(|kind| tag.starts_with(kind));
            if let (true, Some(name)) = (is_field, value(tag, "name")) {
                let text = tag.split_once('>').map_or("", |(_, text)| text);
                let text = if tag.starts_with("textarea ") {
                    text
                } else {
                    ""
                };
                fields.push((name, value(tag, "value").unwrap_or_else(|| text.to_owned())));
            }
            // The one that is chosen, or else the first.
            if let (true, Some((_, chosen))) = (tag.starts_with("option "), fields.last_mut())
                && (chosen.is_empty() || tag.contains(" selected"))
            {
                *chosen = value(tag, "value").unwrap_or_default();
            }
        }
        forms.push(Form {
            action,
            fields,
            has_files: head.contains("multipart"),
        });
    }
    forms
}

fn requests(pages: &AdminPages) -> BoxedStrategy<Request> {
    let origin = pages.stage.shop.address.clone();
    let mut words = pages.stage.names.clone();
    words.extend(
        [
            "12.50",
            "USPS",
            "owner",
            "staff",
            "archive",
            "1",
            "2",
            "gone",
            "made",
            "en",
            "usd",
            "SB-1001 USPS 9400",
            "SB-1001,USPS,1\nSB-1002",
        ]
        .map(str::to_owned),
    );
    let fields_of_all: Vec<String> = pages
        .forms
        .iter()
        .flatten()
        .flat_map(|form| form.fields.iter().map(|(name, _)| name.clone()))
        .filter(|name| !["csrf", "once", "your_password"].contains(&name.as_str()))
        .collect();
    // Whoever signs out is let in again, which takes its time: it is enough now and then.
    let (ends, others): (Vec<_>, Vec<_>) = pages
        .forms
        .iter()
        .cloned()
        .partition(|forms| forms.iter().any(|form| form.action.contains("sign-")));
    let form = prop_oneof![30 => select(others), 1 => select(ends)].prop_flat_map(select);
    form.prop_flat_map(move |form| {
        let fields: Vec<(String, String)> = form
            .fields
            .into_iter()
            .filter(|(name, _)| !["csrf", "once", "your_password"].contains(&name.as_str()))
            .collect();
        let changes = proptest::collection::vec(
            (0_u8..8, text(words.clone()), text(words.clone())),
            fields.len(),
        );
        let more =
            proptest::collection::vec((select(fields_of_all.clone()), text(words.clone())), 0..3);
        let once = prop_oneof![
            7 => any::<u128>().prop_map(uuid::Uuid::from_u128),
            1 => Just(uuid::Uuid::nil()),
        ];
        let origin = origin.clone();
        (changes, more, once).prop_map(move |(changes, more, once)| {
            let mut sent = Vec::new();
            for ((name, value), (what, one, other)) in fields.iter().zip(changes) {
                match what {
                    // As it stands there.
                    0..=2 => sent.push((name.clone(), value.clone())),
                    3..=5 => sent.push((name.clone(), one)),
                    6 => sent.extend([(name.clone(), one), (name.clone(), other)]),
                    _ => {}
                }
            }
            sent.extend(more);
            sent.push(("your_password".to_owned(), PASSWORD.to_owned()));
            // Each is a form of its own, but for one in eight: that is a page's form, sent again as something else.
            sent.push(("once".to_owned(), once.to_string()));
            let request = Request::new(Method::POST, form.action.as_str());
            let request = request.with("origin", &origin);
            if !form.has_files {
                return request.body("application/x-www-form-urlencoded", encoded(&sent));
            }
            let parts: Vec<Part> = sent
                .iter()
                .map(|(name, text)| match name.as_str() {
                    "image" | "images" | "photo" => Part::file(name, text.as_bytes()),
                    name => Part::text(name, text),
                })
                .collect();
            request.body(FORM, images::form(&parts))
        })
    })
    .boxed()
}
