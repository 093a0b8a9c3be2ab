//! A CloudFormation template, as far as a pipeline on a laptop needs it: parameters, conditions, and the
//! intrinsic functions inside the resources that are asked for.
//!
//! A `Ref` or `Fn::GetAtt` of a resource gives the name written in the template (`FunctionName`, `BucketName` ..)
//! or else the logical id, because no stack tells us the generated one. Where that matters, make the name a
//! parameter and pass it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// How deep functions may be nested in one property.
const NESTING_MAX: usize = 32;

/// What a template is resolved against.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Values for the template's parameters; they win over the defaults.
    pub parameters: BTreeMap<String, String>,
    /// `AWS::Region`.
    pub region: String,
    /// `AWS::AccountId`.
    pub account: String,
    /// `AWS::StackName`.
    pub stack: String,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            parameters: BTreeMap::new(),
            region: "us-east-1".into(),
            account: "000000000000".into(),
            stack: "penstock".into(),
        }
    }
}

/// Why a template could not be resolved.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum TemplateError {
    /// A parameter without default and without value.
    #[error("parameter {0} has no default: pass --parameter {0}=VALUE")]
    ParameterMissing(String),
    /// A value for a parameter that the template does not declare.
    #[error("the template has no parameter {name}; it has {known}")]
    ParameterUnknown {
        /// The name that was given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A reference to nothing.
    #[error("{at}: {name} is neither a parameter nor a resource of this template")]
    UnknownName {
        /// Where in the template.
        at: String,
        /// The name.
        name: String,
    },
    /// A function that is not known here.
    #[error(
        "{at}: {function} is not supported on a laptop; replace it with a parameter (supported: {SUPPORTED})"
    )]
    Unsupported {
        /// Where in the template.
        at: String,
        /// The function's name.
        function: String,
    },
    /// A function with arguments of the wrong shape.
    #[error("{at}: {function} takes {takes}")]
    Arguments {
        /// Where in the template.
        at: String,
        /// The function's name.
        function: &'static str,
        /// What it takes.
        takes: &'static str,
    },
    /// Functions nested too deep, or a condition that names itself.
    #[error("{at}: nested more than {NESTING_MAX} deep; does a condition name itself?")]
    TooDeep {
        /// Where in the template.
        at: String,
    },
}

const SUPPORTED: &str =
    "Ref, Fn::Sub, Fn::GetAtt, Fn::Join, Fn::Select, Fn::Split, Fn::If, Fn::FindInMap";

/// A template with its parameters bound.
#[derive(Debug)]
pub struct Template<'a> {
    root: &'a Value,
    scope: &'a Scope,
    parameters: BTreeMap<&'a str, String>,
}

impl<'a> Template<'a> {
    /// Binds the parameters.
    pub fn new(root: &'a Value, scope: &'a Scope) -> Result<Self, TemplateError> {
        let declared = object(root, "Parameters");
        let known = || match declared {
            Some(declared) if !declared.is_empty() => {
                declared.keys().cloned().collect::<Vec<_>>().join(", ")
            }
            _ => "none".into(),
        };
        for name in scope.parameters.keys() {
            if !declared.is_some_and(|declared| declared.contains_key(name)) {
                return Err(TemplateError::ParameterUnknown {
                    name: name.clone(),
                    known: known(),
                });
            }
        }
        let mut parameters = BTreeMap::new();
        for (name, parameter) in declared.into_iter().flatten() {
            let value = scope
                .parameters
                .get(name)
                .cloned()
                .or_else(|| text(parameter.get("Default")?));
            parameters.insert(
                name.as_str(),
                value.ok_or_else(|| TemplateError::ParameterMissing(name.clone()))?,
            );
        }
        Ok(Self {
            root,
            scope,
            parameters,
        })
    }

