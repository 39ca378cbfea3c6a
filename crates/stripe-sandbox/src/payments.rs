//! What becomes of money: payments of sessions, refunds and disputes.
//!
//! Locks are taken in one order: session, payment link, payment intent, charge, then refund or dispute.
use serde_json::{Value, json};

use super::catalog::or;
use super::store::{Problem, Result, Work, id, metadata, now, nulls};
use super::{Buyer, NewDispute, Payment, checkout, links, money};

/// What the hosted page's button does.
pub async fn pay(work: &mut Work<'_>, id: &str, how: &Payment) -> Result<Value> {
    let mut session = checkout::lock(work, id).await?;
    let overdue = session["expires_at"]
        .as_i64()
        .is_some_and(|time| time <= now());
    if session["status"] != "open" || overdue {
        return Err(Problem::refused("This Checkout Session is not open."));
    }
    let buyer = how.buyer();
    if let Some(countries) = session["shipping_address_collection"]["allowed_countries"].as_array()
        && !countries.contains(&json!(buyer.address.country))
    {
        return Err(Problem::refused(format!(
            "We do not ship to {}.",
            buyer.address.country
        )));
    }
    choose_shipping(&mut session, buyer)?;
    let link = links::hold_place(work, &session).await?;
    let mut intent = intent(work, &session, buyer).await?;
    session["payment_intent"] = intent["id"].clone();
    if let Payment::Declined(_) = how {
        decline(&mut intent, "Your card was declined.");
        work.save(&intent).await?;
        work.save(&session).await?;
        work.emit("payment_intent.payment_failed", &intent).await?;
        return Ok(session);
    }

    if let Some(link) = link {
        links::take_place(work, link).await?;
    }
    collect(&mut session, buyer);
    session["status"] = json!("complete");
    session["url"] = Value::Null;
    if let Payment::Card(_) = how {
        session["payment_status"] = json!("paid");
        succeed(work, &mut intent, &session).await?;
    } else {
        intent["status"] = json!("processing");
        intent["payment_method_types"] = json!(["us_bank_account"]);
        session["payment_method_types"] = json!(["us_bank_account"]);
        work.save(&intent).await?;
        work.emit("payment_intent.processing", &intent).await?;
    }
    work.save(&session).await?;
    work.emit("checkout.session.completed", &session).await?;
    Ok(session)
}

/// Ends the wait for a delayed payment.
pub async fn settle(work: &mut Work<'_>, id: &str, succeeds: bool) -> Result<()> {
    let mut session = checkout::lock(work, id).await?;
    let intent = session["payment_intent"].as_str().unwrap_or_default();
    let intent = work
        .lock("payment_intent", intent)
        .await?
        .filter(|intent| intent["status"] == "processing");
    let mut intent = intent
        .ok_or_else(|| Problem::refused("This Checkout Session waits for no delayed payment."))?;
    if succeeds {
        session["payment_status"] = json!("paid");
        succeed(work, &mut intent, &session).await?;
        work.save(&session).await?;
        work.emit("checkout.session.async_payment_succeeded", &session)
            .await
    } else {
        decline(&mut intent, "The bank returned the payment.");
        work.save(&intent).await?;
        work.emit("payment_intent.payment_failed", &intent).await?;
        work.emit("checkout.session.async_payment_failed", &session)
            .await
    }
}

