-- A session is written again by its choice and its end, in columns of no index: with room on its page no index is written.
ALTER TABLE sessions SET (fillfactor = 70);