    /// The logical ids of the resources of one type, in the order of the template.
    pub fn resources(&self, kind: &str) -> Vec<&'a str> {
        let resources = object(self.root, "Resources").into_iter().flatten();
        resources
            .filter(|(_, resource)| resource.get("Type").and_then(Value::as_str) == Some(kind))
            .map(|(id, _)| id.as_str())
            .collect()
    }

    /// The resolved `Properties` of one resource; empty where it has none.
    pub fn properties(&self, id: &str) -> Result<Value, TemplateError> {
        match self.raw_properties(id) {
            Some(properties) => Ok(self
                .resolve(properties, &format!("{id}.Properties"), 0)?
                .unwrap_or_default()),
            None => Ok(Value::Object(Map::new())),
        }
    }

    /// The name that `Ref` gives for a resource.
    pub fn name_of(&self, id: &str) -> Result<String, TemplateError> {
        self.reference(id, id, 0)
            .map(|value| text(&value).unwrap_or_else(|| id.into()))
    }

    fn raw_properties(&self, id: &str) -> Option<&'a Value> {
        self.root.get("Resources")?.get(id)?.get("Properties")
    }

    /// `None` stands for `AWS::NoValue`, which removes the property that holds it.
    fn resolve(
        &self,
        value: &Value,
        at: &str,
        depth: usize,
    ) -> Result<Option<Value>, TemplateError> {
        if depth > NESTING_MAX {
            return Err(TemplateError::TooDeep { at: at.into() });
        }
        match value {
            Value::Object(map) => {
                if let Some((function, argument)) = function(map) {
                    return self.call(function, argument, at, depth + 1);
                }
                let mut resolved = Map::new();
                for (key, value) in map {
                    if let Some(value) = self.resolve(value, &format!("{at}.{key}"), depth + 1)? {
                        resolved.insert(key.clone(), value);
                    }
                }
                Ok(Some(Value::Object(resolved)))
            }
            Value::Array(list) => {
                let items = list.iter().enumerate();
                let items =
                    items.map(|(i, item)| self.resolve(item, &format!("{at}[{i}]"), depth + 1));
                let items = items
                    .filter_map(Result::transpose)
                    .collect::<Result<_, _>>()?;
                Ok(Some(Value::Array(items)))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Ok(Some(value.clone()))
            }
        }
    }

    fn call(
        &self,
        name: &str,
        argument: &Value,
        at: &str,
        depth: usize,
    ) -> Result<Option<Value>, TemplateError> {
        match name {
            "Ref" if argument == "AWS::NoValue" => Ok(None),
            "Ref" => {
                let target = argument
                    .as_str()
                    .ok_or_else(|| arguments(at, "Ref", "a name"))?;
                self.reference(target, at, depth).map(Some)
            }
            "Fn::Sub" => self
                .substitute(argument, at, depth)
                .map(|text| Some(text.into())),
            "Fn::GetAtt" => self
                .attribute(argument, at, depth)
                .map(|text| Some(text.into())),
            "Fn::Join" => self.join(argument, at, depth).map(|text| Some(text.into())),
            "Fn::Split" => self.split(argument, at, depth).map(Some),
            "Fn::Select" => self.select(argument, at, depth).map(Some),
            "Fn::FindInMap" => self.find_in_map(argument, at, depth).map(Some),
            "Fn::If" => {
                let [condition, yes, no] =
                    list(argument).ok_or_else(|| arguments(at, "Fn::If", IF_TAKES))?;
                let name = condition
                    .as_str()
                    .ok_or_else(|| arguments(at, "Fn::If", IF_TAKES))?;
                self.resolve(
                    if self.condition(name, at, depth)? {
                        yes
                    } else {
                        no
                    },
                    at,
                    depth,
                )
            }
            _ => Err(TemplateError::Unsupported {
                at: at.into(),
                function: name.into(),
            }),
        }
    }

    fn reference(&self, name: &str, at: &str, depth: usize) -> Result<Value, TemplateError> {
        let scope = self.scope;
        let value = match name {
            "AWS::Region" => scope.region.clone(),
            "AWS::AccountId" => scope.account.clone(),
            "AWS::StackName" => scope.stack.clone(),
            "AWS::Partition" => "aws".into(),
            "AWS::URLSuffix" => "amazonaws.com".into(),
            "AWS::StackId" => self.arn("cloudformation", &format!("stack/{}/local", scope.stack)),
            _ => match self.parameters.get(name) {
                Some(value) => return Ok(self.parameter(name, value)),
                None => self.resource_name(name, at, depth)?,
            },
        };
        Ok(value.into())
    }

    /// A list parameter (`CommaDelimitedList`, `List<..>`) is a list.
    fn parameter(&self, name: &str, value: &str) -> Value {
        let kind = self
            .root
            .get("Parameters")
            .and_then(|all| all.get(name)?.get("Type")?.as_str());
        if kind.is_some_and(|kind| kind == "CommaDelimitedList" || kind.starts_with("List<")) {
            return value
                .split(',')
                .map(|part| Value::from(part.trim()))
                .collect();
        }
        value.into()
    }

    fn resource_name(&self, id: &str, at: &str, depth: usize) -> Result<String, TemplateError> {
        let resource = self.root.get("Resources").and_then(|all| all.get(id));
        let kind = resource.and_then(|resource| resource.get("Type")?.as_str());
        let Some(kind) = kind else {
            return Err(TemplateError::UnknownName {
                at: at.into(),
                name: id.into(),
            });
        };
        let property = match kind {
            "AWS::Lambda::Function" | "AWS::Serverless::Function" => "FunctionName",
            "AWS::S3::Bucket" => "BucketName",
            "AWS::IAM::Role" => "RoleName",
            "AWS::SNS::Topic" => "TopicName",
            _ => "Name",
        };
        let named = match self
            .raw_properties(id)
            .and_then(|properties| properties.get(property))
        {
            Some(value) => {
                self.resolve(value, &format!("{id}.Properties.{property}"), depth + 1)?
            }
            None => None,
        };
        // A bucket's name has no capital letters.
        let generated = || {
            if kind == "AWS::S3::Bucket" {
                id.to_lowercase()
            } else {
                id.to_owned()
            }
        };
        Ok(named.as_ref().and_then(text).unwrap_or_else(generated))
    }

    fn attribute(&self, argument: &Value, at: &str, depth: usize) -> Result<String, TemplateError> {
        let takes = || arguments(at, "Fn::GetAtt", "a resource and an attribute");
        let (id, attribute) = match argument {
            Value::String(text) => text.split_once('.').ok_or_else(takes)?,
            _ => {
                let [id, attribute] = list(argument).ok_or_else(takes)?;
                (
                    id.as_str().ok_or_else(takes)?,
                    attribute.as_str().ok_or_else(takes)?,
                )
            }
        };
        let name = self.resource_name(id, at, depth)?;
        let kind = self.root["Resources"][id]["Type"]
            .as_str()
            .unwrap_or_default();
        Ok(match (attribute, kind) {
            ("Arn", "AWS::Lambda::Function" | "AWS::Serverless::Function") => {
                self.arn("lambda", &format!("function:{name}"))
            }
            ("Arn", "AWS::S3::Bucket") => format!("arn:aws:s3:::{name}"),
            ("Arn", "AWS::IAM::Role") => format!("arn:aws:iam::{}:role/{name}", self.scope.account),
            ("Arn", "AWS::KMS::Key") => self.arn("kms", &format!("key/{name}")),
            ("Arn", _) => self.arn("local", &name),
            _ => name,
        })
    }

    fn arn(&self, service: &str, rest: &str) -> String {
        format!(
            "arn:aws:{service}:{}:{}:{rest}",
            self.scope.region, self.scope.account
        )
    }

    fn substitute(
        &self,
        argument: &Value,
        at: &str,
        depth: usize,
    ) -> Result<String, TemplateError> {
        let takes = || arguments(at, "Fn::Sub", "a text, or a text and a map");
        let (pattern, map) = match argument {
            Value::String(pattern) => (pattern.as_str(), None),
            _ => {
                let [pattern, map] = list(argument).ok_or_else(takes)?;
                (pattern.as_str().ok_or_else(takes)?, map.as_object())
            }
        };
        let mut out = String::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let (name, after) = after.split_once('}').ok_or_else(takes)?;
            rest = after;
            if let Some(literal) = name.strip_prefix('!') {
                out.push_str(&format!("${{{literal}}}")); // `${!x}` writes `${x}`
                continue;
            }
            let name = name.trim();
            let value = match map.and_then(|map| map.get(name)) {
                Some(value) => self.resolve(value, at, depth)?.unwrap_or_default(),
                None if name.contains('.') => self.attribute(&name.into(), at, depth)?.into(),
                None => self.reference(name, at, depth)?,
            };
            out.push_str(&text(&value).ok_or_else(takes)?);
        }
        out.push_str(rest);
        Ok(out)
    }

    fn join(&self, argument: &Value, at: &str, depth: usize) -> Result<String, TemplateError> {
        let takes = || arguments(at, "Fn::Join", "a delimiter and a list");
        let [delimiter, items] = list(argument).ok_or_else(takes)?;
        let items = self.resolve(items, at, depth)?.unwrap_or_default();
        let items = items
            .as_array()
            .ok_or_else(takes)?
            .iter()
            .map(text)
            .collect::<Option<Vec<_>>>();
        Ok(items
            .ok_or_else(takes)?
            .join(delimiter.as_str().ok_or_else(takes)?))
    }

    fn split(&self, argument: &Value, at: &str, depth: usize) -> Result<Value, TemplateError> {
        let takes = || arguments(at, "Fn::Split", "a delimiter and a text");
        let [delimiter, source] = list(argument).ok_or_else(takes)?;
        let source = self
            .resolve(source, at, depth)?
            .as_ref()
            .and_then(text)
            .ok_or_else(takes)?;
        Ok(source
            .split(delimiter.as_str().ok_or_else(takes)?)
            .map(Value::from)
            .collect())
    }

    fn select(&self, argument: &Value, at: &str, depth: usize) -> Result<Value, TemplateError> {
        let takes = || arguments(at, "Fn::Select", "an index and a list that is long enough");
        let [index, items] = list(argument).ok_or_else(takes)?;
        let index = self
            .resolve(index, at, depth)?
            .as_ref()
            .and_then(text)
            .ok_or_else(takes)?;
        let items = self.resolve(items, at, depth)?.unwrap_or_default();
        let index: usize = index.parse().map_err(|_| takes())?;
        items.get(index).cloned().ok_or_else(takes)
    }

    fn find_in_map(
        &self,
        argument: &Value,
        at: &str,
        depth: usize,
    ) -> Result<Value, TemplateError> {
        let takes = || arguments(at, "Fn::FindInMap", "a map and two keys that exist in it");
        let [map, first, second] = list(argument).ok_or_else(takes)?;
        let mut found = self.root.get("Mappings").ok_or_else(takes)?;
        for key in [map, first, second] {
            let key = self
                .resolve(key, at, depth)?
                .as_ref()
                .and_then(text)
                .ok_or_else(takes)?;
            found = found.get(&key).ok_or_else(takes)?;
        }
        Ok(found.clone())
    }

    fn condition(&self, name: &str, at: &str, depth: usize) -> Result<bool, TemplateError> {
        let condition = self.root.get("Conditions").and_then(|all| all.get(name));
        let condition = condition.ok_or_else(|| TemplateError::UnknownName {
            at: at.into(),
            name: name.into(),
        })?;
        self.holds(condition, &format!("Conditions.{name}"), depth + 1)
    }

    fn holds(&self, condition: &Value, at: &str, depth: usize) -> Result<bool, TemplateError> {
        if depth > NESTING_MAX {
            return Err(TemplateError::TooDeep { at: at.into() });
        }
        let takes = || {
            arguments(
                at,
                "a condition",
                "Fn::Equals, Fn::And, Fn::Or, Fn::Not or Condition",
            )
        };
        let (function, argument) = condition.as_object().and_then(single).ok_or_else(takes)?;
        if function == "Condition" {
            return self.condition(argument.as_str().ok_or_else(takes)?, at, depth);
        }
        let items = argument.as_array().ok_or_else(takes)?;
        match function {
            "Fn::Equals" => {
                let [left, right] = list(argument).ok_or_else(takes)?;
                let side = |value| Ok(self.resolve(value, at, depth)?.as_ref().and_then(text));
                Ok(side(left)? == side(right)?)
            }
            "Fn::Not" => Ok(!self.holds(items.first().ok_or_else(takes)?, at, depth + 1)?),
            "Fn::And" => items
                .iter()
                .try_fold(true, |all, item| Ok(all & self.holds(item, at, depth + 1)?)),
            "Fn::Or" => {
                items.iter().try_fold(
                    false,
                    |any, item| Ok(any | self.holds(item, at, depth + 1)?),
                )
            }
            _ => Err(takes()),
        }
    }
}

