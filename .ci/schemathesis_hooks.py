"""What the API's document cannot say: which things there are, and which rules are no matter of form.

Read by schemathesis (`.ci/schemathesis` runs it). Positive cases name things that exist, so that they reach what lies
behind "not found"; refusals that tell of the shop's state, and not of the form of the request, are no findings.
"""

import atexit
import base64
import collections
import json
import os
import random
import re
import urllib.request

import schemathesis
from hypothesis import strategies

SHOP = os.environ["SHOP"]
OWNER = os.environ["OWNER_TOKEN"]
# The tokens of the runs themselves: without them all that follows would be 401.
KEPT_TOKENS = {int(id) for id in os.environ["KEPT_TOKENS"].split()}

chance = random.Random(int(os.environ["SEED"]))

# A form's file is an image: what is none is tried elsewhere (tests/it/images/hostile.rs).
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
schemathesis.openapi.format("binary", strategies.just(PIXEL))


class Things:
    """What the shop has, read again from time to time: a run deletes much of it."""

    LISTS = {
        "orders": ("/api/admin/orders/?page_size=100", lambda row: [row["id"], row["number"]]),
        "requests": ("/api/admin/custom-orders/?page_size=100", lambda row: [row["id"], row["number"]]),
        "products": ("/api/admin/products/?page_size=100", lambda row: [row["id"]]),
        # With the product that shows it.
        "images": (
            "/api/admin/products/?page_size=100",
            lambda row: [(row["id"], image["url"].split("/")[-2]) for image in row["images"]],
        ),
        "categories": ("/api/admin/categories/", lambda row: [row["id"]]),
        "events": ("/api/admin/events/?page_size=100", lambda row: [row["id"]]),
        "jobs": ("/api/admin/jobs/?page_size=100", lambda row: [row["id"]]),
        "emails": ("/api/admin/emails/?page_size=100", lambda row: [row["id"]]),
        "holds": ("/api/admin/holds/?page_size=100", lambda row: [row["id"]]),
        "users": ("/api/admin/users/?page_size=100", lambda row: [row["id"]]),
        "tokens": ("/api/admin/tokens/?page_size=100", lambda row: [row["id"]]),
    }

    def __init__(self):
        self.known = {}
        self.left = collections.Counter()

    def ids(self, kind):
        if self.left[kind] == 0:
            path, read = self.LISTS[kind]
            request = urllib.request.Request(SHOP + path, headers={"Authorization": f"Bearer {OWNER}"})
            with urllib.request.urlopen(request) as answer:
                rows = json.load(answer)["results"]
            self.known[kind] = [id for row in rows for id in read(row)]
            self.left[kind] = 20
        self.left[kind] -= 1
        return self.known[kind]

    def one(self, kind):
        ids = self.ids(kind)
        return chance.choice(ids) if ids else None


things = Things()
# What only a shopper knows, in the script's words.
SHOPPER = json.loads(os.environ["SHOPPER"])

PATHS = [
    (r"^/api/admin/custom-orders/\{id\}", "requests"),
    (r"^/api/admin/orders/\{id\}", "orders"),
    (r"^/api(/admin)?/products/\{id\}", "products"),
    (r"^/api(/admin)?/categories/\{id\}", "categories"),
    (r"^/api/admin/events/\{id\}", "events"),
    (r"^/api/admin/jobs/\{id\}", "jobs"),
    (r"^/api/admin/emails/\{id\}", "emails"),
    (r"^/api/admin/holds/\{id\}", "holds"),
    (r"^/api/admin/users/\{id\}", "users"),
    (r"^/api/admin/tokens/\{id\}", "tokens"),
]


@schemathesis.hook
def before_call(context, case, kwargs):
    path = case.operation.path
    meta = case.meta
    is_positive = meta is not None and meta.generation.mode.is_positive
    # What a link names, or what is wrong on purpose, stays.
    if is_positive and meta.phase.name.value != "stateful" and chance.random() < 0.8:
        name_things(path, case)
    if path == "/api/admin/tokens/{id}/revoke":
        if str(case.path_parameters.get("id")) in {str(id) for id in KEPT_TOKENS}:
            case.path_parameters["id"] = 2**62


