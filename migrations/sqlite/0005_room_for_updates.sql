-- SQLite writes a row where it is, and an index only if its columns change.
SELECT 1;