const IF_TAKES: &str = "the name of a condition and two values";

fn arguments(at: &str, function: &'static str, takes: &'static str) -> TemplateError {
    TemplateError::Arguments {
        at: at.into(),
        function,
        takes,
    }
}

fn object<'a>(root: &'a Value, key: &str) -> Option<&'a Map<String, Value>> {
    root.get(key)?.as_object()
}

fn single(map: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut entries = map.iter();
    match (entries.next(), entries.next()) {
        (Some((key, value)), None) => Some((key, value)),
        _ => None,
    }
}

fn function(map: &Map<String, Value>) -> Option<(&str, &Value)> {
    single(map).filter(|(key, _)| *key == "Ref" || key.starts_with("Fn::"))
}

fn list<const N: usize>(value: &Value) -> Option<&[Value; N]> {
    value.as_array()?.as_slice().try_into().ok()
}

/// A scalar as CloudFormation writes it into a text property.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pipeline::document;

    const TEMPLATE: &str = r#"
Parameters:
  Stage: {Type: String, Default: local}
  Names: {Type: CommaDelimitedList, Default: "a, b"}
Conditions:
  IsLocal: !Equals [!Ref Stage, local]
  IsCloud: !Not [!Condition IsLocal]
  Loop: !Not [!Condition Loop]
