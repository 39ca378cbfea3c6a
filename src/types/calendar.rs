//! Calendar days in the shop's time zone.

use chrono::{
    DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc,
};
use chrono_tz::Tz;

/// Day of an instant in this zone.
pub fn day(at: DateTime<Utc>, zone: Tz) -> NaiveDate {
    at.with_timezone(&zone).date_naive()
}

/// Day of an instant for customers: `December 10, 2026`.
pub fn date(at: DateTime<Utc>, zone: Tz) -> String {
    day(at, zone).format("%B %-d, %Y").to_string()
}

/// Last instant of the day `days` days after `from`. A promise "until" that day lasts to its end.
pub fn end_of_day(from: DateTime<Utc>, days: u32, zone: Tz) -> DateTime<Utc> {
    let next = day(from, zone)
        .checked_add_days(Days::new(u64::from(days) + 1))
        .unwrap_or(NaiveDate::MAX);
    // PostgreSQL stores microseconds.
    start_of(next, zone) - TimeDelta::microseconds(1)
}

/// First instant of a day. It is later than 0:00 where clocks go forward at midnight, and the first of two midnights
/// where clocks go back.
pub fn start_of(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let midnight = day.and_time(NaiveTime::MIN);
    // Clocks have skipped one day at most, in whole quarters of an hour.
    (0..=4 * 25)
        .filter_map(|quarters| midnight.checked_add_signed(TimeDelta::minutes(15 * quarters)))
        .find_map(|local| zone.from_local_datetime(&local).earliest())
        .map_or(midnight.and_utc(), |first| first.to_utc())
}

/// The business day, Monday to Friday, `count` business days after a day. Holidays count, because carriers differ.
pub fn business_day_after(day: NaiveDate, count: u32) -> NaiveDate {
    let is_business_day = |day: &NaiveDate| day.weekday().number_from_monday() <= 5;
    let days = day.iter_days().skip(1).filter(is_business_day);
    days.take(count as usize).last().unwrap_or(day)
}

/// The instant of a local time, `2026-12-04T18:00`, as browsers send it: the first of two where clocks go back. `None`
/// for other texts, and for times that clocks skip.
pub fn local_instant(text: &str, zone: Tz) -> Option<DateTime<Utc>> {
    let local = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
        .into_iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?;
    Some(zone.from_local_datetime(&local).earliest()?.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn business_days_leave_out_weekends() {
        let day = |text: &str| text.parse::<NaiveDate>().expect("a day");
        for (from, count, to) in [
            // November 27, 2026, is a Friday.
            ("2026-11-27", 0, "2026-11-27"),
            ("2026-11-27", 1, "2026-11-30"),
            ("2026-11-28", 1, "2026-11-30"),
            ("2026-11-29", 5, "2026-12-04"),
            ("2026-11-25", 3, "2026-11-30"),
            ("2026-12-30", 365, "2028-05-24"),
        ] {
            assert_eq!(
                business_day_after(day(from), count),
                day(to),
                "{from} {count}"
            );
        }
    }

    #[test]
    fn a_local_time_is_the_first_instant_that_has_it_or_none() {
        let zone: Tz = "America/New_York".parse().expect("a zone");
        let read = |text: &str| local_instant(text, zone).map(|at| at.to_rfc3339());
        assert_eq!(
            read("2026-12-04T18:00").as_deref(),
            Some("2026-12-04T23:00:00+00:00")
        );
        assert_eq!(
            read("2026-07-04T18:00:30").as_deref(),
            Some("2026-07-04T22:00:30+00:00")
        );
        // Clocks go back from 2:00 to 1:00, and forward from 2:00 to 3:00.
        assert_eq!(
            read("2026-11-01T01:30").as_deref(),
            Some("2026-11-01T05:30:00+00:00")
        );
        for none in [
            "2026-03-08T02:30",
            "2026-12-04",
            "18:00",
            "2026-02-30T10:00",
            "",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn a_promise_holds_to_the_end_of_its_day_wherever_the_shop_is() {
        for (zone, from, days, last) in [
            (
                "UTC",
                "2026-11-27T01:30:00Z",
                14,
                "2026-12-11T23:59:59.999999Z",
            ),
            // It is still November 26 there.
            (
                "America/Los_Angeles",
                "2026-11-27T01:30:00Z",
                14,
                "2026-12-11T07:59:59.999999Z",
            ),
            (
                "Asia/Tokyo",
                "2026-11-27T20:00:00Z",
                1,
                "2026-11-29T14:59:59.999999Z",
            ),
            // The clocks change during the span.
            (
                "America/New_York",
                "2026-10-30T12:00:00Z",
                2,
                "2026-11-02T04:59:59.999999Z",
            ),
            (
                "America/New_York",
                "2026-03-06T12:00:00Z",
                2,
                "2026-03-09T03:59:59.999999Z",
            ),
            // The next day begins at 1:00, because clocks go forward at midnight.
            (
                "America/Santiago",
                "2026-09-05T12:00:00Z",
                0,
                "2026-09-06T03:59:59.999999Z",
            ),
            // At midnight clocks go back to 23:00, so the day has 25 hours.
            (
                "America/Santiago",
                "2026-04-04T12:00:00Z",
                0,
                "2026-04-05T03:59:59.999999Z",
            ),
            // Midnight occurs twice.
            (
                "America/Havana",
                "2026-10-31T12:00:00Z",
                0,
                "2026-11-01T03:59:59.999999Z",
            ),
            // A day that was skipped.
            (
                "Pacific/Apia",
                "2011-12-29T12:00:00Z",
                0,
                "2011-12-30T09:59:59.999999Z",
            ),
        ] {
            let zone: Tz = zone.parse().expect("a zone");
            assert_eq!(end_of_day(at(from), days, zone), at(last), "{zone} {from}");
        }
    }

    #[test]
    fn a_date_is_the_shops() {
        let evening = at("2026-11-27T01:30:00Z");
        assert_eq!(date(evening, chrono_tz::UTC), "November 27, 2026");
        let zone = chrono_tz::America::Los_Angeles;
        assert_eq!(date(evening, zone), "November 26, 2026");
    }
}