fn choose_shipping(session: &mut Value, buyer: &Buyer) -> Result<()> {
    let options = session["shipping_options"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let Some(option) = options.get(buyer.shipping_option) else {
        return if options.is_empty() {
            Ok(())
        } else {
            Err(Problem::refused("There is no such shipping option."))
        };
    };
    let amount = option["shipping_amount"].as_i64().unwrap_or(0);
    session["shipping_cost"] = checkout::cost(option);
    session["total_details"]["amount_shipping"] = json!(amount);
    session["amount_total"] = json!(session["amount_subtotal"].as_i64().unwrap_or(0) + amount);
    Ok(())
}

fn collect(session: &mut Value, buyer: &Buyer) {
    let address = json!(buyer.address);
    session["customer_details"] = json!({
        "address": address, "business_name": null, "email": buyer.email, "individual_name": null, "name": buyer.name,
        "phone": buyer.phone, "tax_exempt": "none", "tax_ids": [],
    });
    if session["shipping_address_collection"].is_object() {
        session["collected_information"] = json!({
            "business_name": null, "individual_name": null, "shipping_details": {"name": buyer.name, "address": address},
        });
    }
}

/// The session's payment intent, made at the first attempt.
async fn intent(work: &mut Work<'_>, session: &Value, buyer: &Buyer) -> Result<Value> {
    let shipping = session["shipping_address_collection"].is_object();
    let shipping = shipping.then(|| json!({"address": buyer.address, "carrier": null, "name": buyer.name, "phone": buyer.phone, "tracking_number": null}));
    if let Some(id) = session["payment_intent"].as_str()
        && let Some(mut intent) = work.lock("payment_intent", id).await?
    {
        intent["amount"] = session["amount_total"].clone();
        intent["shipping"] = json!(shipping);
        return Ok(intent);
    }
    let id = id("pi_", 24);
    let data = work
        .private(session["id"].as_str().unwrap_or_default())
        .await?["payment_intent_data"]
        .take();
    let mut intent = json!({
        "id": id, "object": "payment_intent", "amount": session["amount_total"], "amount_capturable": 0,
        "amount_details": {"tip": {}}, "amount_received": 0, "capture_method": "automatic_async",
        "client_secret": format!("{id}_secret_sandbox"), "confirmation_method": "automatic", "created": now(),
        "currency": session["currency"], "description": data["description"], "livemode": false,
        "metadata": metadata(&data["metadata"]), "payment_method_options": {}, "payment_method_types": ["card"],
        "receipt_email": data["receipt_email"], "shipping": or(&data["shipping"], json!(shipping)),
        "statement_descriptor": data["statement_descriptor"],
        "statement_descriptor_suffix": data["statement_descriptor_suffix"], "status": "requires_payment_method",
    });
    nulls(
        &mut intent,
        &[
            "application",
            "application_fee_amount",
            "automatic_payment_methods",
            "canceled_at",
            "cancellation_reason",
            "customer",
            "last_payment_error",
            "latest_charge",
            "next_action",
            "on_behalf_of",
            "payment_method",
            "payment_method_configuration_details",
            "processing",
            "review",
            "setup_future_usage",
            "transfer_data",
            "transfer_group",
        ],
    );
    work.insert(&intent, json!({})).await?;
    Ok(intent)
}

fn decline(intent: &mut Value, message: &str) {
    intent["status"] = json!("requires_payment_method");
    intent["last_payment_error"] = json!({"type": "card_error", "code": "card_declined", "decline_code": "generic_decline", "message": message});
}

/// Takes the money: the intent succeeds with a charge.
async fn succeed(work: &mut Work<'_>, intent: &mut Value, session: &Value) -> Result<()> {
    let customer = &session["customer_details"];
    let method = intent["payment_method_types"][0]
        .as_str()
        .unwrap_or("card")
        .to_owned();
    let details = if method == "card" {
        json!({"type": "card", "card": {
            "brand": "visa", "checks": null, "country": "US", "exp_month": 12, "exp_year": 2034, "funding": "credit", "last4": "4242",
        }})
    } else {
        json!({"type": method, method.as_str(): {"bank_name": "STRIPE TEST BANK", "last4": "6789"}})
    };
    let mut charge = json!({
        "id": id("ch_", 24), "object": "charge", "amount": intent["amount"], "amount_captured": intent["amount"],
        "amount_refunded": 0, "billing_details": {
            "address": customer["address"], "email": customer["email"], "name": customer["name"],
            "phone": customer["phone"], "tax_id": null,
        },
        "calculated_statement_descriptor": "SPIRIT BEADS", "captured": true, "created": now(),
        "currency": intent["currency"], "description": intent["description"], "disputed": false, "fraud_details": {},
        "livemode": false, "metadata": intent["metadata"], "outcome": {
            "network_status": "approved_by_network", "reason": null, "risk_level": "normal",
            "seller_message": "Payment complete.", "type": "authorized",
        },
        "paid": true, "payment_intent": intent["id"], "payment_method": id("pm_", 24),
        "payment_method_details": details, "receipt_email": intent["receipt_email"], "refunded": false,
        "shipping": intent["shipping"], "status": "succeeded",
    });
    nulls(
        &mut charge,
        &[
            "application",
            "application_fee",
            "application_fee_amount",
            "balance_transaction",
            "customer",
            "failure_balance_transaction",
            "failure_code",
            "failure_message",
            "on_behalf_of",
            "receipt_number",
            "receipt_url",
            "review",
            "source_transfer",
            "statement_descriptor",
            "statement_descriptor_suffix",
            "transfer_data",
            "transfer_group",
        ],
    );
    intent["status"] = json!("succeeded");
    intent["amount_received"] = intent["amount"].clone();
    intent["last_payment_error"] = Value::Null;
    intent["latest_charge"] = charge["id"].clone();
    intent["payment_method"] = charge["payment_method"].clone();
    work.insert(&charge, json!({})).await?;
    work.save(intent).await?;
    work.emit("charge.succeeded", &charge).await?;
    work.emit("payment_intent.succeeded", intent).await
}

/// `POST /v1/refunds`: gives back all that is left, or a part of it.
pub async fn refund(work: &mut Work<'_>, p: &Value) -> Result<Value> {
    let charge = match (p["charge"].as_str(), p["payment_intent"].as_str()) {
        (Some(charge), _) => charge.to_owned(),
        (None, Some(intent)) => charge_of(work, intent).await?,
        (None, None) => {
            let message = "One of the following params should be provided for this request: payment_intent or charge.";
            return Err(
                Problem::invalid(message.into(), "payment_intent").code("parameter_missing")
            );
        }
    };
    let found = work.lock("charge", &charge).await?;
    let mut charge = found.ok_or_else(|| Problem::missing(400, "charge", &charge, "charge"))?;
    let id_of_charge = charge["id"].as_str().unwrap_or_default().to_owned();
    if p["payment_intent"].is_string() && p["payment_intent"] != charge["payment_intent"] {
        let message = format!("Charge {id_of_charge} does not belong to that PaymentIntent.");
        return Err(Problem::refused(message).param("charge"));
    }
    let refunded = charge["amount_refunded"].as_i64().unwrap_or(0);
    let rest = charge["amount"].as_i64().unwrap_or(0) - refunded;
    let amount = p["amount"].as_i64().unwrap_or(rest);
    if rest == 0 {
        return Err(
            Problem::refused(format!("Charge {id_of_charge} has already been refunded."))
                .code("charge_already_refunded"),
        );
    }
    if is_charged_back(work, &id_of_charge).await? {
        let message =
            format!("Charge {id_of_charge} has been charged back; cannot issue a refund.");
        return Err(Problem::refused(message).code("charge_disputed"));
    }
    if amount < 1 {
        return Err(
            Problem::invalid("Invalid positive integer".into(), "amount")
                .code("parameter_invalid_integer"),
        );
    }
    let currency = charge["currency"].as_str().unwrap_or_default();
    if amount > rest {
        let message = format!(
            "Refund amount ({}) is greater than unrefunded amount on charge ({})",
            money::format(amount, currency),
            money::format(rest, currency)
        );
        return Err(Problem::refused(message).param("amount"));
    }
    let refund = json!({
        "id": id("re_", 24), "object": "refund", "amount": amount, "balance_transaction": null, "charge": id_of_charge, "created": now(),
        "currency": currency, "destination_details": {"type": charge["payment_method_details"]["type"]}, "failure_balance_transaction": null,
        "failure_reason": null, "metadata": metadata(&p["metadata"]), "payment_intent": charge["payment_intent"],
        "pending_reason": null, "reason": p["reason"], "receipt_number": null, "source_transfer_reversal": null,
        "status": "succeeded", "transfer_reversal": null,
    });
    set_refunded(&mut charge, refunded + amount);
    work.insert(&refund, json!({})).await?;
    work.save(&charge).await?;
    work.emit("refund.created", &refund).await?;
    work.emit("charge.refunded", &charge).await?;
    Ok(refund)
}

/// Whether the bank has the money of a charge, or may have it. An inquiry leaves it.
async fn is_charged_back(work: &mut Work<'_>, charge: &str) -> Result<bool> {
    for status in ["needs_response", "under_review", "lost"] {
        let taken = json!({"charge": charge, "status": status});
        if work.holding("dispute", taken).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A refund that the bank sent back: the money is the shop's again.
pub async fn fail_refund(work: &mut Work<'_>, id: &str) -> Result<()> {
    let missing = || Problem::missing(404, "refund", id, "refund");
    let found = work.find("refund", id).await?.ok_or_else(missing)?;
    let charge = work
        .lock("charge", found["charge"].as_str().unwrap_or_default())
        .await?;
    let mut charge = charge.ok_or_else(missing)?;
    let mut refund = work.lock("refund", id).await?.ok_or_else(missing)?;
    if refund["status"] == "failed" {
        return Err(Problem::refused("This refund has failed already."));
    }
    refund["status"] = json!("failed");
    refund["failure_reason"] = json!("expired_or_canceled_card");
    let amount = refund["amount"].as_i64().unwrap_or(0);
    let refunded = charge["amount_refunded"].as_i64().unwrap_or(0);
    set_refunded(&mut charge, refunded - amount);
    work.save(&charge).await?;
    work.save(&refund).await?;
    work.emit("refund.updated", &refund).await?;
    work.emit("refund.failed", &refund).await?;
    // What accounts on older versions of the API get, and others besides.
    work.emit("charge.refund.updated", &refund).await
}

fn set_refunded(charge: &mut Value, amount: i64) {
    charge["amount_refunded"] = json!(amount);
    charge["refunded"] = json!(charge["amount"] == amount);
}

/// The shopper's bank asks about a payment: as an inquiry, which leaves the money here, or as a dispute, which takes it until
/// it is decided. A payment has one open dispute at most.
pub async fn dispute(work: &mut Work<'_>, intent: &str, how: &NewDispute) -> Result<Value> {
    let charge = charge_of(work, intent).await?;
    let mut charge = work.lock("charge", &charge).await?.unwrap_or_default();
    if open_dispute(work, &charge["id"]).await?.is_some() {
        return Err(Problem::refused("This payment has an open dispute."));
    }
    let dispute = json!({
        "id": id("dp_", 24), "object": "dispute", "amount": charge["amount"], "balance_transactions": [], "charge": charge["id"],
        "created": now(), "currency": charge["currency"], "enhanced_eligibility_types": [], "evidence": {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": now() + 7 * 86_400, "enhanced_eligibility": {}, "has_evidence": false, "past_due": false, "submission_count": 0,
        },
        "is_charge_refundable": how.is_inquiry, "livemode": false, "metadata": {}, "payment_intent": intent, "reason": how.reason,
        "status": if how.is_inquiry { "warning_needs_response" } else { "needs_response" },
    });
    charge["disputed"] = json!(true);
    work.save(&charge).await?;
    work.insert(&dispute, json!({})).await?;
    work.emit("charge.dispute.created", &dispute).await?;
    if !how.is_inquiry {
        work.emit("charge.dispute.funds_withdrawn", &dispute)
            .await?;
    }
    Ok(dispute)
}

/// An inquiry becomes a dispute under the same id: the bank takes the money.
pub async fn escalate_dispute(work: &mut Work<'_>, intent: &str) -> Result<()> {
    let mut dispute = lock_open_dispute(work, intent).await?;
    if !is_inquiry(&dispute) {
        return Err(Problem::refused("This payment has no open inquiry."));
    }
    dispute["status"] = json!("needs_response");
    dispute["is_charge_refundable"] = json!(false);
    dispute["evidence_details"]["due_by"] = json!(now() + 7 * 86_400);
    work.save(&dispute).await?;
    work.emit("charge.dispute.updated", &dispute).await?;
    work.emit("charge.dispute.funds_withdrawn", &dispute).await
}

/// The shop has sent its evidence: the bank looks at it.
pub async fn answer_dispute(work: &mut Work<'_>, intent: &str) -> Result<()> {
    let mut dispute = lock_open_dispute(work, intent).await?;
    let details = &mut dispute["evidence_details"];
    let count = details["submission_count"].as_i64().unwrap_or(0);
    details["has_evidence"] = json!(true);
    details["submission_count"] = json!(count + 1);
    dispute["status"] = match is_inquiry(&dispute) {
        true => json!("warning_under_review"),
        false => json!("under_review"),
    };
    work.save(&dispute).await?;
    work.emit("charge.dispute.updated", &dispute).await
}

/// The open dispute of a payment is decided; an inquiry is closed, however that is.
pub async fn close_dispute(work: &mut Work<'_>, intent: &str, won: bool) -> Result<()> {
    let mut dispute = lock_open_dispute(work, intent).await?;
    let was_inquiry = is_inquiry(&dispute);
    dispute["status"] = match (was_inquiry, won) {
        (true, _) => json!("warning_closed"),
        (false, true) => json!("won"),
        (false, false) => json!("lost"),
    };
    work.save(&dispute).await?;
    work.emit("charge.dispute.closed", &dispute).await?;
    if won && !was_inquiry {
        work.emit("charge.dispute.funds_reinstated", &dispute)
            .await?;
    }
    Ok(())
}

fn is_inquiry(dispute: &Value) -> bool {
    let status = dispute["status"].as_str().unwrap_or_default();
    status.starts_with("warning_")
}

/// The dispute of a charge that is not decided.
async fn open_dispute(work: &mut Work<'_>, charge: &Value) -> Result<Option<Value>> {
    for status in [
        "needs_response",
        "under_review",
        "warning_needs_response",
        "warning_under_review",
    ] {
        let open = json!({"charge": charge, "status": status});
        if let Some(dispute) = work.holding("dispute", open).await? {
            return Ok(Some(dispute));
        }
    }
    Ok(None)
}

async fn lock_open_dispute(work: &mut Work<'_>, intent: &str) -> Result<Value> {
    let charge = charge_of(work, intent).await?;
    work.lock("charge", &charge).await?;
    open_dispute(work, &json!(charge))
        .await?
        .ok_or_else(|| Problem::refused("This payment has no open dispute."))
}

/// The card's issuer warns that a payment is probably fraud.
pub async fn warn_of_fraud(work: &mut Work<'_>, intent: &str) -> Result<Value> {
    let charge = charge_of(work, intent).await?;
    let charge = work.lock("charge", &charge).await?.unwrap_or_default();
    let warning = json!({
        "id": id("issfr_", 24), "object": "radar.early_fraud_warning",
        "actionable": charge["refunded"] != true && charge["disputed"] != true, "charge": charge["id"], "created": now(),
        "fraud_type": "unauthorized_use_of_card", "livemode": false, "payment_intent": intent,
    });
    work.insert(&warning, json!({})).await?;
    work.emit("radar.early_fraud_warning.created", &warning)
        .await?;
    Ok(warning)
}

/// Stripe asks the shop to look at a payment.
pub async fn open_review(work: &mut Work<'_>, intent: &str) -> Result<Value> {
    let charge = charge_of(work, intent).await?;
    work.lock("charge", &charge).await?;
    let open = json!({"charge": charge, "open": true});
    if work.holding("review", open).await?.is_some() {
        return Err(Problem::refused("This payment is under review already."));
    }
    let mut review = json!({
        "id": id("prv_", 24), "object": "review", "charge": charge, "created": now(), "livemode": false, "open": true,
        "opened_reason": "rule", "payment_intent": intent, "reason": "rule",
    });
    nulls(
        &mut review,
        &[
            "billing_zip",
            "closed_reason",
            "ip_address",
            "ip_address_location",
            "session",
        ],
    );
    work.insert(&review, json!({})).await?;
    work.emit("review.opened", &review).await?;
    Ok(review)
}

/// The shop approves a payment under review.
pub async fn approve_review(work: &mut Work<'_>, intent: &str) -> Result<()> {
    let charge = charge_of(work, intent).await?;
    work.lock("charge", &charge).await?;
    let open = json!({"charge": charge, "open": true});
    let mut review = work
        .holding("review", open)
        .await?
        .ok_or_else(|| Problem::refused("This payment is not under review."))?;
    review["open"] = json!(false);
    review["reason"] = json!("approved");
    review["closed_reason"] = json!("approved");
    work.save(&review).await?;
    work.emit("review.closed", &review).await
}

/// The id of the charge that an intent succeeded with.
async fn charge_of(work: &mut Work<'_>, intent: &str) -> Result<String> {
    let missing = || Problem::missing(400, "payment_intent", intent, "payment_intent");
    let found = work
        .find("payment_intent", intent)
        .await?
        .ok_or_else(missing)?;
    found["latest_charge"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| {
            let message = format!(
                "This PaymentIntent ({intent}) does not have a successful charge to refund."
            );
            Problem::refused(message)
                .code("payment_intent_unexpected_state")
                .param("payment_intent")
        })
}
