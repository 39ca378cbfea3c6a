//! Proposals for products, from the shop's own catalog.

use std::collections::{BTreeMap, HashSet};

use sqlx::PgConnection;
use table_photos::names::{Description, WordLists, propose};

use super::{IntakeDetails, Item, Piece, store};
use crate::error::Result;
use crate::products::categories::name_key;
use crate::settings::Settings;
use crate::types::money::Cents;

/// Products of a category from which their prices count, instead of those of all categories.
const ENOUGH: usize = 5;

/// Amount within which prices have the same ending: 54.00 and 47.00 have.
const ENDING: i64 = 100;

/// A price guessed from the latest products of the same type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceGuess {
    pub price: Cents,
    /// The range of the prices that it stands on, and their number.
    pub least: Cents,
    pub most: Cents,
    pub count: usize,
    /// They are of the same category, too.
    pub is_of_category: bool,
}

/// Proposals for the items of an intake.
pub(super) struct Proposals {
    currency: String,
    /// The category that was chosen for all.
    category: Option<i64>,
    prices: BTreeMap<(i16, Option<i64>), Option<Cents>>,
    words: WordLists,
    /// Keys of the names that products have or had, or that are proposed already.
    taken: HashSet<String>,
}

impl Proposals {
    /// Begins proposals for an intake.
    ///
    /// # Errors
    /// Database errors only.
    pub async fn begin(
        conn: &mut PgConnection,
        details: &IntakeDetails,
        settings: &Settings,
    ) -> Result<Proposals> {
        let taken = store::taken_names(conn).await?;
        Ok(Proposals {
            currency: settings.currency.code().to_owned(),
            category: details.intake.category_id,
            prices: BTreeMap::new(),
            words: settings.piece_words.clone(),
            taken: taken.iter().map(|name| name_key(name)).collect(),
        })
    }

    /// Proposes the item of a front. Its back may tell the type.
    ///
    /// # Errors
    /// Database errors only.
    pub async fn item(
        &mut self,
        conn: &mut PgConnection,
        (front, back): (&Piece, Option<&Piece>),
        described: Option<&(Description, u64)>,
    ) -> Result<Item> {
        let lighter_type = front
            .lighter_type
            .or_else(|| back.and_then(|back| back.lighter_type));
        let category_id = match (self.category, described) {
            (Some(chosen), _) => Some(chosen),
            (None, Some((seen, _))) => {
                store::usual_category(conn, seen.pattern.name(), lighter_type).await?
            }
            (None, None) => None,
        };
        Ok(Item {
            piece_id: front.id,
            back_id: None,
            is_paired_by_hand: false,
            is_sure: false,
            name: described.map_or_else(String::new, |(seen, seed)| self.name(seen, *seed)),
            category_id,
            price: self.price(conn, lighter_type, category_id).await?,
            product_id: None,
            product_version: None,
        })
    }

    /// The first name of the lists that no product has or had.
    fn name(&mut self, seen: &Description, seed: u64) -> String {
        let is_taken = |name: &str| self.taken.contains(&name_key(name));
        let name = propose(seen, &self.words, seed, is_taken);
        self.taken.insert(name_key(&name));
        name
    }

    async fn price(
        &mut self,
        conn: &mut PgConnection,
        lighter_type: Option<i16>,
        category: Option<i64>,
    ) -> Result<Option<Cents>> {
        let Some(lighter_type) = lighter_type else {
            return Ok(None);
        };
        let key = (lighter_type, category);
        if let Some(known) = self.prices.get(&key) {
            return Ok(*known);
        }
        let guess = price(conn, lighter_type, category, &self.currency).await?;
        let guess = guess.map(|guess| guess.price);
        self.prices.insert(key, guess);
        Ok(guess)
    }
}

/// Guesses a price from the latest products of a type, and of a category if it has enough of them.
pub(super) async fn price(
    conn: &mut PgConnection,
    lighter_type: i16,
    category: Option<i64>,
    currency: &str,
) -> Result<Option<PriceGuess>> {
    if category.is_some() {
        let prices = store::latest_prices(conn, lighter_type, category, currency).await?;
        if prices.len() >= ENOUGH {
            return Ok(guess(prices, true));
        }
    }
    let prices = store::latest_prices(conn, lighter_type, None, currency).await?;
    Ok(guess(prices, false))
}

/// The guesses of prices for all types and categories of an intake's fronts, to show what they stand on.
///
/// # Errors
/// Database errors only.
pub async fn price_guesses(
    conn: &mut PgConnection,
    details: &IntakeDetails,
    currency: &str,
) -> Result<BTreeMap<(i16, Option<i64>), PriceGuess>> {
    let mut guesses = BTreeMap::new();
    for (front, item) in details.fronts() {
        let Some(lighter_type) = front.lighter_type else {
            continue;
        };
        let key = (lighter_type, item.category_id);
        if !guesses.contains_key(&key)
            && let Some(guess) = price(conn, key.0, key.1, currency).await?
        {
            guesses.insert(key, guess);
        }
    }
    Ok(guesses)
}

/// The median, with the ending that most prices have.
fn guess(mut prices: Vec<Cents>, is_of_category: bool) -> Option<PriceGuess> {
    prices.sort_unstable();
    let (least, most) = (*prices.first()?, *prices.last()?);
    let middle = prices.len() / 2;
    let median = match prices.len() % 2 {
        0 => (prices[middle - 1].0 + prices[middle].0) / 2,
        _ => prices[middle].0,
    };
    let mut endings: BTreeMap<i64, usize> = BTreeMap::new();
    for price in &prices {
        *endings.entry(price.0 % ENDING).or_default() += 1;
    }
    let (ending, _) = endings.into_iter().max_by_key(|(_, count)| *count)?;
    let round = median - median % ENDING + ending;
    let near = [round - ENDING, round, round + ENDING];
    let price = near
        .into_iter()
        .filter(|price| (least.0..=most.0).contains(price))
        .min_by_key(|price| (price - median).abs())
        .unwrap_or(median);
    Some(PriceGuess {
        price: Cents(price),
        least,
        most,
        count: prices.len(),
        is_of_category,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessed(prices: &[i64]) -> Option<i64> {
        let guess = guess(prices.iter().map(|price| Cents(*price)).collect(), false);
        guess.map(|guess| guess.price.0)
    }

    #[test]
    fn a_price_is_the_median_and_ends_as_most_prices_do() {
        for (prices, price) in [
            (&[][..], None),
            (&[4700], Some(4700)),
            (&[4700, 4800], Some(4700)),
            (&[4000, 4500, 5000, 5500, 9900], Some(5000)),
            (&[4499, 4999, 5499, 5999], Some(5199)),
            (&[4750, 4700, 4850, 4950], Some(4750)),
            (&[95], Some(95)),
        ] {
            assert_eq!(guessed(prices), price, "{prices:?}");
        }
    }
}