Mappings:
  Size: {local: {Memory: 128}}
Resources:
  Shift: {Type: AWS::Serverless::Function, Properties: {FunctionName: !Sub "shift-${Stage}"}}
  Artifacts: {Type: AWS::S3::Bucket}
  Thing:
    Type: Test::Thing
    Properties:
      Function: !Ref Shift
      Arn: !GetAtt Shift.Arn
      Bucket: !Ref Artifacts
      Text: !Sub "${AWS::Region}/${Shift.Arn}/${!Kept}/${X}"
      Mapped: !Sub ["${X}-${Stage}", {X: !Ref AWS::AccountId}]
      Joined: !Join ["-", [!Ref Stage, 7]]
      Second: !Select [1, !Ref Names]
      Memory: !FindInMap [Size, !Ref Stage, Memory]
      Chosen: !If [IsLocal, yes, no]
      Gone: !If [IsCloud, here, !Ref AWS::NoValue]
"#;

    fn resolve(text: &str, scope: &Scope, id: &str) -> Result<Value, TemplateError> {
        let root = document::read(text).unwrap();
        Template::new(&root, scope)?.properties(id)
    }

    #[test]
    fn intrinsic_functions_resolve_against_parameters_and_names() {
        let text = TEMPLATE.replace("/${X}\"", "\"");
        let thing = resolve(&text, &Scope::default(), "Thing").unwrap();
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:shift-local";
        assert_eq!(
            thing,
            json!({"Function": "shift-local", "Arn": arn, "Bucket": "artifacts",
                   "Text": format!("us-east-1/{arn}/${{Kept}}"), "Mapped": "000000000000-local", "Joined": "local-7",
                   "Second": "b", "Memory": 128, "Chosen": "yes"})
        );
    }

    #[test]
    fn a_given_parameter_wins_over_its_default() {
        let text = TEMPLATE.replace("/${X}\"", "\"");
        let scope = Scope {
            parameters: [("Stage".into(), "prod".into())].into(),
            ..Scope::default()
        };
        assert_eq!(
            resolve(&text, &scope, "Shift").unwrap(),
            json!({"FunctionName": "shift-prod"})
        );
    }

    #[test]
    fn an_unknown_name_says_where_it_stands() {
        let error = resolve(TEMPLATE, &Scope::default(), "Thing").unwrap_err();
        assert_eq!(
            error,
            TemplateError::UnknownName {
                at: "Thing.Properties.Text".into(),
                name: "X".into()
            }
        );
    }

    #[test]
    fn a_parameter_without_value_or_declaration_is_named() {
        let text = "Parameters: {Token: {Type: String}}\nResources: {}\n";
        let missing = resolve(text, &Scope::default(), "Thing").unwrap_err();
        assert_eq!(missing, TemplateError::ParameterMissing("Token".into()));
        let scope = Scope {
            parameters: [("Tokn".into(), "x".into())].into(),
            ..Scope::default()
        };
        let unknown = resolve(text, &scope, "Thing").unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "the template has no parameter Tokn; it has Token"
        );
    }

    #[test]
    fn a_condition_that_names_itself_ends() {
        let text = TEMPLATE
            .replace("[IsLocal, yes", "[Loop, yes")
            .replace("/${X}\"", "\"");
        assert!(matches!(
            resolve(&text, &Scope::default(), "Thing"),
            Err(TemplateError::TooDeep { .. })
        ));
    }

    #[test]
    fn an_unsupported_function_is_named_with_those_that_are() {
        let text = "Resources: {A: {Type: T, Properties: {B: !ImportValue x}}}";
        let error = resolve(text, &Scope::default(), "A")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("A.Properties.B: Fn::ImportValue is not supported"),
            "{error}"
        );
    }
}
