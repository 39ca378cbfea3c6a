//! Phrases for the banks' reasons.

/// The bank's reason as a phrase without a period. Unknown reasons get a general phrase.
///
/// Source: <https://docs.stripe.com/api/disputes/object#dispute_object-reason>
pub fn in_words(reason: &str) -> &'static str {
    match reason {
        "bank_cannot_process" => "the bank cannot process the payment",
        "check_returned" => "the check was returned",
        "credit_not_processed" => "the customer says that a refund they were promised did not come",
        "customer_initiated" => "the customer asked their bank to take the payment back",
        "debit_not_authorized" => "the customer says that they did not authorize the payment",
        "duplicate" => "the customer says that they were charged twice",
        "fraudulent" => "the customer says that the payment was not theirs",
        "incorrect_account_details" => "the account details were wrong",
        "insufficient_funds" => "the account had insufficient funds",
        "noncompliant" => "the bank says that the payment broke a rule of the card network",
        "product_not_received" => "the customer says that the order did not arrive",
        "product_unacceptable" => "the customer says that the piece is damaged or not as described",
        "subscription_canceled" => "the customer says that they had canceled",
        "unrecognized" => "the customer does not recognize the payment on their statement",
        _ => "the bank gives no particular reason",
    }
}
