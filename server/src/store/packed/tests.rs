#![allow(clippy::unwrap_used)]
use super::{Cell, get, rows, statement};
use crate::store::bulk::Kind;
use sqlx::{Connection as _, SqliteConnection};

#[test]
fn literals_become_values() {
    let read = rows("X'00FF',-12,NULL;X'',0,X'61'", 3).unwrap();
    assert_eq!(read[0], [Cell::Bytes(vec![0, 255]), Cell::Int(-12), Cell::Null]);
    assert_eq!(get::<&[u8]>(&read[1], 0).unwrap(), b"");
    assert!(!get::<bool>(&read[1], 1).unwrap());
    assert_eq!(get::<Option<&str>>(&read[1], 2).unwrap(), Some("a"));
    assert_eq!(get::<Option<i64>>(&read[0], 2).unwrap(), None);
}

#[test]
fn what_is_not_such_a_text_is_damage() {
    for text in ["", "1", "1,2,3", "X'0',1", "'a',1", "1.5,1"] {
        assert!(rows(text, 2).is_err(), "{text}");
    }
    let read = rows("1,NULL", 2).unwrap();
    assert!(get::<&str>(&read[0], 0).is_err());
    assert!(get::<i64>(&read[0], 1).is_err());
    assert!(get::<i64>(&read[0], 2).is_err());
}

#[tokio::test]
async fn every_value_comes_back_as_it_was_stored() {
    let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let select = "SELECT CAST(',;''' AS BLOB), ',;''' || char(0) || 'b', -9223372036854775807, NULL";
    let sql = statement(select, &[Kind::Bytes, Kind::Text, Kind::Int, Kind::Text]);
    let text: String = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut db).await.unwrap();
    let read = rows(&text, 4).unwrap();
    assert_eq!(get::<&[u8]>(&read[0], 0).unwrap(), b",;'");
    assert_eq!(get::<&str>(&read[0], 1).unwrap(), ",;'\0b");
    assert_eq!(get::<i64>(&read[0], 2).unwrap(), -9_223_372_036_854_775_807);
    assert_eq!(get::<Option<&str>>(&read[0], 3).unwrap(), None);
}
