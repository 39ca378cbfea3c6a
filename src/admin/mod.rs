//! The admin: server-rendered pages for a phone or a laptop that work without JavaScript.
//!
//! A page consists of a handler, a template that extends `layout.html`, and a line in [`routes`]; a page in the
//! navigation also has a line in [`NAVIGATION`]. The table sets the access of each route. The layout checks the access
//! and the CSRF token of every form before the handler runs. Handlers return the ordinary [`Error`], which the layout
//! renders as a page.
mod account;
mod assets;
mod audit_log;
mod categories;
mod chart;
mod context;
mod corrections;
mod csrf;
mod custom_order_board;
mod custom_order_emails;
mod custom_orders;
mod customer_form;
mod customer_page;
pub mod customers;
mod dashboard;
mod email_samples;
pub mod erasure;
pub mod figures;
mod fingerprint;
mod form;
mod image_form;
mod layout;
mod lighters;
mod manual_sale;
mod once;
mod order;
mod orders;
mod orders_csv;
mod product;
mod product_actions;
mod product_images;
mod products;
mod refunds;
mod review_items;
mod search;
mod sent_emails;
mod settings;
mod ship_many;
mod shipment_form;
mod sign_in;
mod system;
mod table_photos;
mod table_photos_batch;
mod table_photos_form;
mod table_photos_photo;
mod timeline;
mod tokens;
mod users;

pub use context::AdminContext;
pub use form::Form;

use std::collections::HashSet;

use axum::Router;
use axum::extract::OriginalUri;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Redirect;
use axum::routing::{MethodRouter, get, post};
use tower_http::compression::CompressionLayer;

use crate::app::App;
use crate::auth::{CurrentUser, Role};
use crate::error::Error;
use crate::http::Query;

/// Path of the admin.
const ROOT: &str = "/admin";

/// Required access of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone, signed in or not.
    Anyone,
    /// A user who has passed the password step and still needs the second factor.
    MfaPending,
    /// Every signed-in user.
    Staff,
    Owner,
}

impl Access {
    fn allows(self, user: Option<&CurrentUser>) -> bool {
        match (self, user) {
            (Access::Anyone, _) => true,
            (_, None) => false,
            (Access::MfaPending, Some(user)) => user.mfa_pending,
            (Access::Staff, Some(user)) => !user.mfa_pending,
            (Access::Owner, Some(user)) => !user.mfa_pending && user.role == Role::Owner,
        }
    }
}

/// A route of the admin. All of them are listed in [`routes`].
pub struct AdminRoute {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    handler: MethodRouter<App>,
    /// Answers a GET of a path that has only a form's route: redirects to the page with the form.
    opened: Option<MethodRouter<App>>,
}

impl AdminRoute {
    /// Sets what leads to the page with the form, where the path does not tell.
    fn opened_by<T: 'static>(mut self, handler: impl Handler<T, App>) -> AdminRoute {
        self.opened = Some(get(handler));
        self
    }
}

/// Defines a page (GET).
fn page<T: 'static>(
    path: &'static str,
    access: Access,
    handler: impl Handler<T, App>,
) -> AdminRoute {
    AdminRoute {
        method: Method::GET,
        path,
        access,
        handler: get(handler),
        opened: None,
    }
}

/// Defines a change made by a form (POST).
fn act<T: 'static>(
    path: &'static str,
    access: Access,
    handler: impl Handler<T, App>,
) -> AdminRoute {
    AdminRoute {
        method: Method::POST,
        path,
        access,
        handler: post(handler),
        opened: None,
    }
}

