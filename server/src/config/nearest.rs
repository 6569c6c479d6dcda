//! The hint in an error about an unknown key.

use super::keys::{KEYS, Key};

/// The known path most like this one, for the hint in an error. A path without a section is compared with bare keys.
pub(super) fn nearest(path: &str) -> &'static str {
    let comparable = |key: &Key| match (path.contains('.'), key.path.split_once('.')) {
        (false, Some((_, name))) => distance(path, name),
        _ => distance(path, key.path),
    };
    KEYS.iter().min_by_key(|key| comparable(key)).map_or("", |key| key.path)
}

/// Edits (insert, delete, replace a byte) from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
