//! Parameters: form fields with brackets made into a tree, and checked as Stripe checks them.
//!
//! `parameters.json` holds the parameters of each operation, in the small JSON Schema that Stripe's OpenAPI description
//! boils down to. An operation that is not in it does not exist here.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::error::{ApiError, ApiResult};

static OPERATIONS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("parameters.json"))
        .expect("parameters.json is checked in and is JSON")
});

/// An operation of the API, as a request's path names it.
pub struct Operation {
    /// Method and path with a placeholder: `POST /v1/products/{id}`.
    pub template: &'static str,
    /// Schema of the parameters.
    pub schema: &'static Value,
    /// The id in the path; empty for an operation without one.
    pub id: String,
}

/// Finds the operation that serves a request.
pub fn operation(method: &str, path: &str) -> Option<Operation> {
    OPERATIONS
        .as_object()?
        .iter()
        .find_map(|(template, schema)| {
            let pattern = template.strip_prefix(method)?.strip_prefix(' ')?;
            let mut id = String::new();
            let is_same = pattern.split('/').count() == path.split('/').count()
                && pattern
                    .split('/')
                    .zip(path.split('/'))
                    .all(|(want, got)| match want {
                        "{id}" => {
                            got.clone_into(&mut id);
                            !got.is_empty()
                        }
                        _ => want == got,
                    });
            is_same.then_some(Operation {
                template,
                schema,
                id,
            })
        })
}

/// Makes a tree of fields: `a[b][0]=c` becomes `{"a": {"b": {"0": "c"}}}`. The schema later says which node is an array.
pub fn tree(pairs: &[(String, String)]) -> ApiResult<Value> {
    let mut root = json!({});
    for (name, text) in pairs {
        let invalid = || ApiError::invalid(format!("Invalid parameter name: {name}"), name);
        let (head, tail) = name
            .split_once('[')
            .map_or((name.as_str(), None), |(head, tail)| (head, Some(tail)));
        let mut keys = vec![head];
        if let Some(tail) = tail {
            keys.extend(tail.strip_suffix(']').ok_or_else(invalid)?.split("]["));
        }
        if head.is_empty()
            || keys.len() > 10
            || name.contains('\0')
            || text.contains('\0')
            || !plant(&mut root, &keys, text)
        {
            return Err(invalid());
        }
    }
    Ok(root)
}

/// Sets a leaf of the tree; returns false if it is taken, or lies inside of another leaf.
fn plant(node: &mut Value, keys: &[&str], text: &str) -> bool {
    let Some((key, rest)) = keys.split_first() else {
        let free = !node.is_object();
        *node = Value::from(text);
        return free;
    };
    if node.is_null() {
        *node = json!({});
    }
    let Some(map) = node.as_object_mut() else {
        return false;
    };
    let key = if key.is_empty() {
        map.len().to_string()
    } else {
        (*key).to_owned()
    };
    plant(map.entry(key).or_insert(Value::Null), rest, text)
}

/// Checks a value against its schema and gives it the schema's type. An empty string that unsets becomes null.
pub fn check(schema: &Value, value: Value, name: &str) -> ApiResult<Value> {
    if let Some(choices) = schema["anyOf"].as_array() {
        return check_any(choices, &value, name);
    }
    let kind = schema["type"].as_str().unwrap_or("any");
    let wrong = |what: &str| ApiError::invalid(format!("Invalid {what}"), name);
    match (kind, value) {
        ("any", value) => Ok(value),
        (_, Value::String(text)) if text.is_empty() => match schema["empty"] == true {
            true => Ok(Value::Null),
            false => Err(empty(name)),
        },
        ("object", Value::Object(given)) => object(schema, given, name),
        ("map", Value::Object(given)) => map(&schema["values"], given, name),
        ("array", Value::Object(given)) => array(&schema["items"], given, name),
        ("object" | "map", _) => Err(wrong("object")),
        ("array", _) => Err(wrong("array")),
        (_, Value::String(text)) => scalar(schema, kind, text, name),
        (kind, _) => Err(wrong(kind)),
    }
}

