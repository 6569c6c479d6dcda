//! Everything that is kept: the only home of SQL.
