//! One pass over a request's body: what in it bounds what the call uses.
//!
//! 1. Names of members are told in any case and with or without `_`, where finding more of them only raises a bound; a limit is told by its exact name.
//! 2. A body that is no JSON object, or nested deeper than the parser goes, was not seen, and everything of it is open.
//! 3. Members that are texts nearly always are passed over and not decoded: most bytes of a body are there. Where they are lists of parts they are read
//!    after all, which is a second look at them; deeper than [`TEXTS_DEEP`] they are read at once, so that no body is looked at more often.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::counted::Counted;
use super::limit::LimitSeen;
use super::names::{Squeezed, is_clients, is_opening, is_sealed, is_text};
use super::{ANSWERS_MAX, DOCUMENT_TOKENS, IMAGE_SIZES, TOOL_CALLS_MAX, UNIT_DOCUMENTS};
use crate::defaults::Limit;
use crate::shape::Shape;
use crate::work;

/// How deep texts may lie inside of texts to be passed over first: a message has its parts, and a part, such as a tool's result, may have parts of its own.
const TEXTS_DEEP: u8 = 2;

/// What was seen of a body.
#[derive(Debug)]
pub(super) struct Seen<'s> {
    shape: &'s Shape,
    names: Option<&'s Limit>,
    /// It has input that is no text, or stands elsewhere.
    pub(super) open: bool,
    /// Sound is part of it, and whether it is named by a URL.
    pub(super) sound: bool,
    pub(super) sound_elsewhere: bool,
    /// Images that are read.
    pub(super) images: u64,
    /// Tools, and those of them that the provider describes.
    pub(super) tools: u64,
    pub(super) own_tools: u64,
    /// Calls of tools that the provider runs.
    pub(super) tool_calls: u64,
    pub(super) max_tool_calls: Counted,
    pub(super) has_schema: bool,
    pub(super) limit: LimitSeen,
    pub(super) thinking: Counted,
    pub(super) predicts: bool,
    pub(super) answers: Counted,
    /// Images that are asked for.
    pub(super) samples: Counted,
    pub(super) odd_size: bool,
    pub(super) prompts: u64,
    pub(super) pages: Option<u64>,
    /// Characters that are to be spoken.
    pub(super) characters: u64,
    documents: u64,
    query_bytes: u64,
    bytes: u64,
    /// How many lists that stand for texts are being read.
    deep: u8,
    /// Models are named as is not usual.
    pub(super) names_others: bool,
    whole: bool,
}

/// Where in a body a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// It is the body.
    Top,
    /// An object that has the limit.
    Limits,
    /// Something that the model reads, or a setting.
    Inside,
    /// What leaves the input open if it is there.
    Opening,
    /// Sound.
    Sound,
    /// The member `type`.
    Kind,
    /// The list of tools.
    Tools,
    /// Prompts of a completion; and one of several.
    Prompt,
    PromptOf,
    /// Elements that are counted.
    Documents,
    Images,
    Pages,
    /// Settings of a model's vendor inside of Bedrock's.
    Extra,
    /// Settings of Vertex AI's predictions, of models that draw at Bedrock.
    Settings,
}

struct Walk<'w, 's> {
    seen: &'w mut Seen<'s>,
    at: At,
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

// === impl Seen ===

impl<'s> Seen<'s> {
    pub(super) fn of(shape: &'s Shape, limit: Option<&'s Limit>, body: &[u8]) -> Self {
        let mut seen = Self {
            shape,
            names: limit,
            open: false,
            sound: false,
            sound_elsewhere: false,
            images: 0,
            tools: 0,
            own_tools: 0,
            tool_calls: 0,
            max_tool_calls: Counted::default(),
            has_schema: false,
            limit: LimitSeen {
                is_inside: limit.is_some_and(|limit| limit.inside.is_some()),
                ..LimitSeen::default()
            },
            thinking: Counted::default(),
            predicts: false,
            answers: Counted::default(),
            samples: Counted::default(),
            odd_size: false,
            prompts: 0,
            pages: None,
            characters: 0,
            documents: 0,
            query_bytes: 0,
            bytes: body.len() as u64,
            deep: 0,
            names_others: false,
            whole: false,
        };
        work::look_at(body.len());
        let mut parser = serde_json::Deserializer::from_slice(body);
        let walk = Walk {
            seen: &mut seen,
            at: At::Top,
        };
        let read = walk.deserialize(&mut parser).and_then(|()| parser.end());
        seen.whole = read.is_ok();
        if !seen.whole {
            seen.open = true;
            seen.names_others = true;
            seen.odd_size = true;
            seen.pages = None;
            seen.characters = body.len() as u64;
            seen.limit.doubtful = true;
            seen.limit.room = 0;
            seen.limit.is_inside = false;
        }
        seen
    }

