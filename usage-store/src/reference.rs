//! The public reference of the tables, written from the declarations that the store itself uses.

use std::fmt::Write;

use arrow::datatypes::DataType;
use tollgate_record::column::USAGE;

use crate::VIEWS;
use crate::rollup::{KEYS, MEASURES};
use crate::tables::rate::{ANSWER, MEMBERS};

/// The text of `docs/tables.md`.
pub fn tables() -> String {
    let mut text = String::from(
        "# Tables\n\n\
         Generated from the column declarations; `cargo test -p tollgate-usage-store` fails if it is not current, and\n\
         `UPDATE_DOCS=1 cargo test -p tollgate-usage-store` writes it anew.\n\n\
         All times are UTC. Amounts are exact decimals with twelve digits behind the point. `NULL` means not known, not reported\n\
         or not applicable; it never means zero. Counts of a total include their parts.\n\n\
         ## usage\n\n\
         One row per call, that is per attempt at an upstream, and two per correction of one. Rows are only ever added.\n",
    );
    let mut group = "";
    for column in USAGE {
        if column.group != group {
            group = column.group;
            let _ = write!(
                text,
                "\n### {group}\n\n| column | type | null | meaning |\n|---|---|---|---|\n"
            );
        }
        let null = if column.nullable { "yes" } else { "no" };
        let _ = writeln!(
            text,
            "| `{}` | {} | {null} | {} |",
            column.name,
            column.kind.sql_name(),
            column.doc.trim()
        );
    }
    text.push_str(
        "\n## prices\n\n\
         Every price of every version of every price list that was ever in force here. `usage.price_version` names the version that priced a row; where prices were negotiated,\n\
         it is `negotiated+list`: the versions with negotiated prices, then that of the list prices.\n\n\
         | column | meaning |\n|---|---|\n\
         | `price_version` | Name of the list and a hash of its content. |\n\
         | `price_list` | Name of the list. |\n\
         | `in_force` | Whether calls are priced by this version now. |\n\
         | `shipped` | Whether the list came with the gateway. |\n\
         | `provider` | Provider or template that it prices. |\n\
         | `for_org`, `for_team` | For whose calls it is: negotiated prices; null is everyone. |\n\
         | `model`, `region`, `service_tier`, `context_above` | Which calls the price is for; see [prices.md](prices.md). |\n\
         | `meter`, `unit`, `per`, `price`, `discount`, `currency` | What `per` units cost, and the share of it that is not owed. A share of list prices has no `per` and `price`, and no `meter` if it is of every meter; a mark-up is a `discount` below zero. |\n\
         | `effective_from`, `effective_to` | When it holds: from the first, before the second. |\n\
         | `source` | Where the price was read. |\n\n\
         ## hot\n\n\
         The rows of `usage` that are in memory and in the log only, with the same columns. They can be queried while the object store of the table\n\
         cannot be reached, when a query of `usage` fails rather than telling too little.\n\n\
         ## files\n\n\
         The Parquet files of table `usage` as of the query's snapshot, with the statistics that Delta Lake's log keeps of them. Absent until the first flush of an offline data directory.\n",
    );
    hourly(&mut text);
    budgets(&mut text);
    alerts(&mut text);
    history(&mut text);
    corrections(&mut text);
    text.push_str("\n## Views\n");
    for (name, meaning, query) in VIEWS {
        let _ = write!(
            text,
            "\n### {name}\n\n{meaning}\n\n```sql\n{}\n```\n",
            query.replace(", ", ",\n  ").replace(" FROM", "\nFROM")
        );
    }
    text
}

fn hourly(text: &mut String) {
    text.push_str(
        "\n## usage_hourly\n\n\
         The calls of an hour added up, exactly, by who made them, which model answered and how it ended. It always equals table `usage` of the\n\
         same query, to the last digit: what is not yet in the table of sums is added up when it is asked for. An hour and key may have several\n\
         rows, parts that belong together: use `sum` and `max` over them. A sum is `NULL` where nothing is known, as it is over the raw rows.\n\
         Left out, since they would make the table as large as the raw one: `user_id`, `session_id`, tags.\n\n\
         | column | type | null | meaning |\n|---|---|---|---|\n\
         | `hour` | TIMESTAMP(6) WITH TIME ZONE | no | Start of the hour of `start_time`, UTC. |\n\
         | `start_date` | DATE | no | Day of the hour, UTC: the partition of the table. |\n",
    );
    let column = |name: &str| USAGE.iter().find(|column| column.name == name);
    for declared in KEYS.iter().filter_map(|name| column(name)) {
        let null = if declared.nullable { "yes" } else { "no" };
        let name = declared.name;
        let _ = writeln!(text, "| `{name}` | {} | {null} | As in `usage`. |", declared.kind.sql_name());
    }
    for measure in MEASURES {
        let kind = match measure.data_type() {
            DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
            _ => "BIGINT".to_owned(),
        };
        let null = if measure.nullable() { "yes" } else { "no" };
        let _ = writeln!(text, "| `{}` | {kind} | {null} | {} |", measure.name, measure.doc);
    }
}