def name_things(path, case):
    if case.path_parameters:
        for pattern, kind in PATHS:
            if re.search(pattern, path) and (id := things.one(kind)) is not None:
                was = case.path_parameters["id"]
                case.path_parameters["id"] = str(id) if isinstance(was, str) else id
        for name, value in SHOPPER.get(path, {}).items():
            case.path_parameters[name] = value
    body = case.body
    if path.startswith("/api/admin/products/{id}/images") and (shown := things.one("images")):
        case.path_parameters["id"], image = shown
        if "image" in case.path_parameters:
            case.path_parameters["image"] = image
        else:
            body["images"] = [image]
        return
    if not isinstance(body, dict):
        return
    if path == "/api/admin/products":
        body["ids"] = some("products", body["ids"]) or body["ids"]
    elif path == "/api/admin/categories":
        body["ids"] = some("categories", body["ids"]) or body["ids"]
    elif path == "/api/admin/orders/ship":
        for shipment, order in zip(body["shipments"], some("orders", body["shipments"])):
            shipment["order"] = order
    elif path == "/api/admin/orders" and body.get("email"):
        body["email"] = "ann@example.com"
    elif path == "/api/custom-orders" and not body.get("images"):
        # What an address is, is beyond the pattern: most that it makes are none. (A body that was changed is judged
        # anew, and images are no JSON.)
        body["email"] = "ann@example.com"
    for lines in ("items", "lines", "restock"):
        for line in body.get(lines) or []:
            line["product_id"] = things.one("products") or line["product_id"]
    if body.get("images") and path != "/api/custom-orders":
        body["images"] = [image for _, image in some("images", body["images"])]
    if body.get("category") is not None:
        body["category"] = things.one("categories")


def some(kind, wanted):
    """As many different ones as are wanted, if there are so many; at least one."""
    ids = list(dict.fromkeys(things.ids(kind)))
    return chance.sample(ids, min(len(ids), max(len(wanted), 1)))


# Refusals (400) of requests that are well-formed: field, sentence, and why no schema says it.
BEYOND_FORM = [
    # It names what is not there, or not of this one.
    (r".*", r"(?i)^there is no such (image|product|category)\.?$"),
    (r"images\[\d+\]", r"^The product has no such image\.$"),
    (r"restock\[\d+\]", r"^(is no piece of this order|can take back )"),
    (r"order", r"^is no order's id or number$"),
    (r"category(__in)?", r"^Select a valid choice\. That choice is not one of the available choices\.$"),
    (r"email", r"^is a user's already$"),
    (r"name", r"^(is the name of another token: |There is a category “)"),
    (r"expires_at", r"^must be in the future$"),
    # What an address is, is beyond the pattern.
    (r"email", r"^is no email address$"),
    # Two entries of a list are one: `uniqueItems` compares whole entries, and ids that are written twice.
    (r".*", r"(?i)^(is named twice\.?|this image is in the list already\.)$"),
    # It depends on another field, or on the sum of several.
    (r"to", r"^must not be before the first day$"),
    (r"from|to", r"^must be a day such as "),
    (r"expected_inventory_count", r"^Say which inventory_count you saw"),
    (r"delta", r"^Must (not be zero|be (positive|negative) for this reason)\.$"),
    (r"shipping", r"^must not be negative, and at most 99999999 cents together with the amount$"),
    (r"shipping_.*\.max_days", r"^must be at least the minimum, and at most 365$"),
    (r"images", r"^A product has up to 10 images\. Remove some first\.$"),
    (r"amount", r"^must be more than nothing, and at most .*: that is what is left$"),
    (r"lines\[\d+\]\.product_id", r"^is sold in another currency than the lines before$"),
    # A pattern for all addresses would be longer than this file.
    (r"tracking_url", r"^must be an http or https address$"),
    # Two decimals of a number: `multipleOf` counts in binary fractions.
    (r"weight_ounces", r"^Must be a number from 0 to 99999\.99 with up to two decimals\.$"),
]

