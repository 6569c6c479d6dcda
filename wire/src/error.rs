//! Why bytes were not what they claim to be.

use std::borrow::Cow;
use std::fmt;

const OTHER_KIND: &str = "must be the member that kind names";

/// The field that broke a rule, and the rule. Safe to show to anyone: it holds nothing but names.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct BodyError {
    /// Path of the field, as the contract names it, e.g. `vend.price_minor` or `refill.slots[3].product_id`.
    pub field: Cow<'static, str>,
    /// The rule, e.g. `must not be negative`.
    pub rule: Cow<'static, str>,
}

impl BodyError {
    /// A body that is whole, and another kind's than its record says.
    pub(crate) fn other_kind() -> Self {
        Self::new("body", OTHER_KIND)
    }

    /// Whether that is what is wrong.
    #[must_use]
    pub fn is_other_kind(&self) -> bool {
        self.rule == OTHER_KIND
    }

    pub(crate) fn new(field: impl Into<Cow<'static, str>>, rule: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }
}

/// Where in a message a check looks; becomes text only when a rule is broken.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    name: &'static str,
    index: Option<usize>,
}

impl<'a> Path<'a> {
    pub(crate) const fn root(name: &'static str) -> Self {
        Self { parent: None, name, index: None }
    }

    pub(crate) fn field(&'a self, name: &'static str) -> Path<'a> {
        Path { parent: Some(self), name, index: None }
    }

    pub(crate) fn item(&'a self, name: &'static str, index: usize) -> Path<'a> {
        Path { parent: Some(self), name, index: Some(index) }
    }

    pub(crate) fn broke(&self, rule: impl Into<Cow<'static, str>>) -> BodyError {
        BodyError::new(self.to_string(), rule)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent
            && !(parent.name.is_empty() && parent.parent.is_none())
        {
            write!(f, "{parent}.")?;
        }
        f.write_str(self.name)?;
        match self.index {
            Some(index) => write!(f, "[{index}]"),
            None => Ok(()),
        }
    }
}
