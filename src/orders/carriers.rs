//! Carriers: their tracking pages, and the forms of their tracking numbers.

/// A carrier that forms suggest. They take any other name as well.
pub struct Carrier {
    pub name: &'static str,
    /// Address of the public tracking page, up to the tracking number.
    tracking_page: &'static str,
}

/// The suggested carriers, in the order that forms show.
pub const CARRIERS: [Carrier; 8] = [
    Carrier {
        name: "USPS",
        tracking_page: "https://tools.usps.com/go/TrackConfirmAction?tLabels=",
    },
    Carrier {
        name: "UPS",
        tracking_page: "https://www.ups.com/track?tracknum=",
    },
    Carrier {
        name: "FedEx",
        tracking_page: "https://www.fedex.com/fedextrack/?trknbr=",
    },
    Carrier {
        name: "DHL",
        tracking_page: "https://www.dhl.com/en/express/tracking.html?AWB=",
    },
    Carrier {
        name: "Canada Post",
        tracking_page: "https://www.canadapost-postescanada.ca/track-reperage/en#/search?searchFor=",
    },
    Carrier {
        name: "Purolator",
        tracking_page: "https://www.purolator.com/en/shipping/tracker?pin=",
    },
    Carrier {
        name: "Royal Mail",
        tracking_page: "https://www.royalmail.com/track-your-item#/tracking-results/",
    },
    Carrier {
        name: "Australia Post",
        tracking_page: "https://auspost.com.au/mypost/track/#/details/",
    },
];

/// The public tracking page of a known carrier.
pub fn tracking_page(carrier: &str, number: Option<&str>) -> Option<String> {
    let mut carriers = CARRIERS.iter();
    let known = carriers.find(|known| known.name.eq_ignore_ascii_case(carrier))?;
    Some(format!("{}{}", known.tracking_page, joined(number?)))
}

/// The public tracking page of a known carrier for a number that was never checked: none where the number is more than
/// letters, digits, spaces and hyphens, which would change the address.
pub fn usual_tracking_page(carrier: &str, number: Option<&str>) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == ' ' || c == '-';
    let number = number.filter(|number| number.len() <= 100 && number.chars().all(is_plain))?;
    tracking_page(carrier, Some(number))
}

/// The carrier whose tracking numbers have this form. `None` for a form of several carriers, or of none.
///
/// `ship.js` says the same while a number is typed; `tests/data/tracking-numbers.json` holds both to it.
pub fn recognize(number: &str) -> Option<&'static str> {
    let number = joined(number);
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = number.strip_prefix("1Z") {
        let is_whole = rest.len() == 16 && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        return is_whole.then_some("UPS");
    }
    let dhl = number.strip_prefix("JJD").or(number.strip_prefix("JD"));
    if dhl.is_some_and(|rest| rest.len() >= 14 && all_digits(rest)) {
        return Some("DHL");
    }
    // The form of the Universal Postal Union (S10): two letters, nine digits, the country.
    if number.len() == 13 && number.is_ascii() && all_digits(&number[2..11]) {
        let is_service = number.bytes().take(2).all(|b| b.is_ascii_uppercase());
        return match &number[11..] {
            _ if !is_service => None,
            "US" => Some("USPS"),
            "CA" => Some("Canada Post"),
            "GB" => Some("Royal Mail"),
            "AU" => Some("Australia Post"),
            _ => None,
        };
    }
    if !all_digits(&number) {
        return None;
    }
    match (number.len(), &number[..2.min(number.len())]) {
        (20 | 22, "91" | "92" | "93" | "94" | "95") | (20, "70") => Some("USPS"),
        (12 | 15, _) | (22, "96") => Some("FedEx"),
        (10, _) => Some("DHL"),
        (16, _) => Some("Canada Post"),
        _ => None,
    }
}

/// The tracking number in a scanned barcode. Those of USPS begin with the ZIP code of the address, and those of FedEx
/// Express have the number at the end. Anything else stays as it is.
pub fn tracking_number(scanned: &str) -> String {
    let digits = joined(scanned);
    let after_zip = match digits.len() {
        30 => digits.get(8..),
        34 => digits.get(12..),
        _ => None,
    };
    let after_zip = after_zip.filter(|_| digits.starts_with("420"));
    if let Some(number) = after_zip.filter(|number| recognize(number) == Some("USPS")) {
        return number.to_owned();
    }
    let is_express = digits.len() == 34
        && digits.bytes().all(|b| b.is_ascii_digit())
        && digits.starts_with("10")
        && &digits[20..22] == "00";
    match is_express {
        true => digits[22..].to_owned(),
        false => scanned.to_owned(),
    }
}

/// A tracking number in capitals, without the spaces and hyphens between its groups.
fn joined(number: &str) -> String {
    let plain = number.chars().filter(|c| !matches!(c, ' ' | '-'));
    plain.collect::<String>().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracking_page_has_the_number_without_its_groups() {
        let page = tracking_page("usps", Some("9400-1118 9922"));
        assert!(page.is_some_and(|page| page.ends_with("?tLabels=940011189922")));
        assert_eq!(tracking_page("A friend", Some("1")), None);
        assert_eq!(tracking_page("USPS", None), None);
    }

    #[test]
    fn carriers_are_recognized_by_the_forms_of_their_numbers() {
        let samples = include_str!("../../tests/data/tracking-numbers.json");
        let samples: Vec<(String, Option<String>, String)> =
            serde_json::from_str(samples).expect("samples");
        for (typed, carrier, number) in samples {
            let read = tracking_number(&typed);
            assert_eq!(recognize(&read), carrier.as_deref(), "{typed}");
            assert_eq!(read, number, "{typed}");
        }
    }
}
