//! Every error code: the stable words of the API, with their HTTP status and meaning.
//!
//! The table of docs/api.md is made of this list, and a test holds the two, the uses in the source and the API document
//! against each other.

use std::fmt;

use axum::http::StatusCode;
use serde::{Serialize, Serializer};

/// Defines an enum of codes, sorted by HTTP status: `Variant = "code"`, and a sentence as its doc comment.
macro_rules! codes {
    (
        $(#[$of_all:meta])*
        pub enum $name:ident {
            $($status:ident {
                $(#[doc = $meaning:literal] $variant:ident = $text:literal,)+
            })+
        }
    ) => {
        $(#[$of_all])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[doc = $meaning] $variant,)+)+
        }

        impl $name {
            /// Every code, by HTTP status.
            pub const ALL: &[$name] = &[$($($name::$variant,)+)+];

            /// The code as it is sent.
            pub fn text(self) -> &'static str {
                match self {
                    $($($name::$variant => $text,)+)+
                }
            }

            /// HTTP status of errors with this code.
            pub fn status(self) -> StatusCode {
                match self {
                    $($($name::$variant)|+ => StatusCode::$status,)+
                }
            }

            /// One sentence on the cause.
            pub fn meaning(self) -> &'static str {
                match self {
                    $($($name::$variant => $meaning.trim_ascii(),)+)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.text())
            }
        }
    };
}

