//! `tollgate report`.

use tollgate_query_api::report::Chargeback;

use crate::cli::Report;

pub(crate) async fn report(report: Report) -> anyhow::Result<()> {
    let Report::Chargeback(arguments) = report;
    let chargeback = Chargeback::parse(&arguments.month, &arguments.by, &arguments.timezone)?;
    crate::connect::run(&arguments.source, &chargeback.sql(), arguments.format).await
}
