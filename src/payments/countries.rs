//! The countries of shoppers, as far as a trusted proxy names them.

use sqlx::PgConnection;

use crate::config::Config;
use crate::error::Result;

/// The number of checkouts that are looked at, the latest ones.
const LATEST: i64 = 20;

/// Says that nobody's country was known in the latest checkouts, although proxies are trusted: they may be the wrong ones,
/// or send another header. None where a country was known, or where nobody has checked out.
///
/// # Errors
/// Only the database's.
pub async fn country_warning(conn: &mut PgConnection, config: &Config) -> Result<Option<String>> {
    if config.server.trusted_proxies.is_empty() {
        // The settings alone tell that.
        return Ok(None);
    }
    // A checkout without a country offers every zone's rate.
    let (all, without): (i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where is_without)
         from (select jsonb_array_length(coalesce(request -> 'other_shipping', '[]')) > 0 as is_without
               from checkouts
               where request is not null
               order by created_at desc
               limit $1) latest",
    )
    .bind(LATEST)
    .fetch_one(conn)
    .await?;
    let is_nobody_known = all > 0 && all == without;
    Ok(is_nobody_known.then(|| {
        let header = &config.server.country_header;
        let checkouts = match all {
            1 => "the last checkout".to_owned(),
            all => format!("the last {all} checkouts"),
        };
        format!(
            "Nobody's country was known in {checkouts}: no proxy that TRUSTED_PROXIES names sent the header {header} \
             (COUNTRY_HEADER). Every such shopper is charged the default zone's shipping (USA) unless they choose another \
             zone's on the payment page, and an order that goes outside the zone that was paid is flagged before it ships."
        )
    }))
}
