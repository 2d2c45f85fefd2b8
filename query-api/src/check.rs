//! What is looked at before a statement is run: that it is one, that it only reads, and that it is not made to exhaust the planner.
//!
//! 1. Text: at most [`SQL_BYTES_MAX`] bytes, so that whatever the parser makes of it fits the stack of a query thread.
//! 2. Syntax tree: one statement of a kind that reads, nested no deeper than [`EXPRESSION_DEPTH_MAX`].
//! 3. Plan: no node that writes (the syntax tree already says so; this holds if the parser learns new statements), and no
//!    function that makes much out of little, since what a function allocates is not counted by the memory limit.

use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{self, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;

use crate::Error;
use crate::limits::{EXPRESSION_DEPTH_MAX, Limits, RELATIONS_MAX, SQL_BYTES_MAX};

/// Parentheses and queries inside each other.
const PARSER_DEPTH_MAX: usize = 50;
/// Times that `repeat`, `array_repeat`, `lpad` and `rpad` may multiply what they are given.
const REPEAT_MAX: i64 = 10_000;
/// Functions whose second argument says how much they make.
const REPEATERS: [&str; 4] = ["repeat", "array_repeat", "lpad", "rpad"];

/// Reads one statement that only reads.
pub(crate) fn parse(sql: &str, limits: &Limits) -> Result<Statement, Error> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(Error::TooLong { bytes: sql.len() });
    }
    let mut statements = DFParserBuilder::new(sql)
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(PARSER_DEPTH_MAX)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| Error::from_datafusion(error, limits))?;
    let count = statements.len();
    match (statements.pop_front(), statements.is_empty()) {
        (Some(statement), true) => {
            reads(&statement)?;
            Ok(statement)
        }
        _ => Err(Error::NotOneStatement { count }),
    }
}

fn reads(statement: &Statement) -> Result<(), Error> {
    match statement {
        Statement::Statement(statement) => ast_reads(statement),
        Statement::Explain(explain) => reads(&explain.statement),
        Statement::CreateExternalTable(_) => Err(not_allowed("CREATE EXTERNAL TABLE")),
        Statement::CopyTo(_) => Err(not_allowed("COPY")),
        Statement::Reset(_) => Err(not_allowed("RESET")),
    }
}

fn ast_reads(statement: &ast::Statement) -> Result<(), Error> {
    match statement {
        ast::Statement::Query(query) => shallow(query),
        ast::Statement::Explain { statement, .. } => ast_reads(statement),
        ast::Statement::ExplainTable { .. }
        | ast::Statement::ShowTables { .. }
        | ast::Statement::ShowColumns { .. }
        | ast::Statement::ShowFunctions { .. }
        | ast::Statement::ShowVariable { .. } => Ok(()),
        other => {
            // The first two words name it: INSERT INTO, CREATE TABLE, SET x. Written from the tree, so they are few and clean.
            let text = other.to_string();
            let words: Vec<_> = text.split_whitespace().take(2).collect();
            Err(not_allowed(&words.join(" ")))
        }
    }
}

fn not_allowed(statement: &str) -> Error {
    Error::NotAllowed {
        statement: statement.to_owned(),
    }
}

// === nesting ===

#[derive(Default)]
struct Depth {
    expressions: usize,
    relations: usize,
}

fn shallow(query: &ast::Query) -> Result<(), Error> {
    let relations = set_operations(&query.body)?;
    match query.visit(&mut Depth {
        relations,
        ..Depth::default()
    }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Counts what a query unites, without recursion along the chain that the parser builds to the left.
fn set_operations(body: &ast::SetExpr) -> Result<usize, Error> {
    let (mut body, mut count) = (body, 0);
    while let ast::SetExpr::SetOperation { left, .. } = body {
        count += 1;
        if count > RELATIONS_MAX {
            return Err(Error::TooManyRelations);
        }
        body = left;
    }
    Ok(count)
}

impl Visitor for Depth {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<Error> {
        match set_operations(&query.body) {
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_table_factor(&mut self, _: &ast::TableFactor) -> ControlFlow<Error> {
        self.relations += 1;
        if self.relations > RELATIONS_MAX {
            return ControlFlow::Break(Error::TooManyRelations);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _: &ast::Expr) -> ControlFlow<Error> {
        self.expressions += 1;
        if self.expressions > EXPRESSION_DEPTH_MAX {
            return ControlFlow::Break(Error::TooDeep);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &ast::Expr) -> ControlFlow<Error> {
        self.expressions -= 1;
        ControlFlow::Continue(())
    }
}

// === plan ===

/// Looks through a plan, subqueries included.
pub(crate) fn verify(plan: &LogicalPlan, limits: &Limits) -> Result<(), Error> {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(plan)
        .map_err(|error| Error::from_datafusion(error, limits))?;
    let mut refused = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|expression| {
                refused = multiplies(expression);
                Ok(if refused.is_some() {
                    TreeNodeRecursion::Stop
                } else {
                    TreeNodeRecursion::Continue
                })
            })
        })
    })
    .map_err(|error: DataFusionError| Error::from_datafusion(error, limits))?;
    match refused {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn multiplies(expression: &Expr) -> Option<Error> {
    let Expr::ScalarFunction(call) = expression else { return None };
    let name = REPEATERS.into_iter().find(|name| *name == call.func.name())?;
    let times = match call.args.get(1) {
        Some(Expr::Literal(value, _)) => value.cast_to(&arrow::datatypes::DataType::Int64).ok(),
        _ => None,
    };
    match times {
        Some(ScalarValue::Int64(Some(times))) if times <= REPEAT_MAX => None,
        Some(ScalarValue::Int64(None)) => None,
        _ => Some(Error::Sql {
            code: "invalid_query",
            message: format!("{name} takes a number written out, of at most {REPEAT_MAX}"),
            hint: None,
            position: None,
        }),
    }
}
