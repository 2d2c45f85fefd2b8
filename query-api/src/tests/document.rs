//! The queries of `docs/sql.md` run as they are written there.

use super::Server;

const DOCUMENT: &str = include_str!("../../../docs/sql.md");

/// The blocks that are marked as SQL.
fn queries() -> Vec<&'static str> {
    DOCUMENT
        .split("```sql\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

#[tokio::test]
async fn every_query_of_the_document_runs() {
    let server = Server::start().await;
    let queries = queries();
    assert!(queries.len() >= 10, "{}", queries.len());
    for sql in queries {
        let rows = server.rows(sql).await;
        assert!(rows.is_array(), "{sql}");
    }
}

#[test]
fn every_code_of_an_error_is_in_the_document() {
    let source = concat!(include_str!("../error.rs"), include_str!("../http/failure.rs"));
    let codes = source.split('"').filter(|text| {
        text.contains('_') && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !text.starts_with('_')
    });
    for code in codes.filter(|code| *code != "skip_serializing_if") {
        assert!(DOCUMENT.contains(&format!("`{code}`")), "{code} is not in docs/sql.md");
    }
}
