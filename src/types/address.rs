//! Postal addresses, formatted for the postal service of each country.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Shipments start here, so the label of a domestic address omits the country.
const HOME: &str = "US";

/// A postal address in Stripe's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Address {
    pub line1: Option<String>,
    pub line2: Option<String>,
    pub city: Option<String>,
    pub state: Option<String>,
    pub postal_code: Option<String>,
    /// ISO 3166, two letters.
    pub country: Option<String>,
}

impl Address {
    /// All parts, with their names in JSON.
    pub fn parts(&self) -> [(&'static str, Option<&str>); 6] {
        [
            ("line1", self.line1.as_deref()),
            ("line2", self.line2.as_deref()),
            ("city", self.city.as_deref()),
            ("state", self.state.as_deref()),
            ("postal_code", self.postal_code.as_deref()),
            ("country", self.country.as_deref()),
        ]
    }

    /// The same address without surrounding spaces and empty parts, the country in capitals.
    pub fn trimmed(&self) -> Address {
        let part = |part: &Option<String>| {
            let part = part.as_deref().unwrap_or_default().trim();
            (!part.is_empty()).then(|| part.to_owned())
        };
        Address {
            line1: part(&self.line1),
            line2: part(&self.line2),
            city: part(&self.city),
            state: part(&self.state),
            postal_code: part(&self.postal_code),
            country: part(&self.country).map(|code| code.to_ascii_uppercase()),
        }
    }

    /// Lines below the name in the format of the country's postal service. A foreign country comes last, in capitals.
    /// Missing parts leave no gap.
    pub fn lines(&self) -> Vec<String> {
        let country = tidy(self.country.as_deref()).map(|code| code.to_ascii_uppercase());
        let known = country.as_deref().and_then(find);
        let mut lines = Vec::new();
        for form in self.form(known).split('\n') {
            if form == "A" {
                lines.extend(tidy(self.line1.as_deref()));
                lines.extend(tidy(self.line2.as_deref()));
            } else {
                lines.extend(self.fill(form));
            }
        }
        match known {
            Some(known) if known.code == HOME => {}
            Some(known) => lines.push(known.name.to_uppercase()),
            None => lines.extend(country),
        }
        lines
    }

    /// City, state and foreign country on one line, for lists: `Portland, OR`. `None` when all are missing.
    pub fn place(&self) -> Option<String> {
        let code = tidy(self.country.as_deref()).map(|code| code.to_ascii_uppercase());
        let country = code.filter(|code| code != HOME).map(|code| {
            let name = country_name(&code).map(str::to_owned);
            name.unwrap_or(code)
        });
        let parts = [
            tidy(self.city.as_deref()),
            tidy(self.state.as_deref()),
            country,
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    fn form(&self, country: Option<&'static Country>) -> &'static str {
        let Some(country) = country else {
            return "A\nC, S Z";
        };
        // In their own script, these countries write from the largest part to the smallest.
        let ideographs = |text: &Option<String>| {
            let text = text.as_deref().unwrap_or_default();
            text.chars().any(|c| c >= '\u{2e80}')
        };
        if ideographs(&self.city) || ideographs(&self.line1) {
            match country.code {
                "JP" => return "〒Z\nSC\nA",
                "KR" => return "S C\nA\nZ",
                "TW" => return "Z\nSC\nA",
                "HK" => return "S\nC\nA",
                _ => {}
            }
        }
        country.form
    }

    /// Fills one line of a format. The separator before a part is written only between two present parts.
    fn fill(&self, form: &str) -> Option<String> {
        let (mut line, mut between) = (String::new(), String::new());
        for mark in form.chars() {
            let part = match mark {
                'C' => &self.city,
                'S' => &self.state,
                'Z' => &self.postal_code,
                _ => {
                    between.push(mark);
                    continue;
                }
            };
            if let Some(part) = tidy(part.as_deref()) {
                if !line.is_empty() || between == "〒" {
                    line.push_str(&between);
                }
                line.push_str(&part);
            }
            between.clear();
        }
        (!line.is_empty()).then_some(line)
    }
}

/// English name of a country by its two-letter code (capitals), for countries that the shop ships to.
pub fn country_name(code: &str) -> Option<&'static str> {
    find(code).map(|country| country.name)
}

/// Code and English name of each country that the shop ships to.
pub fn countries() -> impl Iterator<Item = (&'static str, &'static str)> {
    COUNTRIES.iter().map(|country| (country.code, country.name))
}

/// Reduces a text to one line of printable characters; `None` when nothing is left.
fn tidy(text: Option<&str>) -> Option<String> {
    let text: String = text?
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn find(code: &str) -> Option<&'static Country> {
    COUNTRIES.iter().find(|country| country.code == code)
}

struct Country {
    code: &'static str,
    name: &'static str,
    /// Format of the lines: A street, C city, S state, Z postal code; other characters are literal.
    form: &'static str,
}

const fn country(code: &'static str, name: &'static str, form: &'static str) -> Country {
    Country { code, name, form }
}

/// Formats of the countries that the shop ships to.
///
/// Source: the address formats of the Universal Postal Union, as Google's libaddressinput has them,
/// <https://chromium-i18n.appspot.com/ssl-address>
#[rustfmt::skip]
const COUNTRIES: [Country; 60] = [
    country("US", "United States", "A\nC, S Z"),
    country("CA", "Canada", "A\nC S Z"),
    country("MX", "Mexico", "A\nZ C, S"),
    country("GB", "United Kingdom", "A\nC\nZ"),
    country("IE", "Ireland", "A\nC\nS\nZ"),
    country("FR", "France", "A\nZ C"),
    country("DE", "Germany", "A\nZ C"),
    country("AT", "Austria", "A\nZ C"),
    country("CH", "Switzerland", "A\nZ C"),
    country("NL", "Netherlands", "A\nZ C"),
    country("BE", "Belgium", "A\nZ C"),
    country("LU", "Luxembourg", "A\nZ C"),
    country("DK", "Denmark", "A\nZ C"),
    country("SE", "Sweden", "A\nZ C"),
    country("NO", "Norway", "A\nZ C"),
    country("FI", "Finland", "A\nZ C"),
    country("IS", "Iceland", "A\nZ C"),
    country("ES", "Spain", "A\nZ C\nS"),
    country("PT", "Portugal", "A\nZ C"),
    country("IT", "Italy", "A\nZ C S"),
    country("GR", "Greece", "A\nZ C"),
    country("MT", "Malta", "A\nC Z"),
    country("CY", "Cyprus", "A\nZ C"),
    country("PL", "Poland", "A\nZ C"),
    country("CZ", "Czech Republic", "A\nZ C"),
    country("SK", "Slovakia", "A\nZ C"),
    country("HU", "Hungary", "C\nA\nZ"),
    country("SI", "Slovenia", "A\nZ C"),
    country("HR", "Croatia", "A\nZ C"),
    country("RO", "Romania", "A\nZ C\nS"),
    country("BG", "Bulgaria", "A\nZ C"),
    country("EE", "Estonia", "A\nZ C\nS"),
    country("LV", "Latvia", "A\nC, Z"),
    country("LT", "Lithuania", "A\nZ C"),
    country("LI", "Liechtenstein", "A\nZ C"),
    country("MC", "Monaco", "A\nZ C"),
    country("AU", "Australia", "A\nC S Z"),
    country("NZ", "New Zealand", "A\nC Z"),
    country("JP", "Japan", "A\nC, S Z"),
    country("KR", "South Korea", "A\nC, S Z"),
    country("SG", "Singapore", "A\nC Z"),
    country("HK", "Hong Kong", "A\nC\nS"),
    country("TW", "Taiwan", "A\nC, S Z"),
    country("TH", "Thailand", "A\nC\nS Z"),
    country("MY", "Malaysia", "A\nZ C\nS"),
    country("PH", "Philippines", "A\nC\nZ S"),
    country("ID", "Indonesia", "A\nC\nS Z"),
    country("IN", "India", "A\nC Z\nS"),
    country("AE", "United Arab Emirates", "A\nC\nS"),
    country("IL", "Israel", "A\nC Z"),
    country("TR", "Türkiye", "A\nZ C/S"),
    country("ZA", "South Africa", "A\nC\nZ"),
    country("BR", "Brazil", "A\nC-S\nZ"),
    country("AR", "Argentina", "A\nZ C\nS"),
    country("CL", "Chile", "A\nZ C\nS"),
    country("CO", "Colombia", "A\nC, S, Z"),
    country("PE", "Peru", "A\nC Z\nS"),
    country("UY", "Uruguay", "A\nZ C S"),
    country("CR", "Costa Rica", "A\nS, C\nZ"),
    country("PA", "Panama", "A\nC\nS"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Street, city, state, postal code and country; empty parts count as missing.
    fn lines(parts: [&str; 5]) -> String {
        let [line1, city, state, postal_code, country] =
            parts.map(|part| (!part.is_empty()).then(|| part.to_owned()));
        let address = Address {
            line1,
            line2: None,
            city,
            state,
            postal_code,
            country,
        };
        address.lines().join(" | ")
    }

    #[test]
    fn each_country_has_its_own_order() {
        for (parts, expected) in [
            (
                ["1 Main St", "Portland", "OR", "97205", "US"],
                "1 Main St | Portland, OR 97205",
            ),
            (
                ["1 Main St", "Portland", "", "97205", "us"],
                "1 Main St | Portland 97205",
            ),
            (
                ["1 King St", "Toronto", "ON", "M5H 1A1", "CA"],
                "1 King St | Toronto ON M5H 1A1 | CANADA",
            ),
            (
                ["Hauptstr. 5", "Berlin", "", "10115", "DE"],
                "Hauptstr. 5 | 10115 Berlin | GERMANY",
            ),
            (
                ["10 Downing St", "London", "", "SW1A 2AA", "GB"],
                "10 Downing St | London | SW1A 2AA | UNITED KINGDOM",
            ),
            (
                ["Via Roma 1", "Roma", "RM", "00184", "IT"],
                "Via Roma 1 | 00184 Roma RM | ITALY",
            ),
            (
                ["Kossuth tér 1", "Budapest", "", "1055", "HU"],
                "Budapest | Kossuth tér 1 | 1055 | HUNGARY",
            ),
            (
                ["Rua A 1", "São Paulo", "SP", "01310-100", "BR"],
                "Rua A 1 | São Paulo-SP | 01310-100 | BRAZIL",
            ),
            (
                ["1-1 Chiyoda", "Chiyoda-ku", "Tokyo", "100-0001", "JP"],
                "1-1 Chiyoda | Chiyoda-ku, Tokyo 100-0001 | JAPAN",
            ),
            (
                ["千代田1-1", "千代田区", "東京都", "100-0001", "JP"],
                "〒100-0001 | 東京都千代田区 | 千代田1-1 | JAPAN",
            ),
            (
                ["Sokak 1", "Kadıköy", "İstanbul", "34710", "TR"],
                "Sokak 1 | 34710 Kadıköy/İstanbul | TÜRKIYE",
            ),
            (
                ["1 Road", "Town", "", "123", "ZZ"],
                "1 Road | Town 123 | ZZ",
            ),
            (["", "", "", "", "DE"], "GERMANY"),
            (["", "", "", "", ""], ""),
        ] {
            assert_eq!(lines(parts), expected);
        }
    }

    #[test]
    fn a_line_stays_a_line_whatever_was_typed() {
        let typed = [
            "1 Main St\r\nBcc: x@y.z",
            " Port\0land\u{b} ",
            "\n",
            "97205",
            "US",
        ];
        assert_eq!(lines(typed), "1 Main St Bcc: x@y.z | Port land 97205");
    }
}
