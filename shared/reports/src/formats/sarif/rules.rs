//! The rules of a run's tool, and what refers to them.

use std::collections::HashMap;

use super::result::{message, scored, severity};
use crate::findings::{Finding, Severity, TERM_CHARS_MAX};
use crate::json::{Fault, Json};
use crate::limits::TooMuch;
use crate::text;

/// The rules of the driver, which is the first component, and of its extensions.
#[derive(Default)]
pub(super) struct Rules {
    driver: Component,
    extensions: Vec<Component>,
    by_name: HashMap<String, usize>,
    by_id: HashMap<String, At>,
}

/// Which rule: of the driver or of an extension, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct At {
    extension: Option<usize>,
    rule: usize,
}

/// A toolComponent.
#[derive(Default)]
pub(super) struct Component {
    name: String,
    rules: Vec<Rule>,
    by_id: HashMap<String, usize>,
}

/// A reportingDescriptor.
#[derive(Default)]
pub(super) struct Rule {
    id: String,
    description: String,
    pub(super) level: Option<Severity>,
    pub(super) scored: Option<Severity>,
}

/// A reportingDescriptorReference, by which a result names its rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RuleReference {
    pub(super) id: String,
    pub(super) index: Option<usize>,
    /// The extension that has the rule, by its place and by its name.
    extension: Option<usize>,
    extension_name: String,
}

impl Rules {
    pub(super) fn set_driver(&mut self, driver: Component) {
        self.driver = driver;
    }

    pub(super) fn add_extension(&mut self, extension: Component) {
        let place = self.extensions.len();
        self.by_name.entry(extension.name.clone()).or_insert(place);
        self.extensions.push(extension);
    }

    /// What the tool calls itself.
    pub(super) fn tool(&self) -> &str {
        &self.driver.name
    }

    /// To be called when all rules are known: a rule's id is first looked for in the driver.
    pub(super) fn index(&mut self) {
        let extensions = self.extensions.iter().enumerate();
        let extensions = extensions.map(|(place, component)| (Some(place), component));
        for (extension, component) in [(None, &self.driver)].into_iter().chain(extensions) {
            for (rule, described) in component.rules.iter().enumerate() {
                let id = described.id.clone();
                self.by_id.entry(id).or_insert(At { extension, rule });
            }
        }
    }

    /// The rule that is at the index in its component, when it has the id that is told as well; or
    /// else the rule of that id; or else the one at the index all the same.
    pub(super) fn find(&self, reference: &RuleReference) -> Option<At> {
        let named = || self.by_name.get(&reference.extension_name).copied();
        let told = reference
            .extension
            .filter(|&place| place < self.extensions.len());
        let extension = told.or_else(named);
        let component = self.component(extension);
        let at_index = reference
            .index
            .filter(|&index| index < component.rules.len());
        let at_index = at_index.map(|rule| At { extension, rule });
        let is_called = |at: &At| self.get(*at).is_called(&reference.id);
        at_index.filter(is_called).or_else(|| {
            let id = reference.id.as_str();
            let part = id.rsplit_once('/').map(|(part, _)| part);
            let mut ids = [Some(id), part].into_iter().flatten();
            let by_id = ids.find_map(|id| {
                let within = component.by_id.get(id).map(|&rule| At { extension, rule });
                within.or_else(|| self.by_id.get(id).copied())
            });
            by_id.or(at_index)
        })
    }

    /// The rule that was found.
    pub(super) fn get(&self, at: At) -> &Rule {
        &self.component(at.extension).rules[at.rule]
    }

    fn component(&self, extension: Option<usize>) -> &Component {
        extension.map_or(&self.driver, |place| &self.extensions[place])
    }
}

impl Component {
    /// Shows each rule to `each` before it is kept.
    pub(super) fn read(
        json: &mut Json<'_>,
        mut each: impl FnMut(&Rule) -> Result<(), TooMuch>,
    ) -> Result<Self, Fault> {
        let mut component = Self::default();
        json.object(|name, json| {
            match name {
                "name" => component.name = json.line()?,
                "rules" => {
                    json.array(|json| {
                        let rule = Rule::read(json)?;
                        each(&rule)?;
                        let place = component.rules.len();
                        component.by_id.entry(rule.id.clone()).or_insert(place);
                        component.rules.push(rule);
                        Ok(())
                    })?;
                }
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(component)
    }
}

impl Rule {
    fn read(json: &mut Json<'_>) -> Result<Self, Fault> {
        let mut rule = Self::default();
        json.object(|name, json| {
            match name {
                "id" => rule.id = json.line()?,
                "shortDescription" => {
                    rule.description = text::line(&message(json)?, TERM_CHARS_MAX);
                }
                "defaultConfiguration" => rule.level = configuration(json)?,
                "properties" => rule.scored = scored(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(rule)
    }

    /// The text it has, three times its id.
    pub(super) fn bytes(&self) -> usize {
        3 * self.id.len() + self.description.len()
    }

    /// Whether a result may call it this: by its id, with one part more or less, or not at all.
    fn is_called(&self, id: &str) -> bool {
        let rest = id.strip_prefix(&self.id);
        id.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Says of a finding what it does not say itself.
    pub(super) fn describe(&self, finding: &mut Finding) {
        for (text, own) in [
            (&mut finding.id, &self.id),
            (&mut finding.message, &self.description),
        ] {
            if text.is_empty() {
                text.clone_from(own);
            }
        }
    }
}

impl RuleReference {
    /// Reads what an object says of it.
    pub(super) fn read(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        json.object(|name, json| {
            match name {
                "id" => self.id = json.line()?,
                "index" => self.index = json.index()?.or(self.index),
                "toolComponent" => {
                    json.object(|name, json| {
                        match name {
                            "index" => self.extension = json.index()?,
                            "name" => self.extension_name = json.line()?,
                            _ => json.skip()?,
                        }
                        Ok(())
                    })?;
                }
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(())
    }

    /// The text it has.
    pub(super) fn bytes(&self) -> usize {
        self.id.len() + self.extension_name.len()
    }
}

/// The level that a reportingConfiguration sets.
pub(super) fn configuration(json: &mut Json<'_>) -> Result<Option<Severity>, Fault> {
    Ok(json.member("level", severity)?.flatten())
}