/// Every route of the admin, with its required access and its handler.
#[rustfmt::skip]
pub fn routes() -> Vec<AdminRoute> {
    use Access::{Anyone, MfaPending, Owner, Staff};
    vec![
        page("/admin/assets/{name}", Anyone, assets::serve.layer(CompressionLayer::new())),
        page("/admin/sign-in", Anyone, sign_in::show),
        act("/admin/sign-in", Anyone, sign_in::submit),
        page("/admin/second-factor", MfaPending, sign_in::show_second_factor),
        act("/admin/second-factor", MfaPending, sign_in::submit_second_factor),
        act("/admin/sign-out", Anyone, sign_in::sign_out),

        page("/admin", Staff, dashboard::show),
        page("/admin/orders", Staff, orders::list),
        page("/admin/orders.csv", Staff, orders_csv::download),
        page("/admin/orders/labels.csv", Staff, orders_csv::download_labels),
        page("/admin/orders/ship", Staff, ship_many::show),
        act("/admin/orders/ship", Staff, ship_many::submit),
        page("/admin/orders/{id}", Staff, order::show),
        page("/admin/orders/{id}/packing-slip", Staff, order::packing_slip),
        act("/admin/orders/{id}/ship", Staff, order::ship),
        act("/admin/orders/{id}/deliver", Staff, order::deliver),
        act("/admin/orders/{id}/unship", Staff, corrections::unship),
        act("/admin/orders/{id}/customer", Staff, corrections::correct_customer),
        act("/admin/orders/{id}/shipment", Staff, corrections::correct_shipment),
        act("/admin/orders/{id}/note", Staff, order::note),
        act(
            "/admin/orders/{id}/resend",
            Staff,
            sent_emails::resend_of_order,
        ),
        act("/admin/orders/{id}/undo", Staff, order::undo),
        act("/admin/orders/{id}/refund", Owner, order::refund),
        act("/admin/orders/{id}/restock", Staff, order::restock),
        act("/admin/refunds/{id}/retry", Owner, refunds::retry).opened_by(refunds::open),

        page("/admin/sell", Staff, manual_sale::show),
        act("/admin/sell", Staff, manual_sale::submit),

        page("/admin/products", Staff, products::list),
        act("/admin/products", Staff, products::change_many),
        page("/admin/new-product", Staff, product::show_new),
        act("/admin/new-product", Staff, product::create),
        page("/admin/import-lighters", Staff, lighters::show),
        act("/admin/import-lighters", Staff, lighters::look),
        act("/admin/import-lighters/make", Staff, lighters::make),
        page("/admin/table-photos", Staff, table_photos::list),
        act("/admin/table-photos", Staff, table_photos::create),
        page("/admin/table-photos/new", Staff, table_photos::show_new),
        page("/admin/table-photos/{id}", Staff, table_photos_batch::show),
        act("/admin/table-photos/{id}", Staff, table_photos_batch::change),
        act("/admin/table-photos/{id}/photos", Staff, table_photos::add),
        act("/admin/table-photos/{id}/take-back", Staff, table_photos_batch::take_back),
        act("/admin/table-photos/{id}/discard", Staff, table_photos_batch::discard),
        page("/admin/table-photos/{id}/photos/{photo}", Staff, table_photos_photo::show),
        act("/admin/table-photos/{id}/photos/{photo}", Staff, table_photos_photo::change),
        page("/admin/products/{id}", Staff, product::show),
        act("/admin/products/{id}", Staff, product::change),
        act("/admin/products/{id}/schedule", Staff, product_actions::schedule),
        act("/admin/products/{id}/active", Staff, product_actions::set_active),
        act("/admin/products/{id}/delete", Staff, product_actions::delete),
        act("/admin/products/{id}/sync", Staff, product_actions::sync),
        act("/admin/products/{id}/duplicate", Staff, product_actions::duplicate),
        act("/admin/products/{id}/stock", Staff, product::change_stock),
        act("/admin/products/{id}/images", Staff, product_images::add),
        act("/admin/products/{id}/images/arrange", Staff, product_images::arrange),
        page("/admin/categories", Staff, categories::list),
        act("/admin/categories", Staff, categories::create),
        act("/admin/categories/{id}", Staff, categories::change),
        act("/admin/categories/{id}/up", Staff, categories::move_up),
        act("/admin/categories/{id}/down", Staff, categories::move_down),
        act("/admin/categories/{id}/delete", Staff, categories::delete),
        page("/admin/custom-orders", Staff, custom_order_board::list),
        page("/admin/custom-orders/{id}", Staff, custom_orders::show),
        act("/admin/custom-orders/{id}/quote", Staff, custom_orders::quote),
        act("/admin/custom-orders/{id}/quote/discard", Staff, custom_orders::discard_quote),
        page("/admin/custom-orders/{id}/approve", Staff, custom_orders::show_approve),
        act("/admin/custom-orders/{id}/approve", Staff, custom_orders::approve),
        page("/admin/custom-orders/{id}/email", Staff, custom_orders::email),
        act("/admin/custom-orders/{id}/withdraw", Staff, custom_orders::withdraw),
        act("/admin/custom-orders/{id}/reject", Staff, custom_orders::reject),
        act("/admin/custom-orders/{id}/start", Staff, custom_orders::start),
        act("/admin/custom-orders/{id}/ship", Staff, custom_orders::ship),
        act("/admin/custom-orders/{id}/unship", Staff, corrections::unship_custom_order),
        act("/admin/custom-orders/{id}/customer", Staff, corrections::correct_customer_of_custom_order),
        act("/admin/custom-orders/{id}/shipment", Staff, corrections::correct_shipment_of_custom_order),
        act("/admin/custom-orders/{id}/complete", Staff, custom_orders::complete),
        act("/admin/custom-orders/{id}/note", Staff, custom_orders::note),
        act("/admin/custom-orders/{id}/message", Staff, custom_order_emails::message),
        act(
            "/admin/custom-orders/{id}/resend",
            Staff,
            custom_order_emails::resend,
        ),
        act("/admin/custom-orders/{id}/refund", Owner, custom_orders::refund),

        page("/admin/search", Staff, search::show),
        page("/admin/customers/{id}", Staff, customer_page::show),
        page("/admin/customers/{id}/export", Owner, customer_page::export),
        act("/admin/customers/{id}/note", Staff, customer_page::note),
        act("/admin/customers/{id}/erase", Owner, customer_page::delete),

        page("/admin/review-items", Staff, review_items::list),
        act("/admin/review-items/{id}/resolve", Staff, review_items::resolve),

        page("/admin/account", Staff, account::show),
        act("/admin/account/password", Staff, account::change_password),
        act("/admin/account/second-factor", Staff, account::enrol),
        page("/admin/account/second-factor", Staff, account::set_up),
        act("/admin/account/second-factor/confirm", Staff, account::confirm),
        act("/admin/account/second-factor/turn-off", Staff, account::turn_off),
        act("/admin/account/recovery-codes", Staff, account::renew_codes),
        act("/admin/account/sessions/end", Staff, account::end_session),
        act("/admin/account/sign-out-everywhere", Staff, account::sign_out_everywhere),

        page("/admin/users", Owner, users::list),
        act("/admin/users", Owner, users::create),
        page("/admin/users/{id}", Owner, users::show),
        act("/admin/users/{id}/role", Owner, users::set_role),
        act("/admin/users/{id}/disable", Owner, users::disable),
        act("/admin/users/{id}/enable", Owner, users::enable),
        act("/admin/users/{id}/password", Owner, users::reset_password),
        act("/admin/users/{id}/second-factor/turn-off", Owner, users::turn_off_second_factor),
        page("/admin/tokens", Owner, tokens::list),
        act("/admin/tokens", Owner, tokens::create),
        act("/admin/tokens/{id}/revoke", Owner, tokens::revoke),
        page("/admin/audit", Owner, audit_log::list),
        page("/admin/settings", Owner, settings::show),
        act("/admin/settings", Owner, settings::change),
        page("/admin/settings/emails", Owner, email_samples::show),
        page("/admin/settings/emails/{name}", Owner, email_samples::email),

        page("/admin/system", Owner, system::show),
        page("/admin/system/backup", Owner, system::download_backup),
        page("/admin/system/events", Owner, system::events),
        page("/admin/system/events/{id}", Owner, system::event),
        act("/admin/system/events/{id}/run", Owner, system::run_event),
        page("/admin/system/jobs", Owner, system::list_jobs),
        act("/admin/system/jobs/{id}/retry", Owner, system::retry_job),
        act("/admin/system/jobs/{id}/delete", Owner, system::delete_job),
        page("/admin/system/emails", Owner, system::list_emails),
        page("/admin/system/emails/{id}", Owner, system::email),
        page("/admin/system/emails/{id}/page", Owner, system::email_page),
        act("/admin/system/emails/{id}/resend", Owner, system::resend),
        page("/admin/system/holds", Owner, system::holds),
        act("/admin/system/holds/{id}/release", Owner, system::release_hold),
    ]
}

