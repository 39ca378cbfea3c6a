//! Forms as a page renders them, sent as a browser without scripts sends them.

use reqwest::Method;

use super::images::{self, Part};
use super::{Answer, Client};

/// A form of a page that is sent with POST.
#[derive(Clone, Debug)]
pub struct Form {
    /// Its address: path and query.
    pub action: String,
    /// Its fields in their order, with what stands in them.
    pub fields: Vec<Field>,
    /// The buttons that can be pressed, each with the name and value that it sends, if it has any.
    pub buttons: Vec<Option<(String, String)>>,
    /// The files that are chosen, by field.
    pub files: Vec<(String, Vec<u8>)>,
    is_upload: bool,
}

/// A field of a form.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub value: String,
    /// `select`, `textarea`, or the type of an input.
    pub kind: String,
    /// True when it is sent: a box that is not checked is not.
    pub is_on: bool,
    pub is_required: bool,
    /// The values to choose from.
    pub options: Vec<String>,
}

impl Form {
    /// The forms of a page that are sent with POST, in their order.
    pub fn all(page: &str) -> Vec<Form> {
        let mut forms: Vec<Form> = Vec::new();
        let mut is_open = false;
        let mut rest = page;
        while let Some((_, tag)) = rest.split_once('<') {
            let Some(end) = end_of_tag(tag) else { break };
            let (tag, after) = (&tag[..end], &tag[end + 1..]);
            rest = after;
            let name = tag.split(|c: char| c.is_whitespace() || c == '/').next();
            match (name.unwrap_or_default(), tag.starts_with('/')) {
                ("form", false) => {
                    is_open = attribute(tag, "method").is_some_and(|method| method == "post");
                    if is_open {
                        forms.push(Form::begun(tag));
                    }
                }
                ("", true) if tag == "/form" => is_open = false,
                ("script" | "style", false) => {
                    rest = rest.split_once("</").map_or("", |(_, rest)| rest);
                }
                (name, false) if is_open => {
                    let form = forms.last_mut().expect("it is open");
                    form.take(name, tag, after);
                }
                _ => {}
            }
        }
        forms
    }

    /// The form of a page that goes to this address.
    pub fn to(page: &str, action: &str) -> Form {
        let forms = Form::all(page);
        let actions: Vec<String> = forms.iter().map(|form| form.action.clone()).collect();
        let found = forms.into_iter().find(|form| form.action == action);
        found.unwrap_or_else(|| panic!("no form to {action} among {actions:?}"))
    }

    fn begun(tag: &str) -> Form {
        let kind = attribute(tag, "enctype").unwrap_or_default();
        Form {
            action: attribute(tag, "action").unwrap_or_default(),
            fields: Vec::new(),
            buttons: Vec::new(),
            files: Vec::new(),
            is_upload: kind == "multipart/form-data",
        }
    }

    fn take(&mut self, element: &str, tag: &str, after: &str) {
        let name = attribute(tag, "name");
        let value = attribute(tag, "value");
        let is_off = has(tag, "disabled");
        let kind = match element {
            "input" => attribute(tag, "type").unwrap_or_else(|| "text".to_owned()),
            other => other.to_owned(),
        };
        match (element, kind.as_str()) {
            ("button", _) | ("input", "submit" | "image" | "reset" | "button") => {
                let is_submit = attribute(tag, "type").is_none_or(|kind| kind == "submit");
                if is_submit && !is_off {
                    self.buttons.push(name.zip(value));
                }
            }
            // A datalist proposes, and selects nothing.
            ("option", _)
                if self
                    .fields
                    .last()
                    .is_none_or(|field| field.kind != "select") => {}
            ("option", _) => {
                let text = after.split('<').next().map(decoded).unwrap_or_default();
                let field = self.fields.last_mut().expect("a select");
                let value = value.unwrap_or(text);
                // The first one, unless another is selected.
                if field.options.is_empty() || has(tag, "selected") {
                    field.value.clone_from(&value);
                    field.is_on = true;
                }
                field.options.push(value);
            }
            ("input" | "select" | "textarea", _) if !is_off => {
                let Some(name) = name else { return };
                let is_box = kind == "checkbox" || kind == "radio";
                let value = match element {
                    "textarea" => {
                        let text = after.split("</textarea").next().unwrap_or_default();
                        decoded(text.strip_prefix('\n').unwrap_or(text)).replace('\n', "\r\n")
                    }
                    _ => value.unwrap_or_else(|| if is_box { "on" } else { "" }.to_owned()),
                };
                self.fields.push(Field {
                    name,
                    value,
                    is_on: match element {
                        "select" => false,
                        _ => !is_box || has(tag, "checked"),
                    },
                    kind,
                    is_required: has(tag, "required"),
                    options: Vec::new(),
                });
            }
            _ => {}
        }
    }

