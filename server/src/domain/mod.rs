//! Pure decisions: no async, no SQL, no generated types.
