//! What is known of a call when it is admitted, by the columns of its row.

use tollgate_record::rule::Dimension;
use tollgate_record::{Call, Caller, Identity, Intent, Name, Record, Timestamp};

/// The columns that rules may name, of one call.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// When it began.
    pub start_time: Timestamp,
    /// What its key says.
    pub identity: &'a Identity,
    /// What its caller says.
    pub caller: &'a Caller,
    /// What it asks of whom.
    pub call: &'a Call,
    /// Column `region`.
    pub region: Option<&'a Name>,
}

impl<'a> Facts<'a> {
    /// The text in a column that is known at admission; `None` also for one that has no text.
    pub fn text(&self, column: &str) -> Option<&'a str> {
        let name = match column {
            "org" => self.identity.org.as_ref(),
            "team" => self.identity.team.as_ref(),
            "project" => self.identity.project.as_ref(),
            "service" => self.identity.service.as_ref(),
            "user_id" => self.caller.user.as_ref().or(self.identity.user.as_ref()),
            "agent" => self.caller.agent.as_ref(),
            "key_id" => Some(&self.identity.key_id),
            "session_id" => self.caller.session_id.as_ref(),
            "operation_name" => Some(&self.call.operation_name),
            "proxy" => self.call.proxy.as_ref(),
            "provider_name" => self.call.provider_name.as_ref(),
            "upstream" => self.call.upstream.as_ref(),
            "region" => self.region,
            "request_model" => self.call.request_model.as_ref(),
            _ => None,
        };
        name.map(Name::as_str)
    }

    /// The value of a tag.
    pub fn tag(&self, name: &str) -> Option<&'a str> {
        self.caller.tags.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// What a counter is kept apart by.
    pub fn value(&self, dimension: &Dimension) -> Option<&'a str> {
        match dimension {
            Dimension::Column(column) => self.text(column),
            Dimension::Tag(name) => self.tag(name),
        }
    }
}

impl<'a> From<&'a Intent> for Facts<'a> {
    fn from(intent: &'a Intent) -> Self {
        Self {
            start_time: intent.start_time,
            identity: &intent.identity,
            caller: &intent.caller,
            call: &intent.call,
            region: intent.call.region.as_ref(),
        }
    }
}

impl<'a> From<&'a Record> for Facts<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            start_time: record.start_time,
            identity: &record.identity,
            caller: &record.caller,
            call: &record.call,
            region: record.usage.region.as_ref().or(record.call.region.as_ref()),
        }
    }
}