fn budgets(text: &mut String) {
    text.push_str(
        "\n## budgets\n\n\
         Every counter of every budget in the window that now lies in, as it is held against calls: docs/rules.md. Only of a running gateway. A budget that is kept\n\
         apart by something has a row for each combination that was used or refused.\n\n\
         | column | type | meaning |\n|---|---|---|\n",
    );
    for (name, kind, meaning) in crate::budgets::table::BUDGETS {
        let _ = writeln!(text, "| `{name}` | {} | {meaning} |", kind.sql_name());
    }
}

fn alerts(text: &mut String) {
    text.push_str(
        "\n## alerts\n\n\
         What was told of budgets: docs/rules.md. Only of a running gateway; the alerts are its own, and are kept for 400 days behind their window.\n\n\
         | column | type | null | meaning |\n|---|---|---|---|\n",
    );
    for (name, kind, is_nullable, meaning) in tollgate_alerts::ALERTS {
        let null = if *is_nullable { "yes" } else { "no" };
        let _ = writeln!(text, "| `{name}` | {} | {null} | {meaning} |", kind.sql_name());
    }
}

fn history(text: &mut String) {
    text.push_str(
        "\n## versions\n\n\
         The versions of table `usage`, one a commit: for as long as Delta Lake's log keeps them.\n\n\
         | column | meaning |\n|---|---|\n",
    );
    for (name, _, meaning) in crate::tables::versions::COLUMNS {
        let _ = writeln!(text, "| `{name}` | {meaning} |");
    }
    text.push_str(
        "\n## usage_at(version), usage_at(time)\n\n\
         Table `usage` as of a version, or as of the newest version that was committed at a time or before: `FROM usage_at(42)`,\n\
         `FROM usage_at('2026-12-01T00:00:00Z')`. It has the columns of `usage`. Rows that are still in memory belong to no version.\n\
         A version reads the same for as long as the table keeps its history; one that is gone is an error that names those that are there.\n",
    );
}

fn corrections(text: &mut String) {
    text.push_str(
        "\n## usage_original, usage_corrected\n\n\
         The calls, a row each. `usage_original` is `usage` without corrections: each call as it was recorded. `usage_corrected` has what holds\n\
         of it now: `cost` and `list_cost` with its corrections, `currency`, `cost_status`, `price_version` and `charges` of the last of them. Its\n\
         column `corrected_by` stands in the place of `corrects`: `call_id` of that correction, null where there is none. How `usage` and its\n\
         corrections belong together is in [prices.md](prices.md#rating-history-again).\n\n\
         ## usage_rated(list), usage_rated(list, provider)\n\n\
         `usage_corrected` rated by a version of a price list, named as in `prices.price_version`; a list's name stands for its version in force.\n\
         With a provider, only its calls, for which the list is then used whatever provider it names. It adds:\n\n\
         | column | meaning |\n|---|---|\n",
    );
    for (name, meaning) in [
        (
            "rated_cost",
            "What the call costs by the list; the known part if `rated_cost_status` is `unpriced`.",
        ),
        ("rated_list_cost", "The same without discounts."),
        ("rated_currency", "Currency of both."),
        (
            "rated_cost_status",
            "As `cost_status`; `unpriced` where the list lacks the model or a meter of it. Null with a reason.",
        ),
        (
            "rated_price_version",
            "The version, if it names the model at the call's start.",
        ),
        ("rated_charges", "The bill by the list."),
        ("rated_reason", "Why the row cannot be rated by the list, if so."),
        (
            "rated_differs",
            "Whether `tollgate rerate` would correct the row: the list prices all of it, and otherwise than it stands.",
        ),
    ] {
        let _ = writeln!(text, "| `{name}` | {meaning} |");
    }
    let members: Vec<_> = MEMBERS.iter().map(|(name, _)| format!("`{name}`")).collect();
    let answer: Vec<_> = ANSWER.iter().map(|(name, _)| format!("`{name}`")).collect();
    let _ = write!(
        text,
        "\n## rate(list, call)\n\n\
         The function that it is made with: what one call costs. `call` is a struct, `named_struct('request_model', 'm', ...)`, of any of\n\
         {}.\n\
         They mean what the columns of `usage` mean; `start_time` is needed. `template` is the provider's template, if the list names that; `'*'` says that the list is meant. Without `charges`\n\
         it is a call that might be made, and its token counts are all that it uses. The answer is a struct of\n\
         {}.\n",
        members.join(", "),
        answer.join(", ")
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_public_reference_is_current() {
        // Tests run in the folder of their package; a path from compile time may be that of another checkout with the same target folder.
        let path = "../docs/tables.md";
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, super::tables()).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            super::tables(),
            "run UPDATE_DOCS=1 cargo test -p tollgate-usage-store"
        );
    }
}
