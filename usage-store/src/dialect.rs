//! How SQL is read: by queries over HTTP, by the conditions of rules, and by the sums of budgets, so that one text means one thing everywhere.

use datafusion::prelude::SessionConfig;

/// A configuration of the engine as all of them have it.
pub fn dialect() -> SessionConfig {
    let mut config = SessionConfig::new();
    let options = config.options_mut();
    options.execution.time_zone = Some("UTC".to_owned());
    // 1.19 is a decimal, so that money times a rate stays exact.
    options.sql_parser.parse_float_as_decimal = true;
    // Tables show text as views; what a statement casts to text stays plain, as readers of answers know it.
    options.sql_parser.map_string_types_to_utf8view = false;

    // In DataFusion 55 the filter made of the least and the greatest value so far loses the former at the first batch that has no value of
    // the column, and files with it (restatedev/restate#5214): `min(x), max(x)` then answers wrongly.
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    // In DataFusion 55 what it takes out of a map or a struct before a join stands there twice, and `tags['env']` of usage_corrected is refused as ambiguous.
    options.optimizer.enable_leaf_expression_pushdown = false;
    config
}