/// An item of the navigation.
pub struct NavItem {
    pub path: &'static str,
    pub name: &'static str,
    /// SVG path in a square of 24 by 24.
    pub icon: &'static str,
    pub access: Access,
}

/// The navigation in display order. Phones show the first four at the bottom and the others in a menu.
#[rustfmt::skip]
pub const NAVIGATION: &[NavItem] = &[
    NavItem { path: "/admin", name: "Today", access: Access::Staff, icon: "M4 11l8-7 8 7v9h-5v-6h-6v6H4z" },
    NavItem { path: "/admin/orders", name: "Orders", access: Access::Staff, icon: "M4 8l8-4 8 4v8l-8 4-8-4zM4 8l8 4 8-4M12 12v8" },
    NavItem { path: "/admin/sell", name: "Sell", access: Access::Staff, icon: "M3 12V4h8l10 10-8 8zM7.500 8h.010" },
    NavItem { path: "/admin/search", name: "Search", access: Access::Staff, icon: "M10.500 17a6.500 6.500 0 100-13 6.500 6.500 0 000 13zM15.500 15.500L20 20" },
    NavItem { path: "/admin/products", name: "Products", access: Access::Staff, icon: "M4 12V4h8l8 8-8 8zM8.500 8.500h.01" },
    NavItem { path: "/admin/table-photos", name: "Table photos", access: Access::Staff, icon: "M4 8h4l2-3h4l2 3h4v11H4zM12 16.500a3.500 3.500 0 100-7 3.500 3.500 0 000 7z" },
    NavItem { path: "/admin/categories", name: "Categories", access: Access::Staff, icon: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z" },
    NavItem { path: "/admin/custom-orders", name: "Custom orders", access: Access::Staff, icon: "M12 20l-8-9 3-6h10l3 6zM4 11h16M9 11l3 9 3-9-3-6z" },
    NavItem { path: "/admin/account", name: "My account", access: Access::Staff, icon: "M12 12a4 4 0 100-8 4 4 0 000 8zM4 21c0-4 4-6 8-6s8 2 8 6" },
    NavItem { path: "/admin/users", name: "Users", access: Access::Owner, icon: "M9 11a3.5 3.5 0 100-7 3.5 3.5 0 000 7zM2 20c0-4 3-6 7-6s7 2 7 6M16 4.5a3.5 3.5 0 010 6.5M18 14.5c2.500.8 4 2.600 4 5.500" },
    NavItem { path: "/admin/tokens", name: "API keys", access: Access::Owner, icon: "M15 10a5 5 0 11-4.600-5M10.500 9.500L20 4M16 6l2 3" },
    NavItem { path: "/admin/audit", name: "Activity log", access: Access::Owner, icon: "M6 3h9l4 4v14H6zM9 11h7M9 15h7M9 7h3" },
    NavItem { path: "/admin/settings", name: "Settings", access: Access::Owner, icon: "M4 7h9M17 7h3M13 5v4M17 5v4M4 17h3M11 17h9M7 15v4M11 15v4" },
    NavItem { path: "/admin/system", name: "System", access: Access::Owner, icon: "M12 15a3 3 0 100-6 3 3 0 000 6zM12 3v3M12 18v3M3 12h3M18 12h3M5.600 5.600l2.100 2.100M16.300 16.300l2.100 2.100M18.400 5.600l-2.100 2.100M7.700 16.300l-2.100 2.100" },
];

/// Returns a parameter without surrounding spaces, cut to 200 characters; empty if it is missing.
fn query_text(query: &Query, name: &str) -> String {
    // PostgreSQL refuses a text with a null character.
    let text = query.get(name).unwrap_or_default().trim();
    text.replace('\0', "").chars().take(200).collect()
}

/// Returns the requested page of a list, starting at 1.
fn page_number(query: &Query) -> i64 {
    let asked = query.get("page").and_then(|page| page.parse().ok());
    asked
        .filter(|page| (1..=100_000).contains(page))
        .unwrap_or(1)
}

/// Redirects from the path of a form, which the address bar shows after the form was refused, to the page with the form:
/// the nearest page above it.
fn opened(path: &str, pages: &HashSet<&str>) -> MethodRouter<App> {
    let up = above(path).position(|path| pages.contains(path));
    let up = up.expect("the root is a page");
    get(async move |OriginalUri(uri): OriginalUri| {
        let path = uri.path().trim_end_matches('/');
        Redirect::to(above(path).nth(up).unwrap_or(ROOT))
    })
}

/// Returns a path and the paths above it, nearest first.
fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| {
        path.rsplit_once('/').map(|(above, _)| above)
    })
}