    /// Value of a field; of radio buttons, that of the checked one.
    pub fn get(&self, name: &str) -> &str {
        let mut fields = self.fields.iter();
        let field =
            fields.find(|field| field.name == name && (field.kind != "radio" || field.is_on));
        let field = field.unwrap_or_else(|| panic!("no field {name} in {self:#?}"));
        &field.value
    }

    /// Fills a field in; of boxes, checks the one that has this value.
    pub fn fill(&mut self, name: &str, value: &str) {
        let mut is_known = false;
        for field in self.fields.iter_mut().filter(|field| field.name == name) {
            is_known = true;
            match field.kind.as_str() {
                "checkbox" if field.value == value => field.is_on = true,
                "checkbox" => {}
                "radio" => field.is_on = field.value == value,
                _ => value.clone_into(&mut field.value),
            }
        }
        assert!(is_known, "no field {name} in {self:#?}");
    }

    /// The same form, filled in.
    pub fn with(mut self, fields: &[(&str, &str)]) -> Form {
        for (name, value) in fields {
            self.fill(name, value);
        }
        self
    }

    /// The same form, of which this button is pressed instead of the first one.
    pub fn press(mut self, name: &str, value: &str) -> Form {
        let wanted = Some((name.to_owned(), value.to_owned()));
        let at = self.buttons.iter().position(|button| *button == wanted);
        let at = at.unwrap_or_else(|| panic!("no button {value} among {:?}", self.buttons));
        self.buttons.swap(0, at);
        self
    }

    /// Names and values as they are sent, when the first of its buttons is pressed.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let fields = self.fields.iter();
        let sent = fields.filter(|field| field.is_on && field.kind != "file");
        let mut pairs: Vec<(String, String)> = sent
            .map(|field| (field.name.clone(), field.value.clone()))
            .collect();
        pairs.extend(self.buttons.first().cloned().flatten());
        pairs
    }

    /// Sends it, as a browser does.
    pub async fn send(&self, client: &Client) -> Answer {
        if !self.is_upload {
            return client.submit_own(&self.action, &self.pairs()).await;
        }
        let pairs = self.pairs();
        let texts = pairs.iter().map(|(name, value)| Part::text(name, value));
        let mut parts: Vec<Part<'_>> = texts.collect();
        parts.extend(
            self.files
                .iter()
                .map(|(name, bytes)| Part::file(name, bytes)),
        );
        let headers = [
            ("content-type", images::FORM),
            ("origin", client.address()),
            ("sec-fetch-site", "same-origin"),
        ];
        let body = Some(images::form(&parts));
        client
            .send(Method::POST, &self.action, &headers, body)
            .await
    }
}

/// Position of a tag's end: a `>` outside of its quotes.
fn end_of_tag(tag: &str) -> Option<usize> {
    let mut quote = None;
    tag.char_indices().find_map(|(at, c)| {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (None, '>') => return Some(at),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        None
    })
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let at = tag
        .match_indices(name)
        .find(|(at, _)| {
            let before = tag[..*at].chars().next_back();
            before.is_some_and(char::is_whitespace) && tag[at + name.len()..].starts_with("=\"")
        })?
        .0;
    tag[at + name.len() + 2..].split('"').next().map(decoded)
}

/// Reports whether a tag has an attribute without a value.
fn has(tag: &str, name: &str) -> bool {
    let mut outside = String::new();
    for (at, piece) in tag.split('"').enumerate() {
        if at % 2 == 0 {
            outside.push_str(piece);
        }
    }
    outside.split_whitespace().any(|word| word == name)
}

fn decoded(text: &str) -> String {
    let mut decoded = text.to_owned();
    for (entity, plain) in [
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ] {
        decoded = decoded.replace(entity, plain);
    }
    decoded
}

#[test]
fn a_form_is_read_as_a_browser_reads_it() {
    let page = "<form action=\"/search\"><input name=\"search\"></form>\n\
                <form method=\"post\" action=\"/to?a=1&amp;b=2\" enctype=\"multipart/form-data\">\n\
                <input type=\"hidden\" name=\"csrf\" value=\"x &#38; &#34;y&#34; > z\">\
                <input type=\"checkbox\" name=\"on\" value=\"1\" checked><input type=\"checkbox\" name=\"off\">\
                <input name=\"gone\" disabled><select name=\"first\"><option value=\"1\">One</option><option>two</option></select>\
                <select name=\"second\"><option>one</option><option selected>two</option></select><select name=\"none\"></select>\
                <textarea name=\"text\" required>\nA\n&lt;b&gt;</textarea><input type=\"file\" name=\"image\">\
                <button disabled name=\"do\" value=\"up\">Up</button><button name=\"do\" value=\"down\">Down</button></form>";
    let forms = Form::all(page);
    assert_eq!(forms.len(), 1);
    assert_eq!(forms[0].action, "/to?a=1&b=2");
    let pairs = forms[0].pairs();
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        pairs,
        [
            ("csrf", "x & \"y\" > z"),
            ("on", "1"),
            ("first", "1"),
            ("second", "two"),
            ("text", "A\r\n<b>"),
            ("do", "down")
        ]
    );
}
