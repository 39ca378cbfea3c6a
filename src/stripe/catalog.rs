//! Products and prices at Stripe.

use std::collections::HashMap;

use serde_json::Value;
use stripe_product::price::{CreatePrice, RetrievePrice, UpdatePrice};
use stripe_product::product::{CreateProduct, UpdateProduct};

use super::client::{Result, Stripe, currency, unreadable};
use crate::types::money::Cents;

/// Desired state of a product at Stripe.
#[derive(Clone, Debug)]
pub struct ProductParams {
    /// Stripe's id, chosen by us at creation.
    pub id: String,
    pub name: String,
    pub image: Option<String>,
    pub active: bool,
    pub our_id: String,
}

impl ProductParams {
    fn metadata(&self) -> HashMap<String, String> {
        HashMap::from([("product_id".to_owned(), self.our_id.clone())])
    }
}

/// A price at Stripe.
#[derive(Clone, Debug)]
pub struct Price {
    pub id: String,
    pub amount: Option<i64>,
    pub currency: String,
    pub active: bool,
    pub product: String,
}

impl Stripe {
    /// Creates a product under a given id, or updates the existing one. Safe to repeat.
    ///
    /// # Errors
    /// See [`StripeError`](super::StripeError).
    pub async fn create_product(&self, product: &ProductParams, key: &str) -> Result<()> {
        let mut request = CreateProduct::new(&product.name)
            .id(&product.id)
            .active(product.active)
            .shippable(true)
            .metadata(product.metadata());
        if let Some(image) = &product.image {
            request = request.images(vec![image.clone()]);
        }
        match self.call(&request, Some(key.to_owned())).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_code("resource_already_exists") => {
                self.update_product(product).await
            }
            Err(error) => Err(error),
        }
    }

    /// Updates a product. Safe to repeat.
    ///
    /// # Errors
    /// See [`StripeError`](super::StripeError).
    pub async fn update_product(&self, product: &ProductParams) -> Result<()> {
        let images: Vec<String> = product.image.iter().cloned().collect();
        let request = UpdateProduct::new(product.id.as_str())
            .name(&product.name)
            .active(product.active)
            .images(images)
            .metadata(product.metadata());
        // No key: the values are absolute, and under a key Stripe would repeat a failure for a day.
        self.call(&request, None).await?;
        Ok(())
    }

    /// Retrieves a price.
    ///
    /// # Errors
    /// See [`StripeError`](super::StripeError).
    pub async fn find_price(&self, id: &str) -> Result<Price> {
        read_price(&self.call(&RetrievePrice::new(id), None).await?)
    }

    /// Creates a price for a product. Safe to repeat under the same key.
    ///
    /// # Errors
    /// See [`StripeError`](super::StripeError).
    pub async fn create_price(
        &self,
        product: &str,
        amount: Cents,
        code: &str,
        key: &str,
    ) -> Result<Price> {
        let request = CreatePrice::new(currency(code))
            .product(product)
            .unit_amount(amount.0);
        read_price(&self.call(&request, Some(key.to_owned())).await?)
    }

    /// Sets the default price of a product. Safe to repeat.
    ///
    /// # Errors
    /// See [`StripeError`](super::StripeError).
    pub async fn set_default_price(&self, product: &str, price: &str) -> Result<()> {
        self.call(&UpdateProduct::new(product).default_price(price), None)
            .await?;
        Ok(())
    }

    /// Archives a price, which must not be its product's default. Safe to repeat.
    ///
    /// # Errors
    /// See [`StripeError`](super::StripeError).
    pub async fn archive_price(&self, price: &str) -> Result<()> {
        self.call(&UpdatePrice::new(price).active(false), None)
            .await?;
        Ok(())
    }
}

fn read_price(answer: &Value) -> Result<Price> {
    let text = |name: &str| answer[name].as_str().map(str::to_owned);
    match (text("id"), text("currency")) {
        (Some(id), Some(currency)) => Ok(Price {
            id,
            currency,
            amount: answer["unit_amount"].as_i64(),
            active: answer["active"].as_bool().unwrap_or(false),
            product: text("product").unwrap_or_default(),
        }),
        _ => Err(unreadable("price")),
    }
}