/// Builds the router of the admin. It is outside the API's CORS rules.
///
/// Pages are not compressed: they contain both a CSRF token and user input, so the compressed length could reveal the
/// token.
pub fn router(app: &App) -> Router {
    let mut context = Router::new();
    let guarded = |handler: MethodRouter<App>, access| {
        handler.layer(from_fn(move |request, next| {
            layout::guard(access, request, next)
        }))
    };
    let pages = routes().into_iter();
    let pages = pages.filter(|route| route.method == Method::GET);
    let pages: HashSet<&str> = pages.map(|route| route.path).collect();
    for route in routes() {
        let below = route
            .path
            .strip_prefix(ROOT)
            .expect("all lie below the root");
        let below = if below.is_empty() { "/" } else { below };
        context = context.route(below, guarded(route.handler, route.access));
        if !pages.contains(route.path) {
            let opened = route.opened.unwrap_or_else(|| opened(route.path, &pages));
            // The page that it leads to has its own access.
            context = context.route(below, guarded(opened, Access::Staff));
        }
    }
    let context = context
        .fallback(async || Error::NotFound(""))
        .method_not_allowed_fallback(layout::method_not_allowed)
        .layer(from_fn_with_state(app.clone(), layout::enter))
        .with_state(app.clone());
    Router::new().nest(ROOT, context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_room_has_a_door_with_the_same_lock() {
        let routes = routes();
        for item in NAVIGATION {
            let route = routes
                .iter()
                .find(|route| route.path == item.path && route.method == Method::GET);
            assert_eq!(route.expect(item.path).access, item.access, "{}", item.path);
        }
    }
}
