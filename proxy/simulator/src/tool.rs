//! Which tool an answer calls, and values that fit a JSON schema.
//!
//! This is off the fast path: only requests that offer tools or ask for structured output come here, so the schema is
//! read into a `serde_json::Value`. The sampler covers what SDKs generate (objects, arrays, enums, references,
//! unions), not all of JSON Schema.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::prompt::names_weather;
use crate::refusal::Refusal;

/// How deep a sampled value nests at most; below it stand empty objects.
const DEPTH_MAX: usize = 12;

/// A call that the answer makes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// The arguments, as a JSON text.
    pub(crate) arguments: String,
}

/// A tool as any interface offers it: OpenAI's two, Anthropic's, Gemini's list of declarations, Bedrock's
/// specification.
#[derive(Deserialize)]
struct Tool {
    name: Option<String>,
    parameters: Option<Value>,
    input_schema: Option<Value>,
    function: Option<Function>,
    #[serde(default, rename = "functionDeclarations", alias = "function_declarations")]
    declarations: Vec<Function>,
    #[serde(rename = "toolSpec")]
    specification: Option<Specification>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(alias = "parametersJsonSchema", alias = "parameters_json_schema")]
    parameters: Option<Value>,
}

#[derive(Deserialize)]
struct Specification {
    name: String,
    #[serde(rename = "inputSchema")]
    input_schema: Option<Value>,
}

/// What `tool_choice` says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Auto,
    Never,
    Must,
    Named(String),
}

impl Choice {
    /// Reads `tool_choice` in the spelling of any interface.
    pub(crate) fn of(sent: Option<&RawValue>) -> Self {
        let value: Value = sent
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or(Value::Null);
        Self::google(&value)
            .or_else(|| Self::bedrock(&value))
            .unwrap_or_else(|| Self::word(&value))
    }

    /// `{"mode": "ANY", "allowedFunctionNames": ["f"]}`
    fn google(value: &Value) -> Option<Self> {
        let mode = value.get("mode")?.as_str()?;
        let names = value
            .get("allowedFunctionNames")
            .or_else(|| value.get("allowed_function_names"));
        let named = names.and_then(|names| names.get(0)).and_then(Value::as_str);
        Some(match (mode, named) {
            ("NONE" | "none", _) => Self::Never,
            ("ANY" | "any", Some(name)) => Self::Named(name.to_owned()),
            ("ANY" | "any", None) => Self::Must,
            _ => Self::Auto,
        })
    }

    /// `{"any": {}}`, `{"tool": {"name": "f"}}`
    fn bedrock(value: &Value) -> Option<Self> {
        if let Some(name) = value.pointer("/tool/name").and_then(Value::as_str) {
            return Some(Self::Named(name.to_owned()));
        }
        value.get("any").map(|_| Self::Must)
    }

    fn word(value: &Value) -> Self {
        let word = value
            .as_str()
            .or_else(|| value.get("type").and_then(Value::as_str))
            .unwrap_or("auto");
        let name = value
            .get("name")
            .or_else(|| value.get("function").and_then(|function| function.get("name")));
        match (word, name.and_then(Value::as_str)) {
            ("none", _) => Self::Never,
            (_, Some(name)) => Self::Named(name.to_owned()),
            ("required" | "any", None) => Self::Must,
            _ => Self::Auto,
        }
    }
}

/// Chooses a tool and its arguments: the one that `tool_choice` names, else one whose name speaks of the weather,
/// else the first. None where no tool of the caller's own is offered.
///
/// # Errors
/// `JsonType` where `tools` is not an array of tools.
pub(crate) fn call(tools: &RawValue, choice: &Choice) -> Result<Option<Call>, Refusal> {
    let tools: Vec<Tool> = serde_json::from_str(tools.get()).map_err(|error| Refusal::JsonType {
        reason: format!("tools: {error}"),
    })?;
    let mut own: Vec<(String, Value)> = tools.into_iter().flat_map(Tool::own).collect();
    let at = match choice {
        Choice::Named(name) => own.iter().position(|(own, _)| own == name),
        _ => own.iter().position(|(name, _)| names_weather(name)),
    };
    let at = at.unwrap_or(0);
    if at >= own.len() {
        return Ok(None);
    }
    let (name, schema) = own.swap_remove(at);
    Ok(Some(Call {
        name,
        arguments: sample(&schema),
    }))
}

impl Tool {
    /// Names and schemas of the tools that the caller runs; provider-run tools (web search) have neither.
    fn own(self) -> Vec<(String, Value)> {
        let mut own: Vec<(String, Value)> = self
            .function
            .into_iter()
            .chain(self.declarations)
            .map(Function::own)
            .collect();
        if let Some(Specification { name, input_schema }) = self.specification {
            let schema = input_schema.and_then(|mut schema| schema.get_mut("json").map(Value::take));
            own.push((name, schema.unwrap_or_else(|| json!({}))));
        }
        if let (Some(name), Some(schema)) = (self.name, self.parameters.or(self.input_schema)) {
            own.push((name, schema));
        }
        own
    }
}

impl Function {
    fn own(self) -> (String, Value) {
        (self.name, self.parameters.unwrap_or_else(|| json!({})))
    }
}

/// A JSON text that fits the schema.
pub(crate) fn sample(schema: &Value) -> String {
    let value = match value_of(schema, schema, "", 0) {
        Value::Object(object) => Value::Object(object),
        _ => Value::Object(Map::new()),
    };
    value.to_string()
}

