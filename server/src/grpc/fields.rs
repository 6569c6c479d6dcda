//! Parsing at the edge: every bad field of a request is named, not only the first.

use crate::domain::text::{Label, Text, Within};
use crate::error::{ApiError, FieldViolation, MAX_VIOLATIONS};
use uuid::Uuid;
use vend_core::id::Epoch;
use vend_core::money::{Currency, Minor};
use vendfleet_proto::v1;

/// Collects what is wrong with a request while it is parsed.
#[derive(Default)]
pub(crate) struct Fields {
    violations: Vec<FieldViolation>,
}

impl Fields {
    /// A field breaks a rule.
    pub(crate) fn broke(&mut self, field: impl Into<String>, rule: impl Into<String>) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(FieldViolation { field: field.into(), rule: rule.into() });
        }
    }

    /// Keeps what could be parsed, notes what could not.
    pub(crate) fn take<T>(&mut self, field: &str, parsed: Result<T, String>) -> Option<T> {
        parsed.map_err(|rule| self.broke(field, rule)).ok()
    }

    /// The request: what was parsed when no rule was broken.
    ///
    /// # Errors
    /// INVALID_FIELD with every violation.
    pub(crate) fn finish<T>(self, parsed: Option<T>) -> Result<T, ApiError> {
        match parsed {
            Some(value) if self.violations.is_empty() => Ok(value),
            _ => Err(ApiError::invalid_fields(self.violations)),
        }
    }

    pub(crate) fn text<const MIN: usize, const MAX: usize>(
        &mut self,
        field: &str,
        text: &str,
    ) -> Option<Text<MIN, MAX>> {
        self.take(field, Text::parse(text))
    }

    /// An amount that is not negative.
    pub(crate) fn price(&mut self, field: &str, price: &v1::Money) -> Option<(Currency, Minor)> {
        let currency = Currency::parse(&price.currency_code).ok_or("must be an ISO 4217 code".to_owned());
        let currency = self.take(&format!("{field}.currency_code"), currency);
        if price.minor_units < 0 {
            self.broke(format!("{field}.minor_units"), "must not be negative");
            return None;
        }
        Some((currency?, price.minor_units))
    }

    /// `Some(None)` when empty.
    pub(crate) fn optional_text<const MAX: usize>(
        &mut self,
        field: &str,
        text: &str,
    ) -> Option<Option<Text<1, MAX>>> {
        if text.is_empty() {
            return Some(None);
        }
        self.take(field, Text::<1, MAX>::parse(text).map_err(|_| length_or_control(MAX, text))).map(Some)
    }

    /// `Some(None)` when empty.
    pub(crate) fn optional_label(&mut self, field: &str, text: &str) -> Option<Option<Label>> {
        if text.is_empty() { Some(None) } else { self.take(field, Label::parse(text)).map(Some) }
    }

    pub(crate) fn within<const MIN: i64, const MAX: i64>(
        &mut self,
        field: &str,
        number: i64,
    ) -> Option<Within<MIN, MAX>> {
        self.take(field, Within::parse(number))
    }

    pub(crate) fn uuid(&mut self, field: &str, text: &str) -> Option<Uuid> {
        self.take(field, parse_uuid(text))
    }

    /// `Some(None)` when empty.
    pub(crate) fn optional_uuid(&mut self, field: &str, text: &str) -> Option<Option<Uuid>> {
        if text.is_empty() { Some(None) } else { self.uuid(field, text).map(Some) }
    }

    pub(crate) fn epoch(&mut self, field: &str, text: &str) -> Option<Epoch> {
        let fits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let mut epoch = [0; 16];
        if fits && hex::decode_to_slice(text, &mut epoch).is_ok() {
            Some(Epoch(epoch))
        } else {
            self.broke(field, "must be 32 lower-case hex digits");
            None
        }
    }

    /// A member of an enum, by number; zero when `None` is allowed for "any".
    pub(crate) fn member<T>(
        &mut self,
        field: &str,
        number: i32,
        from: impl Fn(i32) -> Option<T>,
    ) -> Option<Option<T>> {
        match from(number) {
            Some(member) => Some(Some(member)),
            None if number == 0 => Some(None),
            None => {
                self.broke(field, "must be one of the enum's values");
                None
            }
        }
    }

    /// A member of an enum that must be named.
    pub(crate) fn required_member<T>(
        &mut self,
        field: &str,
        number: i32,
        from: impl Fn(i32) -> Option<T>,
    ) -> Option<T> {
        let member = from(number);
        if member.is_none() {
            self.broke(field, "must be one of the enum's values other than UNSPECIFIED");
        }
        member
    }
}

fn length_or_control(max: usize, text: &str) -> String {
    if text.len() > max {
        format!("must be at most {max} bytes")
    } else {
        "must not contain control characters".to_owned()
    }
}

fn parse_uuid(text: &str) -> Result<Uuid, String> {
    // The hyphenated form alone: one thing has one spelling, or fingerprints and logs would see several.
    match Uuid::try_parse(text) {
        Ok(id) if text.len() == 36 => Ok(id),
        _ => Err("must be a UUID like 0192f5c0-7d3a-7cc1-b2a4-9f5e1c0d3e4f".to_owned()),
    }
}