# The same for refusals that name no field.
CODES = {
    # The lines are told one by one: sold out, not on sale, in another currency.
    "cart_not_available",
    # It came before, with another request.
    "idempotency_key_reused",
    "amount_too_large",
    # Nobody but Stripe can sign.
    "invalid_signature",
    # Lengths are counted in UTF-16 units, as the storefront does; addresses, see above; no pattern knows an image.
    "too_long",
    "invalid_email",
    "invalid_image",
}


# Whether a well-formed request is taken depends on what the shop holds at that moment, which no seed repeats: where a
# run must end the same twice, these two are left to runs by hand. What counts there: no server error, no status and no
# answer that the document does not have.
IS_STEADY = "STEADY" in os.environ


@schemathesis.hook
def filter_failure(context, failure, case, response):
    # What is no longer or not yet on sale is there for the admin alone.
    if failure.code == "ST302" and (case.path_parameters or {}).get("id") in not_on_sale:
        return False
    if IS_STEADY and failure.code in ("ST201", "ST202"):
        return False
    if failure.code == "ST201":
        return not is_read_kindly(case)
    if failure.code != "ST202" or response.status_code not in (400, 422):
        return True
    body = response.json()
    # A name that it makes up for a part of a form may have control characters, which no header may.
    if body.get("detail") == "Multipart form parse error - failed to read headers":
        return False
    if body.get("code") in CODES:
        return False
    if body.get("code") == "invalid_filter":
        faults = [(field, sentence) for field, all in body.items() if field != "code" for sentence in all]
    else:
        faults = [(fault["field"], fault["message"]) for fault in body.get("details", [])]
    return not faults or not all(is_beyond_form(case.body, *fault) for fault in faults)


def is_read_kindly(case):
    """Whether what is wrong with a case is wrong no more as we read it."""
    about = case.meta.phase.data
    # A parameter that is empty is as if it were not given (`extract::Query`).
    if (case.query or {}).get(about.parameter) == "":
        return True
    # The id in a product's body is not read where its path has it.
    if case.path == "/api/products/{id}" and isinstance(case.body, dict) and case.body.get("id") == "":
        return True
    # Space around a text is taken away before its form is looked at.
    return "pattern" in (about.description or "") and has_space_around(case.body)


def has_space_around(value):
    if isinstance(value, dict):
        return any(map(has_space_around, value.values()))
    if isinstance(value, list):
        return any(map(has_space_around, value))
    return isinstance(value, str) and value != value.strip()


def is_beyond_form(body, field, sentence):
    # To JSON Schema 3.0 is a whole number; to us, who never let money meet a float, it is none.
    for part in re.findall(r"[^.\[\]]+", field):
        if isinstance(body, dict):
            body = body.get(part)
        elif isinstance(body, list) and part.isdigit() and int(part) < len(body):
            body = body[int(part)]
    if isinstance(body, float) and body.is_integer():
        return True
    return any(re.fullmatch(name, field) and re.search(words, sentence) for name, words in BEYOND_FORM)


answers = collections.defaultdict(collections.Counter)
# Ids and slugs of the products that were made as drafts, for a later time, or archived.
not_on_sale = set()
HIDING = {"is_draft": True, "is_active": False}


@schemathesis.hook
def after_call(context, case, response):
    if case.method.upper() == case.operation.method.upper():
        answers[case.operation.label][response.status_code] += 1
    if case.operation.label == "POST /api/products" and response.status_code == 201:
        asked = case.body if isinstance(case.body, dict) else {}
        if asked.get("on_sale_at") or any(asked.get(name) is value for name, value in HIDING.items()):
            made = response.json()
            not_on_sale.update((made["id"], made["slug"]))


@atexit.register
def tell():
    with open(os.environ["ANSWERS"], "w") as file:
        json.dump(answers, file, indent=1, sort_keys=True)
