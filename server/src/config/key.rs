//! What a key is: its path, its rule, and what it does.

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A whole number in `min..=max`.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
        /// Unit, also the key's last word where it fits.
        unit: &'static str,
    },
    /// true or false.
    Bool,
    /// A socket address, `ip:port`; port 0 takes any free one.
    Address,
    /// Text of at most so many bytes.
    Text {
        /// Fewest bytes.
        min: usize,
        /// Most bytes.
        max: usize,
    },
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of texts; in the environment and in flags separated by commas.
    List {
        /// Most items.
        max: usize,
    },
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.key`.
    pub path: &'static str,
    /// What a value must be.
    pub rule: Rule,
    /// What it does.
    pub doc: &'static str,
}

pub(super) const fn int(
    path: &'static str,
    min: i64,
    max: i64,
    unit: &'static str,
    doc: &'static str,
) -> Key {
    Key { path, rule: Rule::Int { min, max, unit }, doc }
}

pub(super) const fn text(path: &'static str, min: usize, max: usize, doc: &'static str) -> Key {
    Key { path, rule: Rule::Text { min, max }, doc }
}

pub(super) const fn flag(path: &'static str, doc: &'static str) -> Key {
    Key { path, rule: Rule::Bool, doc }
}

pub(super) const fn list(path: &'static str, max: usize, doc: &'static str) -> Key {
    Key { path, rule: Rule::List { max }, doc }
}

pub(super) const fn address(path: &'static str, doc: &'static str) -> Key {
    Key { path, rule: Rule::Address, doc }
}