    /// Answers that are asked for.
    pub(super) fn answers(&self) -> u64 {
        let least = if self.whole || matches!(self.shape, Shape::Template(_)) {
            1
        } else {
            ANSWERS_MAX
        };
        self.answers.or_odd(ANSWERS_MAX).unwrap_or(1).max(least)
    }

    /// Search units of documents that are ranked: each of its parts is as long as the query leaves room for.
    pub(super) fn search_units(&self) -> u64 {
        let documents = if self.whole { self.documents } else { self.bytes };
        if documents == 0 {
            return 0;
        }
        let part = DOCUMENT_TOKENS.saturating_sub(self.query_bytes).max(1);
        documents.saturating_add(self.bytes / part).div_ceil(UNIT_DOCUMENTS)
    }

    fn is_limit_object(&self, key: &str) -> Option<bool> {
        let objects = self.names?.inside.as_ref()?;
        let named = objects.iter().any(|name| name.eq_ignore_ascii_case(key));
        named.then(|| objects.contains(&key))
    }

    /// A tool that the provider runs.
    fn run_tool(&mut self, most: Option<u64>) {
        self.open = true;
        self.tool_calls = self.tool_calls.saturating_add(most.unwrap_or(TOOL_CALLS_MAX));
    }

    fn kind(&mut self, kind: &str) {
        let squeezed = Squeezed::of(kind);
        if matches!(squeezed.get(), b"inputaudio" | b"audio" | b"audiourl") {
            self.sound = true;
        }
        self.has_schema |= matches!(squeezed.get(), b"jsonschema" | b"jsonobject");
        self.open |= !is_text(squeezed.get());
    }
}

// === impl Walk ===

impl Walk<'_, '_> {
    fn next<'de, A: MapAccess<'de>>(&mut self, map: &mut A, at: At) -> Result<(), A::Error> {
        map.next_value_seed(Walk { seen: self.seen, at })
    }

    /// A member of the body.
    fn top<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        name: &[u8],
        map: &mut A,
        limits: &mut [Counted; 2],
    ) -> Result<(), A::Error> {
        if self.limit(key, map, limits, true)? {
            return Ok(());
        }
        if let Some(is_sure) = self.seen.is_limit_object(key) {
            self.seen.limit.places += 1;
            self.seen.limit.doubtful |= !is_sure;
            let before = self.seen.limit.places;
            self.next(map, At::Limits)?;
            // What is no object has no limit.
            self.seen.limit.doubtful |= self.seen.limit.places == before;
            self.seen.limit.places = before;
            return Ok(());
        }
        let shape = self.seen.shape;
        match (name, shape) {
            (b"model", _) => {
                self.seen.names_others |= key != "model";
                map.next_value::<IgnoredAny>().map(drop)
            }
            (b"models", _) => {
                self.seen.names_others = true;
                map.next_value::<IgnoredAny>().map(drop)
            }
            (b"n" | b"bestof" | b"candidatecount" | b"numgenerations" | b"numresults", _) => {
                self.seen.answers.take(map.next_value()?);
                Ok(())
            }
            (b"maxtoolcalls", _) => {
                let count: &RawValue = map.next_value()?;
                // Only the name itself limits; another may be ignored.
                if key == "max_tool_calls" {
                    self.seen.max_tool_calls.take(count);
                }
                Ok(())
            }
            (b"size", Shape::Images) => {
                let size: &RawValue = map.next_value()?;
                let listed = crate::json::text(size).is_some_and(|size| IMAGE_SIZES.contains(&&*size));
                self.seen.odd_size |= !listed && size.get() != "null";
                Ok(())
            }
            (b"prompt", Shape::Completion | Shape::Template(_)) => self.next(map, At::Prompt),
            (b"prompt", Shape::Response) => self.next(map, At::Opening),
            (b"prediction", _) => {
                self.seen.predicts = true;
                self.next(map, At::Inside)
            }
            (b"parameters", Shape::Prediction) | (b"imagegenerationconfig", _) => self.next(map, At::Settings),
            (b"numimages" | b"samples", Shape::Invocation { .. }) => {
                self.seen.samples.take(map.next_value()?);
                Ok(())
            }
            (b"documents", Shape::Units { output: false }) => self.next(map, At::Documents),
            (b"images", Shape::Units { output: false }) => self.next(map, At::Images),
            (b"query", Shape::Units { output: false }) => {
                let query: &RawValue = map.next_value()?;
                self.seen.query_bytes = self.seen.query_bytes.saturating_add(query.get().len() as u64);
                Ok(())
            }
            (b"pages", Shape::Pages) => self.next(map, At::Pages),
            (b"input", Shape::Speech) => {
                let text: &RawValue = map.next_value()?;
                let count = crate::json::text(text).map_or(0, |text| text.chars().count() as u64);
                self.seen.characters = self.seen.characters.saturating_add(count);
                Ok(())
            }
            (b"functions", _) => {
                self.seen.tools += 1;
                self.next(map, At::Inside)
            }
            // Searches and other tools that no list of tools names.
            (b"websearchoptions" | b"searchparameters" | b"plugins" | b"datasources" | b"mcpservers" | b"connectors", _) => {
                let value: &RawValue = map.next_value()?;
                if value.get() != "null" {
                    self.seen.run_tool(None);
                }
                Ok(())
            }
            (b"additionalmodelrequestfields", _) => self.next(map, At::Extra),
            // How the answer is to sound.
            (b"audio", _) => self.next(map, At::Inside),
            (b"input" | b"inputs" | b"system" | b"instructions", _) => self.text(map),
            _ => self.member(name, map),
        }
    }