/// Checks a value against alternatives. The last one's error stands for all.
fn check_any(choices: &[Value], value: &Value, name: &str) -> ApiResult<Value> {
    let mut outcome = Err(ApiError::invalid(format!("Invalid {name}"), name));
    for choice in choices {
        outcome = check(choice, value.clone(), name);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn empty(name: &str) -> ApiError {
    let message = format!(
        "You passed an empty string for '{name}'. We assume empty values are an attempt to unset a parameter; \
         however '{name}' cannot be unset. You should remove '{name}' from your request or supply a non-empty value."
    );
    ApiError::invalid(message, name).code("parameter_invalid_empty")
}

/// Orders the items by their indexes, which may have gaps: `a[10]` comes after `a[2]`.
fn array(schema: &Value, given: Map<String, Value>, name: &str) -> ApiResult<Value> {
    let items = given
        .into_iter()
        .map(|(key, item)| Some((key.parse::<u32>().ok()?, item)))
        .collect::<Option<Vec<_>>>();
    let mut items = items.ok_or_else(|| ApiError::invalid("Invalid array", name))?;
    items.sort_by_key(|(index, _)| *index);
    let items = items
        .into_iter()
        .map(|(index, item)| check(schema, item, &inside(name, &index.to_string())));
    Ok(Value::Array(items.collect::<ApiResult<_>>()?))
}

/// Checks a form's fields by name: no unknown one, and all that are required.
fn object(schema: &Value, given: Map<String, Value>, name: &str) -> ApiResult<Value> {
    let mut checked = Map::new();
    for (key, value) in given {
        let name = inside(name, &key);
        let Some(schema) = schema["properties"].get(&key) else {
            return Err(
                ApiError::invalid(format!("Received unknown parameter: {name}"), &name)
                    .code("parameter_unknown"),
            );
        };
        checked.insert(key, check(schema, value, &name)?);
    }
    for key in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !checked.contains_key(key) {
            return Err(ApiError::absent(&inside(name, key)));
        }
    }
    Ok(Value::Object(checked))
}

/// Checks a map with keys of the caller's choice, of which metadata has rules of its own.
fn map(schema: &Value, given: Map<String, Value>, name: &str) -> ApiResult<Value> {
    let is_metadata = name == "metadata" || name.ends_with("[metadata]");
    let mut checked = Map::new();
    for (key, value) in given {
        if is_metadata {
            check_metadata(&key, &value, name)?;
        }
        // An empty value of metadata unsets its key, whatever the schema says.
        let value = match value {
            Value::String(text) if is_metadata && text.is_empty() => Value::String(text),
            value => check(schema, value, &inside(name, &key))?,
        };
        checked.insert(key, value);
    }
    if is_metadata && checked.len() > 50 {
        return Err(ApiError::invalid("Metadata can have up to 50 keys.", name));
    }
    Ok(Value::Object(checked))
}

/// Source: <https://docs.stripe.com/api/metadata>
fn check_metadata(key: &str, value: &Value, name: &str) -> ApiResult<()> {
    let length = key.chars().count();
    if length > 40 {
        let message = format!(
            "Metadata keys can have up to 40 characters, but you passed in a key that is {length} characters. Invalid key: {key}"
        );
        return Err(ApiError::invalid(message, name));
    }
    let length = value.as_str().map_or(0, |value| value.chars().count());
    if length > 500 {
        let message = format!(
            "Metadata values can have up to 500 characters, but you passed in a value that is {length} characters. Invalid value: {value}"
        );
        return Err(ApiError::invalid(message, &inside(name, key)));
    }
    Ok(())
}

/// Gives a text the schema's type.
fn scalar(schema: &Value, kind: &str, text: String, name: &str) -> ApiResult<Value> {
    match kind {
        "integer" => text.parse::<i64>().map(Value::from).map_err(|_| {
            ApiError::invalid(format!("Invalid integer: {text}"), name)
                .code("parameter_invalid_integer")
        }),
        "number" | "decimal" if text.parse::<f64>().is_ok_and(f64::is_finite) => {
            Ok(if kind == "number" {
                text.parse::<f64>().map_or(Value::Null, Value::from)
            } else {
                Value::from(text)
            })
        }
        "boolean" if text == "true" || text == "false" => Ok(Value::from(text == "true")),
        "string" => string(schema, text, name),
        kind => Err(ApiError::invalid(format!("Invalid {kind}: {text}"), name)),
    }
}

/// Checks a text against its longest length and its allowed values.
fn string(schema: &Value, text: String, name: &str) -> ApiResult<Value> {
    let longest = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
    if text.chars().count() as u64 > longest {
        let message = format!("Invalid string: {text}; must be at most {longest} characters");
        return Err(ApiError::invalid(message, name));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.iter().any(|value| value == &text)
    {
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        let message = format!("Invalid {name}: must be one of {}", values.join(", "));
        return Err(ApiError::invalid(message, name));
    }
    Ok(Value::from(text))
}

/// The name of a field within another: `a[b]`.
fn inside(name: &str, key: &str) -> String {
    if name.is_empty() {
        key.to_owned()
    } else {
        format!("{name}[{key}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> ApiResult<Value> {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        tree(&pairs.iter().map(owned).collect::<Vec<_>>())
    }

    #[test]
    fn brackets_make_a_tree() {
        let pairs = [
            ("a[b][0]", "x"),
            ("a[b][10]", "z"),
            ("a[b][2]", "y"),
            ("list[]", "1"),
            ("list[]", "2"),
        ];
        let expected =
            json!({"a": {"b": {"0": "x", "10": "z", "2": "y"}}, "list": {"0": "1", "1": "2"}});
        assert_eq!(parse(&pairs).expect("a tree"), expected);
        let array = json!({"type": "array", "items": {"type": "string"}});
        assert_eq!(
            check(&array, expected["a"]["b"].clone(), "b").expect("an array"),
            json!(["x", "y", "z"])
        );
        for wrong in ["[a]", "a[", "a[b", "a[b]c", "", "a\0"] {
            assert!(parse(&[(wrong, "x")]).is_err(), "{wrong:?}");
        }
        assert!(parse(&[("a", "x"), ("a[b]", "y")]).is_err());
        assert!(parse(&[("a[b]", "y"), ("a", "x")]).is_err());
    }

    #[test]
    fn metadata_is_flat_and_an_empty_value_unsets_a_key() {
        let metadata = json!({"type": "map", "values": {"type": "string"}});
        let checked = |value: Value| check(&metadata, value, "metadata");
        let given = json!({"a": "1", "b": ""});
        assert_eq!(checked(given.clone()).expect("metadata"), given);
        for wrong in [
            json!({"a": {"b": "1"}}),
            json!({"a".repeat(41): "1"}),
            json!({"a": "1".repeat(501)}),
        ] {
            assert!(checked(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_finds_its_operation() {
        let found = |method, path| {
            operation(method, path).map(|operation| (operation.template, operation.id))
        };
        let expire = ("POST /v1/checkout/sessions/{id}/expire", "cs_1".to_owned());
        assert_eq!(
            found("POST", "/v1/checkout/sessions/cs_1/expire"),
            Some(expire)
        );
        assert_eq!(
            found("GET", "/v1/events"),
            Some(("GET /v1/events", String::new()))
        );
        assert_eq!(found("GET", "/v1/events/"), None);
        assert_eq!(found("DELETE", "/v1/events"), None);
    }
}