codes! {
    /// Code of an error.
    pub enum Code {
        BAD_REQUEST {
            /// A field is wrong; `details` names each.
            Invalid = "invalid",
            /// A filter of a list is wrong; the answer maps each to its sentences.
            InvalidFilter = "invalid_filter",
            /// The body is not well-formed.
            ParseError = "parse_error",
            /// The body ended early.
            IncompleteBody = "incomplete_body",
            /// The request contains a value that cannot be stored.
            InvalidValue = "invalid_value",
            /// The cart is empty.
            NoItems = "no_items",
            /// Lines of the cart cannot be bought; `details` names each.
            CartNotAvailable = "cart_not_available",
            /// The cart has more pieces than one purchase may have.
            TooManyPieces = "too_many_pieces",
            /// Stripe refused the checkout's content, which the shop must repair.
            PaymentSetupError = "payment_setup_error",
            /// The webhook's signature is missing or wrong.
            InvalidSignature = "invalid_signature",
            /// The parameter `ids` is missing.
            IdsRequired = "ids_required",
            /// None of the `ids` can be the id of a product.
            NoValidIds = "no_valid_ids",
            /// More than 100 `ids`.
            TooManyIds = "too_many_ids",
            /// The sum of a sale is more than can be paid at once.
            AmountTooLarge = "amount_too_large",
            /// A required field of a custom order request is missing.
            MissingField = "missing_field",
            /// A field of a custom order request has the wrong type or contains control characters.
            InvalidField = "invalid_field",
            /// The customer's name has several lines.
            InvalidName = "invalid_name",
            /// The email address is invalid.
            InvalidEmail = "invalid_email",
            /// The description of a custom order is too short.
            DescriptionTooShort = "description_too_short",
            /// A text of a custom order request is too long.
            TooLong = "too_long",
            /// The request has too many images.
            TooManyImages = "too_many_images",
            /// An image has too many bytes.
            ImageTooLarge = "image_too_large",
            /// A file is no image that the shop can read.
            InvalidImage = "invalid_image",
        }
        UNAUTHORIZED {
            /// No valid token.
            NotAuthenticated = "not_authenticated",
        }
        FORBIDDEN {
            /// The token lacks the scope.
            PermissionDenied = "permission_denied",
            /// The page is for owners.
            OwnersOnly = "owners_only",
            /// The form is out of date, or came from another site.
            StaleForm = "stale_form",
        }
        NOT_FOUND {
            /// The thing does not exist, or is not visible to the caller.
            NotFound = "not_found",
            /// The list has no such page.
            InvalidPage = "invalid_page",
        }
        METHOD_NOT_ALLOWED {
            /// The path does not support the method.
            MethodNotAllowed = "method_not_allowed",
        }
        REQUEST_TIMEOUT {
            /// The body did not arrive in time.
            RequestTimeout = "request_timeout",
        }
        CONFLICT {
            /// The thing has changed since the version that the request names.
            VersionConflict = "version_conflict",
            /// The stock has changed since the count that the request names.
            InventoryChanged = "inventory_changed",
            /// Pending checkouts hold these pieces.
            StockIsHeld = "stock_is_held",
            /// Another product or category has the slug.
            SlugTaken = "slug_taken",
            /// There is or was a product with the id.
            IdTaken = "id_taken",
            /// Fewer pieces are available than the sale needs.
            InsufficientInventory = "insufficient_inventory",
            /// The sale's id was used for another sale.
            SaleDiffers = "sale_differs",
            /// The order was paid through Stripe, so it is undone by a refund.
            NotByHand = "not_by_hand",
            /// The restock's id was used for other pieces.
            RestockDiffers = "restock_differs",
            /// The order or custom order is not paid, or is shipped already.
            NotShippable = "not_shippable",
            /// All of the money is refunded, or about to be.
            RefundedInFull = "refunded_in_full",
            /// All pieces of the order are restocked.
            NothingToShip = "nothing_to_ship",
            /// A warning speaks against shipping; confirm to ship nevertheless.
            ConfirmShipping = "confirm_shipping",
            /// The order is not shipped.
            NotDeliverable = "not_deliverable",
            /// Shipping can be undone only within 7 days, and not after the delivery or a refund in full.
            NotUnshippable = "not_unshippable",
            /// The order was shipped at another time than the named one.
            ShipmentDiffers = "shipment_differs",
            /// The payment cannot be refunded through Stripe.
            NotRefundable = "not_refundable",
            /// All of the payment is refunded, or about to be.
            NothingLeft = "nothing_left",
            /// The refund's id was used for another refund.
            RefundDiffers = "refund_differs",
            /// Stripe has accepted the refund, so there is nothing to retry.
            RefundIsMade = "refund_is_made",
            /// The custom order's status does not allow a quote.
            NotQuotable = "not_quotable",
            /// The custom order's status does not allow approval.
            NotApprovable = "not_approvable",
            /// The custom order has no quote.
            NoQuote = "no_quote",
            /// The custom order's quote can be paid.
            QuoteIsLive = "quote_is_live",
            /// A payment of the quote has begun.
            PaymentInProgress = "payment_in_progress",
            /// The quote's payment link is being made.
            QuoteAsking = "quote_asking",
            /// The quote's payment link is being closed.
            QuoteClosing = "quote_closing",
            /// The custom order's status does not allow rejection.
            NotRejectable = "not_rejectable",
            /// The custom order has no quote to withdraw.
            NotWithdrawable = "not_withdrawable",
            /// The order or custom order is not paid.
            NotPaid = "not_paid",
            /// Something of the customer's is not over yet, so their data cannot be deleted.
            CustomerActive = "customer_active",
            /// The customer's data was deleted, and the change needs or adds some.
            CustomerErased = "customer_erased",
            /// The order or custom order is not shipped.
            NotShipped = "not_shipped",
            /// Several review items are open, and each is resolved by its id.
            SeveralReviewItems = "several_review_items",
            /// The email is being sent.
            EmailOnItsWay = "email_on_its_way",
            /// The email's contents are not so any more: the shipment was undone, or made after all.
            EmailWithdrawn = "email_withdrawn",
            /// The event has taken effect.
            EventAlreadyProcessed = "event_already_processed",
            /// A worker is running the job.
            JobIsRunning = "job_is_running",
            /// Another backup reads the tables.
            BackupRunning = "backup_running",
            /// The order holds no pieces.
            NotHeld = "not_held",
            /// The order was paid before its hold could be released.
            OrderIsPaid = "order_is_paid",
            /// The shop would be left without an owner.
            LastOwner = "last_owner",
            /// Users cannot change their own rights.
            Yourself = "yourself",
            /// A second factor is enabled already.
            SecondFactorOn = "second_factor_on",
            /// No second factor is enabled.
            NoSecondFactor = "no_second_factor",
            /// No second factor is being set up.
            NoSetUp = "no_set_up",
            /// The quote has changed since the page was loaded.
            QuoteChanged = "quote_changed",
            /// The batch of table photographs is done or discarded.
            IntakeIsClosed = "intake_is_closed",
            /// Jobs are still at work on the batch of table photographs.
            IntakeIsBusy = "intake_is_busy",
            /// A product is made of the piece.
            PieceHasAProduct = "piece_has_a_product",
            /// No product is made of the batch of table photographs.
            NothingToTakeBack = "nothing_to_take_back",
            /// The photographs of the batch are deleted, so it cannot be opened again.
            PhotosAreGone = "photos_are_gone",
            /// The form has taken effect already.
            AlreadySent = "already_sent",
            /// The form was sent again in the meantime, and that time counts.
            SentAgain = "sent_again",
        }
        PAYLOAD_TOO_LARGE {
            /// The body is too large.
            PayloadTooLarge = "payload_too_large",
        }
        UNSUPPORTED_MEDIA_TYPE {
            /// The body has the wrong media type.
            UnsupportedMediaType = "unsupported_media_type",
        }
        RANGE_NOT_SATISFIABLE {
            /// The image has no such bytes.
            RangeNotSatisfiable = "range_not_satisfiable",
        }
        UNPROCESSABLE_ENTITY {
            /// The idempotency key was used for another request.
            IdempotencyKeyReused = "idempotency_key_reused",
        }
        TOO_MANY_REQUESTS {
            /// A rate limit is exceeded; `Retry-After` says how long.
            TooManyRequests = "too_many_requests",
        }
        INTERNAL_SERVER_ERROR {
            /// A bug; the log has it, under the id in `x-request-id`.
            Internal = "internal",
        }
        SERVICE_UNAVAILABLE {
            /// The shop is too busy.
            Overloaded = "overloaded",
            /// The request took too long.
            Timeout = "timeout",
            /// Too many searches run at once, or this one took too long.
            SearchBusy = "search_busy",
            /// The database cannot be reached.
            DatabaseUnavailable = "database_unavailable",
            /// Stripe cannot be reached.
            PaymentUnavailable = "payment_unavailable",
            /// The storage of images cannot be reached.
            MediaUnavailable = "media_unavailable",
            /// The event could not be processed; Stripe sends it again.
            EventNotProcessed = "event_not_processed",
            /// The shop failed at an earlier order of the same request.
            NotTried = "not_tried",
            /// The shop failed before all orders of the form were shipped.
            NotAllShipped = "not_all_shipped",
        }
    }
}

codes! {
    /// Code of a cart line that cannot be bought.
    pub enum LineCode {
        BAD_REQUEST {
            /// The line has no product id or no quantity, or one that cannot be read.
            InvalidItemData = "invalid_item_data",
            /// There is no such product any more.
            ProductNotFound = "product_not_found",
            /// The product is not for sale.
            ProductNotActive = "product_not_active",
            /// No piece is available.
            ProductSoldOut = "product_sold_out",
            /// Fewer pieces are available than the line names.
            InsufficientInventory = "insufficient_inventory",
            /// The product is priced in another currency than the shop's.
            CurrencyMismatch = "currency_mismatch",
        }
    }
}
