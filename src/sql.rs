//! `tollgate sql`.

use crate::cli::Sql;

pub(crate) async fn sql(arguments: Sql) -> anyhow::Result<()> {
    crate::connect::run(&arguments.source, &arguments.statement, arguments.format).await
}
