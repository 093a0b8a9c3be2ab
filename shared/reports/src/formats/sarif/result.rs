//! One result, and the small things that it and its rule have in common.

use std::collections::BTreeMap;

use super::Waiting;
use super::place::Place;
use crate::findings::{Finding, Severity};
use crate::json::{Fault, Json};

/// Most fingerprints of a result that are kept.
const FINGERPRINTS_MAX: usize = 8;

/// A result and what it waits for; None when it is no finding.
pub(super) fn read(json: &mut Json<'_>) -> Result<Option<(Finding, Waiting)>, Fault> {
    let (mut finding, mut waiting) = (Finding::default(), Waiting::default());
    let Waiting {
        told,
        place,
        is_partial,
    } = &mut waiting;
    let (mut target, mut is_finding) = (Place::default(), true);
    let [mut whole, mut partial] = [const { String::new() }; 2];
    json.object(|name, json| {
        match name {
            "ruleId" => told.rule.id = json.line()?,
            "ruleIndex" => told.rule.index = json.index()?,
            "rule" => told.rule.read(json)?,
            "kind" => match json.string()?.as_deref() {
                Some("pass" | "notApplicable") => is_finding = false,
                Some("informational" | "open" | "review") => told.claims_nothing = true,
                Some(_) | None => {}
            },
            "level" => told.level = severity(json)?,
            "properties" => told.scored = scored(json)?,
            "provenance" => {
                told.invocation = json.member("invocationIndex", Json::index)?.flatten();
            }
            "message" => finding.message = message(json)?,
            "locations" => locations(json, place, &mut finding.line)?,
            "analysisTarget" => target = Place::read(json)?,
            "suppressions" => finding.suppressed = is_suppressed(json)?,
            "baselineState" => match json.string()?.as_deref() {
                Some("absent") => is_finding = false,
                Some("unchanged" | "updated") => finding.known = true,
                Some(_) | None => {}
            },
            "fingerprints" => whole = fingerprint(json)?,
            "partialFingerprints" => partial = fingerprint(json)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    finding.id.clone_from(&told.rule.id);
    *is_partial = whole.is_empty() && !partial.is_empty();
    finding.fingerprint = if *is_partial { partial } else { whole };
    if place.is_empty() {
        *place = target;
    }
    Ok(is_finding.then_some((finding, waiting)))
}

/// A level, in words.
pub(super) fn severity(json: &mut Json<'_>) -> Result<Option<Severity>, Fault> {
    Ok(json.string()?.as_deref().map(Severity::of_word))
}

/// By the score in a property bag, where nothing above 0 stands for a score that is not known.
pub(super) fn scored(json: &mut Json<'_>) -> Result<Option<Severity>, Fault> {
    let score = json.member("security-severity", Json::text)?.flatten();
    let score = score.and_then(|score| score.trim().parse::<f64>().ok());
    Ok(score.and_then(|score| match score > 0.0 {
        true => Severity::of_score(score),
        false => Some(Severity::Unknown),
    }))
}

/// The text of a message; empty when it has only an id.
pub(super) fn message(json: &mut Json<'_>) -> Result<String, Fault> {
    let [mut text, mut markdown] = [const { String::new() }; 2];
    json.object(|name, json| {
        match name {
            "text" => text = json.string()?.unwrap_or_default(),
            "markdown" => markdown = json.string()?.unwrap_or_default(),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(if text.is_empty() { markdown } else { text })
}

/// The first of them.
fn locations(json: &mut Json<'_>, place: &mut Place, line: &mut Option<u32>) -> Result<(), Fault> {
    let mut is_first = true;
    json.array(|json| {
        if !std::mem::take(&mut is_first) {
            return json.skip();
        }
        json.member("physicalLocation", |json| {
            json.object(|name, json| {
                match name {
                    "artifactLocation" => *place = Place::read(json)?,
                    "region" => *line = json.member("startLine", Json::line_number)?.flatten(),
                    _ => json.skip()?,
                }
                Ok(())
            })
        })?;
        Ok(())
    })?;
    Ok(())
}

/// Whether there are suppressions, all of them in force.
fn is_suppressed(json: &mut Json<'_>) -> Result<bool, Fault> {
    let (mut is_any, mut are_all) = (false, true);
    json.array(|json| {
        is_any = true;
        if let Some(status) = json.member("status", Json::string)? {
            are_all &= status.as_deref() == Some("accepted");
        }
        Ok(())
    })?;
    Ok(is_any && are_all)
}

/// The fingerprints by all methods, in the order of the methods' names.
fn fingerprint(json: &mut Json<'_>) -> Result<String, Fault> {
    let mut fingerprints = BTreeMap::new();
    json.object(|method, json| {
        if fingerprints.len() < FINGERPRINTS_MAX {
            fingerprints.insert(method.to_owned(), json.line()?);
            return Ok(());
        }
        json.skip()
    })?;
    let fingerprints: Vec<_> = fingerprints.into_values().collect();
    Ok(fingerprints.join("|"))
}
