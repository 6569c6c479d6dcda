//! Text and numbers from outside, held to their rules once, at the edge.

use std::fmt;

/// Text of `MIN` to `MAX` bytes of UTF-8 without control characters (newline and tab apart): both engines store it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Text<const MIN: usize, const MAX: usize>(String);

impl<const MIN: usize, const MAX: usize> Text<MIN, MAX> {
    /// The text, or the rule it breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !(MIN..=MAX).contains(&text.len()) {
            return Err(if MIN == 0 {
                format!("must be at most {MAX} bytes")
            } else {
                format!("must be {MIN} to {MAX} bytes")
            });
        }
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err("must not contain control characters".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, owned.
    pub fn into_string(self) -> String {
        self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const MAX: usize> Default for Text<0, MAX> {
    fn default() -> Self {
        Self(String::new())
    }
}

impl<const MIN: usize, const MAX: usize> fmt::Display for Text<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A group or a tag: 1 to 64 of `a-z`, `0-9`, `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Label(String);

impl Label {
    /// The label, or the rule it breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits { Ok(Self(text.to_owned())) } else { Err("must be 1 to 64 of a-z, 0-9, \"-\"".to_owned()) }
    }

    /// The label.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A whole number in `MIN..=MAX`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Within<const MIN: i64, const MAX: i64>(i64);

impl<const MIN: i64, const MAX: i64> Within<MIN, MAX> {
    /// The number, or the rule it breaks.
    pub fn parse(number: i64) -> Result<Self, String> {
        if (MIN..=MAX).contains(&number) { Ok(Self(number)) } else { Err(format!("must be {MIN} to {MAX}")) }
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}
