//! Arguments that are checked before anything is sent.

use crate::output::contract;
use crate::output::when;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use uuid::Uuid;

/// A UUID in its usual form, lower case.
pub(crate) fn id(text: &str) -> Result<String, String> {
    let rule = || "must be a UUID, e.g. 01934c6e-8f7a-7c3e-9d1b-2f4a6c8e0b1d".to_owned();
    // Uuid also reads braces, urn: and no hyphens; the API doesn't.
    if text.len() != 36 {
        return Err(rule());
    }
    Uuid::try_parse(text).map(|id| id.to_string()).map_err(|_| rule())
}

/// An epoch: 32 lower-case hex digits.
pub(crate) fn epoch(text: &str) -> Result<String, String> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == 32 && text.bytes().all(is_hex) {
        Ok(text.to_owned())
    } else {
        Err("must be 32 lower-case hex digits, as `vendctl epochs` shows".to_owned())
    }
}

/// The public name of a credential: 1 to 64 printable ASCII characters.
pub(crate) fn credential_id(text: &str) -> Result<String, String> {
    if (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 64 printable characters, as `vendctl credential list` shows".to_owned())
    }
}

/// An ISO 4217 code.
pub(crate) fn currency(text: &str) -> Result<String, String> {
    if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        Ok(text.to_owned())
    } else {
        Err("must be three upper-case letters, e.g. EUR".to_owned())
    }
}

/// A group or tag: 1 to 64 of a-z, 0-9, "-".
pub(crate) fn label(text: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=64).contains(&text.len()) && text.bytes().all(is_allowed) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 64 of a-z, 0-9 and \"-\"".to_owned())
    }
}

/// A moment, milliseconds since the Unix epoch.
pub(crate) fn time(text: &str) -> Result<i64, String> {
    when::parse(text)
}

/// A length of time, milliseconds.
pub(crate) fn span(text: &str) -> Result<i64, String> {
    when::parse_span(text)
}

/// One of an enum's words.
pub(crate) fn choice(name: &'static str) -> impl TypedValueParser<Value = i32> {
    parser(contract::words(name))
}

/// One of an enum's words, or `any`.
pub(crate) fn filter(name: &'static str) -> impl TypedValueParser<Value = i32> {
    let mut words = contract::words(name);
    words.insert(0, ("any".to_owned(), 0));
    parser(words)
}

fn parser(words: Vec<(String, i32)>) -> impl TypedValueParser<Value = i32> {
    let known = PossibleValuesParser::new(words.iter().map(|(word, _)| word.clone()));
    known.map(move |said| {
        words.iter().find(|(word, _)| *word == said).map(|(_, number)| *number).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests;