    /// A limit on the answer's tokens.
    fn limit<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        limits: &mut [Counted; 2],
        at_top: bool,
    ) -> Result<bool, A::Error> {
        let Some(wanted) = self.seen.names.filter(|limit| limit.inside.is_none() == at_top) else {
            return Ok(false);
        };
        let Some(place) = wanted.names.iter().position(|name| name.eq_ignore_ascii_case(key)) else {
            return Ok(false);
        };
        self.seen.limit.doubtful |= !wanted.names.contains(&key);
        let value = map.next_value()?;
        if let Some(limit) = limits.get_mut(place) {
            limit.take(value);
        }
        Ok(true)
    }

    /// A member of anything.
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<(), A::Error> {
        match name {
            b"type" => self.next(map, At::Kind),
            b"tools" => self.next(map, At::Tools),
            b"budgettokens" => {
                self.seen.thinking.take(map.next_value()?);
                Ok(())
            }
            b"inputaudio" | b"audio" | b"audiourl" => self.next(map, At::Sound),
            b"content" | b"text" => self.text(map),
            name if is_opening(name) => self.next(map, At::Opening),
            name if is_sealed(name) => map.next_value::<IgnoredAny>().map(drop),
            _ => self.next(map, At::Inside),
        }
    }

    /// A member that is a text nearly always.
    fn text<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        if self.seen.deep == TEXTS_DEEP {
            return self.next(map, At::Inside);
        }
        let value: &RawValue = map.next_value()?;
        if value.get().starts_with('"') {
            return Ok(());
        }
        self.seen.deep += 1;
        work::look_at(value.get().len());
        let mut parser = serde_json::Deserializer::from_str(value.get());
        let walk = Walk {
            seen: self.seen,
            at: At::Inside,
        };
        let read = walk.deserialize(&mut parser);
        self.seen.deep -= 1;
        read.map_err(Error::custom)
    }

    /// One of the tools.
    fn tool<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        let mut uses = Counted::default();
        let (mut runs, mut describes) = (false, false);
        while let Some(Key(key)) = map.next_key()? {
            let squeezed = Squeezed::of(&key);
            match squeezed.get() {
                b"type" => {
                    let kind: &RawValue = map.next_value()?;
                    match crate::json::text(kind).as_deref() {
                        Some("function" | "custom") => {}
                        Some(kind) if is_clients(kind) => describes = true,
                        Some(_) => runs = true,
                        None => runs |= kind.get() != "null",
                    }
                }
                b"maxuses" => {
                    let count = map.next_value()?;
                    if key == "max_uses" {
                        uses.take(count);
                    }
                }
                b"function"
                | b"functiondeclarations"
                | b"toolspec"
                | b"name"
                | b"description"
                | b"strict"
                | b"cachecontrol"
                | b"cachepoint"
                | b"format"
                | b"alloweddomains"
                | b"blockeddomains"
                | b"userlocation"
                | b"searchcontextsize"
                | b"filters"
                | b"deferloading"
                | b"allowedcallers"
                | b"eagerinputstreaming"
                | b"displayheightpx"
                | b"displaywidthpx"
                | b"displaynumber"
                | b"maxcharacters"
                | b"citations"
                | b"maxcontenttokens"
                | b"usecache"
                | b"behavior"
                | b"environment"
                | b"id"
                | b"computeruse" => {
                    map.next_value::<IgnoredAny>()?;
                }
                name if is_sealed(name) => {
                    map.next_value::<IgnoredAny>()?;
                }
                // Google names its tools by members; what is not known may be one.
                _ => {
                    let value: &RawValue = map.next_value()?;
                    runs |= value.get() != "null";
                }
            }
        }
        self.seen.tools += 1;
        self.seen.own_tools += u64::from(describes || runs);
        if runs {
            self.seen.run_tool(uses.known());
        }
        Ok(())
    }

    /// A value that is neither an object nor a list.
    fn scalar(&mut self, is_text: bool) {
        match self.at {
            At::Opening => self.seen.open = true,
            At::Sound => {
                self.seen.open = true;
                self.seen.sound = true;
            }
            At::Kind => self.seen.open = true,
            At::Tools => self.seen.run_tool(None),
            At::Prompt if is_text => self.seen.prompts = self.seen.prompts.saturating_add(1),
            At::PromptOf if is_text => self.seen.prompts = self.seen.prompts.saturating_add(1),
            At::PromptOf => self.seen.prompts = self.seen.prompts.max(1),
            _ => {}
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<(), D::Error> {
        match self.at {
            At::Top => parser.deserialize_map(self),
            _ => parser.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut limits = [Counted::default(); 2];
        match self.at {
            At::Opening => self.seen.open = true,
            At::Sound => {
                self.seen.open = true;
                self.seen.sound = true;
            }
            At::Kind => self.seen.open = true,
            At::Tools => return self.tool(map),
            At::PromptOf => self.seen.prompts = self.seen.prompts.saturating_add(1),
            // Told to the caller, who sets it back.
            At::Limits => self.seen.limit.places += 1,
            _ => {}
        }
        while let Some(Key(key)) = map.next_key()? {
            let squeezed = Squeezed::of(&key);
            let name = squeezed.get();
            match self.at {
                At::Top => self.top(&key, name, &mut map, &mut limits)?,
                At::Limits => {
                    if self.limit(&key, &mut map, &mut limits, false)? {
                        continue;
                    }
                    match name {
                        b"candidatecount" => self.seen.answers.take(map.next_value()?),
                        _ => {
                            self.seen.has_schema |= name.starts_with(b"response");
                            self.member(name, &mut map)?;
                        }
                    }
                }
                At::Settings if matches!(name, b"samplecount" | b"numberofimages") => self.seen.samples.take(map.next_value()?),
                At::Extra => {
                    // It may stand in for the limit that the conversation has.
                    self.seen.limit.doubtful |= name.starts_with(b"max") || name.ends_with(b"tokens");
                    self.member(name, &mut map)?;
                }
                At::Sound => self.next(&mut map, At::Sound)?,
                _ => self.member(name, &mut map)?,
            }
        }
        if let Some(limit) = self.seen.names {
            let is_place = match self.at {
                At::Top => limit.inside.is_none(),
                At::Limits => true,
                _ => false,
            };
            if is_place {
                self.seen.limit.close(&limits, limit.reads_both);
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let at = match self.at {
            At::Prompt => At::PromptOf,
            At::PromptOf => {
                // A prompt that is cut into tokens.
                self.seen.prompts = self.seen.prompts.saturating_add(1);
                At::Inside
            }
            At::Limits | At::Documents | At::Images | At::Pages => At::Inside,
            at => at,
        };
        let mut count: u64 = 0;
        while seq.next_element_seed(Walk { seen: self.seen, at })?.is_some() {
            count += 1;
        }
        match self.at {
            At::Documents => self.seen.documents = self.seen.documents.saturating_add(count),
            At::Images => {
                self.seen.open = true;
                self.seen.images = self.seen.images.saturating_add(count);
            }
            At::Pages => self.seen.pages = Some(self.seen.pages.unwrap_or(0).saturating_add(count)),
            _ => {}
        }
        Ok(())
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        match self.at {
            At::Kind => self.seen.kind(text),
            At::Sound => {
                self.seen.sound_elsewhere |= text.starts_with("http");
                self.scalar(true);
            }
            _ => self.scalar(true),
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(mut self, _: bool) -> Result<(), E> {
        self.scalar(false);
        Ok(())
    }

    fn visit_u64<E: Error>(mut self, _: u64) -> Result<(), E> {
        self.scalar(false);
        Ok(())
    }

    fn visit_i64<E: Error>(mut self, _: i64) -> Result<(), E> {
        self.scalar(false);
        Ok(())
    }

    fn visit_f64<E: Error>(mut self, _: f64) -> Result<(), E> {
        self.scalar(false);
        Ok(())
    }
}
