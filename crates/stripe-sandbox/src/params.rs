//! Stripe's parameters: form fields with brackets made into a tree, and checked as Stripe checks them.
//!
//! `parameters.json` says what each operation takes, in the small JSON Schema that Stripe's own description
//! boils down to; an operation that is not in it does not exist here.
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::store::{Problem, Result};

static OPERATIONS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("parameters.json"))
        .expect("parameters.json is checked in and is JSON")
});

/// The operation that serves a request: its template, its schema, and the id in the path.
pub fn operation(method: &str, path: &str) -> Option<(&'static str, &'static Value, String)> {
    OPERATIONS
        .as_object()?
        .iter()
        .find_map(|(template, schema)| {
            let pattern = template.strip_prefix(method)?.strip_prefix(' ')?;
            let mut id = String::new();
            let same = pattern.split('/').count() == path.split('/').count()
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
            same.then_some((template.as_str(), schema, id))
        })
}

/// Makes the tree: `a[b][0]=c` becomes `{"a": {"b": {"0": "c"}}}`; what is an array, the schema knows.
pub fn tree(pairs: &[(String, String)]) -> Result<Value> {
    let mut root = json!({});
    for (name, text) in pairs {
        let invalid = || Problem::invalid(format!("Invalid parameter name: {name}"), name);
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

/// Checks a value against its schema and gives it its type. An empty string that unsets becomes null.
pub fn check(schema: &Value, value: Value, name: &str) -> Result<Value> {
    let kind = schema["type"].as_str().unwrap_or("any");
    if value == "" && kind != "any" && !schema["anyOf"].is_array() {
        if schema["empty"] == true {
            return Ok(Value::Null);
        }
        return Err(Problem::invalid(
            format!(
                "You passed an empty string for '{name}'. We assume empty values are an attempt to unset a parameter; \
                 however '{name}' cannot be unset. You should remove '{name}' from your request or supply a non-empty value."
            ),
            name,
        )
        .code("parameter_invalid_empty"));
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let mut outcome = Err(Problem::invalid(format!("Invalid {name}"), name));
        for choice in choices {
            outcome = check(choice, value.clone(), name);
            if outcome.is_ok() {
                break;
            }
        }
        return outcome;
    }
    let wrong = |what: &str| Problem::invalid(format!("Invalid {what}"), name);
    match (kind, value) {
        ("object", Value::Object(given)) => object(schema, given, name),
        ("map", Value::Object(given)) => map(&schema["values"], given, name),
        ("array", Value::Object(given)) => {
            let mut items = given
                .into_iter()
                .map(|(key, item)| Some((key.parse::<u32>().ok()?, item)))
                .collect::<Option<Vec<_>>>();
            let items = items.as_mut().ok_or_else(|| wrong("array"))?;
            items.sort_by_key(|(index, _)| *index);
            let items = items.drain(..).map(|(index, item)| {
                check(&schema["items"], item, &inside(name, &index.to_string()))
            });
            Ok(Value::Array(items.collect::<Result<_>>()?))
        }
        ("any", value) => Ok(value),
        ("object" | "map", _) => Err(wrong("object")),
        ("array", _) => Err(wrong("array")),
        (_, Value::String(text)) => scalar(schema, kind, text, name),
        (kind, _) => Err(wrong(kind)),
    }
}

fn object(schema: &Value, given: Map<String, Value>, name: &str) -> Result<Value> {
    let mut checked = Map::new();
    for (key, value) in given {
        let name = inside(name, &key);
        let Some(schema) = schema["properties"].get(&key) else {
            return Err(
                Problem::invalid(format!("Received unknown parameter: {name}"), &name)
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
            return Err(Problem::absent(&inside(name, key)));
        }
    }
    Ok(Value::Object(checked))
}

fn map(schema: &Value, given: Map<String, Value>, name: &str) -> Result<Value> {
    let metadata = name == "metadata" || name.ends_with("[metadata]");
    let mut checked = Map::new();
    for (key, value) in given {
        let length = key.chars().count();
        if metadata && length > 40 {
            let message = format!(
                "Metadata keys can have up to 40 characters, but you passed in a key that is {length} characters. Invalid key: {key}"
            );
            return Err(Problem::invalid(message, name));
        }
        let length = value.as_str().map_or(0, |value| value.chars().count());
        if metadata && length > 500 {
            let message = format!(
                "Metadata values can have up to 500 characters, but you passed in a value that is {length} characters. Invalid value: {value}"
            );
            return Err(Problem::invalid(message, &inside(name, &key)));
        }
        let value = if metadata && length == 0 {
            value
        } else {
            check(schema, value, &inside(name, &key))?
        };
        checked.insert(key, value);
    }
    if metadata && checked.len() > 50 {
        return Err(Problem::invalid(
            "Metadata can have up to 50 keys.".into(),
            name,
        ));
    }
    Ok(Value::Object(checked))
}

fn scalar(schema: &Value, kind: &str, text: String, name: &str) -> Result<Value> {
    match kind {
        "integer" => text.parse::<i64>().map(Value::from).map_err(|_| {
            Problem::invalid(format!("Invalid integer: {text}"), name)
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
        "string" => {
            let longest = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
            if text.chars().count() as u64 > longest {
                return Err(Problem::invalid(
                    format!("Invalid string: {text}; must be at most {longest} characters"),
                    name,
                ));
            }
            match schema["enum"].as_array() {
                Some(known) if !known.iter().any(|known| known == &text) => {
                    let known = known
                        .iter()
                        .filter_map(Value::as_str)
                        .collect::<Vec<_>>()
                        .join(", ");
                    Err(Problem::invalid(
                        format!("Invalid {name}: must be one of {known}"),
                        name,
                    ))
                }
                _ => Ok(Value::from(text)),
            }
        }
        kind => Err(Problem::invalid(format!("Invalid {kind}: {text}"), name)),
    }
}

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

    fn parse(pairs: &[(&str, &str)]) -> Result<Value> {
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
        assert_eq!(parse(&pairs).unwrap(), expected);
        let array = json!({"type": "array", "items": {"type": "string"}});
        assert_eq!(
            check(&array, expected["a"]["b"].clone(), "b").unwrap(),
            json!(["x", "y", "z"])
        );
        for wrong in ["[a]", "a[", "a[b", "a[b]c", "", "a\0"] {
            assert!(parse(&[(wrong, "x")]).is_err(), "{wrong:?}");
        }
        assert!(parse(&[("a", "x"), ("a[b]", "y")]).is_err());
        assert!(parse(&[("a[b]", "y"), ("a", "x")]).is_err());
    }

    #[test]
    fn a_path_finds_its_operation() {
        let found = |method, path| operation(method, path).map(|(template, _, id)| (template, id));
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