fn value_of(schema: &Value, root: &Value, name: &str, depth: usize) -> Value {
    if depth > DEPTH_MAX {
        return json!({});
    }
    let inner = |schema: &Value| value_of(schema, root, name, depth + 1);
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map_or_else(|| json!({}), inner);
    }
    if let Some(fixed) = schema.get("const") {
        return fixed.clone();
    }
    let first = |key: &str| schema.get(key).and_then(Value::as_array).and_then(|all| all.first());
    if let Some(value) = first("enum") {
        return value.clone();
    }
    if let Some(variant) = ["anyOf", "oneOf", "allOf"].into_iter().find_map(first) {
        return inner(variant);
    }
    let kind = first("type").or_else(|| schema.get("type")).and_then(Value::as_str);
    // Gemini's schemas spell types in capitals.
    let kind = kind.map(str::to_ascii_lowercase);
    match kind.as_deref().unwrap_or(if schema.get("properties").is_some() {
        "object"
    } else {
        "string"
    }) {
        "object" => object_of(schema, root, depth),
        "array" => match schema.get("items") {
            Some(items) if !schema.get("minItems").is_some_and(|min| min == 0) => json!([inner(items)]),
            _ => json!([]),
        },
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        "boolean" => json!(true),
        "null" => Value::Null,
        _ => json!(match name {
            "location" | "city" | "place" => "Berlin",
            _ => "sample",
        }),
    }
}

/// Only what the schema requires, or all of it where it requires nothing.
fn object_of(schema: &Value, root: &Value, depth: usize) -> Value {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return json!({});
    };
    let required = schema
        .get("required")
        .and_then(Value::as_array)
        .filter(|required| !required.is_empty());
    let wanted = |name: &str| required.is_none_or(|required| required.iter().any(|each| each == name));
    let mut object = Map::new();
    for (name, property) in properties.iter().filter(|(name, _)| wanted(name)) {
        object.insert(name.clone(), value_of(property, root, name, depth + 1));
    }
    Value::Object(object)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn a_tool_of_every_interface_is_called_with_arguments_that_fit() {
        let schema = r#"{"type":"object","properties":{"location":{"type":"string"},"unit":{"enum":["c","f"]},
            "days":{"type":"integer"}},"required":["location","unit"]}"#;
        for tools in [
            format!(r#"[{{"type":"function","function":{{"name":"get_weather","parameters":{schema}}}}}]"#),
            format!(r#"[{{"type":"function","name":"get_weather","parameters":{schema}}}]"#),
            format!(r#"[{{"name":"get_weather","input_schema":{schema}}}]"#),
            format!(r#"[{{"functionDeclarations":[{{"name":"get_weather","parameters":{schema}}}]}}]"#),
            format!(r#"[{{"functionDeclarations":[{{"name":"get_weather","parametersJsonSchema":{schema}}}]}}]"#),
            format!(r#"[{{"cachePoint":{{}}}},{{"toolSpec":{{"name":"get_weather","inputSchema":{{"json":{schema}}}}}}}]"#),
        ] {
            let call = call(&raw(&tools), &Choice::Auto).unwrap().unwrap();
            assert_eq!(call.name, "get_weather");
            assert_eq!(call.arguments, r#"{"location":"Berlin","unit":"c"}"#);
        }
    }

    #[test]
    fn the_named_tool_is_called_before_the_first() {
        let tools = raw(r#"[{"name":"a","input_schema":{}},{"name":"b","input_schema":{}}]"#);
        let named = Choice::of(Some(&raw(r#"{"type":"tool","name":"b"}"#)));
        assert_eq!(call(&tools, &named).unwrap().unwrap().name, "b");
        assert_eq!(call(&tools, &Choice::Auto).unwrap().unwrap().name, "a");
    }

    #[test]
    fn tools_that_the_provider_runs_are_not_called() {
        assert_eq!(call(&raw(r#"[{"type":"web_search"}]"#), &Choice::Auto).unwrap(), None);
        assert_eq!(call(&raw("[]"), &Choice::Auto).unwrap(), None);
        assert!(call(&raw("{}"), &Choice::Auto).is_err());
    }

    #[test]
    fn tool_choice_is_read_in_every_spelling() {
        for (sent, choice) in [
            (r#""none""#, Choice::Never),
            (r#"{"type":"none"}"#, Choice::Never),
            (r#""auto""#, Choice::Auto),
            (r#""required""#, Choice::Must),
            (r#"{"type":"any"}"#, Choice::Must),
            (r#"{"type":"function","function":{"name":"f"}}"#, Choice::Named("f".into())),
            (r#"{"type":"function","name":"f"}"#, Choice::Named("f".into())),
            (r#"{"mode":"AUTO"}"#, Choice::Auto),
            (r#"{"mode":"ANY"}"#, Choice::Must),
            (r#"{"mode":"NONE"}"#, Choice::Never),
            (r#"{"mode":"ANY","allowedFunctionNames":["f"]}"#, Choice::Named("f".into())),
            (r#"{"auto":{}}"#, Choice::Auto),
            (r#"{"any":{}}"#, Choice::Must),
            (r#"{"tool":{"name":"f"}}"#, Choice::Named("f".into())),
        ] {
            assert_eq!(Choice::of(Some(&raw(sent))), choice, "{sent}");
        }
        assert_eq!(Choice::of(None), Choice::Auto);
    }

    #[test]
    fn references_and_recursion_end() {
        let schema = json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]});
        let sampled: Value = serde_json::from_str(&sample(&schema)).unwrap();
        assert!(sampled.get("next").is_some());
        let defs = json!({"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": ["number", "null"]}}});
        assert_eq!(sample(&defs), r#"{"a":1}"#);
    }
}
