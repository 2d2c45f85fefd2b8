//! Names of members and kinds of parts, and what each says of the input.

/// A name in small letters and without `_`; longer ones are none that is looked for.
pub(super) struct Squeezed {
    bytes: [u8; 32],
    length: usize,
}

// === impl Squeezed ===

impl Squeezed {
    pub(super) fn of(name: &str) -> Self {
        let mut squeezed = Self {
            bytes: [0; 32],
            length: 0,
        };
        for byte in name.bytes().filter(|byte| *byte != b'_') {
            let Some(place) = squeezed.bytes.get_mut(squeezed.length) else {
                squeezed.length = 0;
                return squeezed;
            };
            *place = byte.to_ascii_lowercase();
            squeezed.length += 1;
        }
        squeezed
    }

    pub(super) fn get(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Whether a `type` is that of a text, or of a setting.
pub(super) fn is_text(kind: &[u8]) -> bool {
    // What is to be cleared from a conversation as it grows.
    let clears = kind.starts_with(b"clear");
    let is_known = matches!(
        kind,
        b"text"
            | b"inputtext"
            | b"outputtext"
            | b"summarytext"
            | b"reasoningtext"
            | b"refusal"
            | b"message"
            | b"function"
            | b"functioncall"
            | b"functioncalloutput"
            | b"custom"
            | b"customtoolcall"
            | b"customtoolcalloutput"
            | b"tooluse"
            | b"toolresult"
            | b"toolcall"
            | b"thinking"
            | b"redactedthinking"
            | b"searchresult"
            | b"ephemeral"
            | b"jsonobject"
            | b"jsonschema"
            | b"json"
            | b"regex"
            | b"grammar"
            | b"enabled"
            | b"disabled"
            | b"adaptive"
            | b"auto"
            | b"any"
            | b"tool"
            | b"none"
            | b"required"
            | b"allowedtools"
            | b"default"
            | b"priority"
            | b"flex"
            | b"reserved"
            | b"standard"
            | b"inputtokens"
            | b"tooluses"
            | b"thinkingturns"
    );
    is_known || clears
}

/// Members that are text for certain, whatever is in them.
pub(super) fn is_sealed(key: &[u8]) -> bool {
    matches!(
        key,
        b"parameters"
            | b"parametersjsonschema"
            | b"inputschema"
            | b"outputschema"
            | b"schema"
            | b"jsonschema"
            | b"responseschema"
            | b"responsejsonschema"
            | b"args"
            | b"arguments"
            | b"input"
            | b"inputexamples"
            | b"response"
            | b"json"
            | b"metadata"
            | b"requestmetadata"
            | b"labels"
            | b"logitbias"
    )
}

/// Members that leave the input open.
pub(super) fn is_opening(key: &[u8]) -> bool {
    matches!(
        key,
        b"image"
            | b"images"
            | b"imageurl"
            | b"inputimage"
            | b"mask"
            | b"video"
            | b"videos"
            | b"videourl"
            | b"file"
            | b"files"
            | b"fileid"
            | b"fileids"
            | b"filedata"
            | b"fileurl"
            | b"fileuri"
            | b"gcsuri"
            | b"inlinedata"
            | b"bytes"
            | b"bytesbase64encoded"
            | b"document"
            | b"documenturl"
            | b"s3location"
            | b"media"
            | b"container"
            | b"previousresponseid"
            | b"previousinteractionid"
            | b"conversation"
            | b"conversationid"
            | b"cachedcontent"
            | b"promptvariables"
            | b"promptid"
    )
}

/// Tools that the provider describes and the client runs (Anthropic's and OpenAI's documentation of tools).
pub(super) fn is_clients(kind: &str) -> bool {
    const BEGINNINGS: [&str; 4] = ["bash_", "text_editor_", "memory_", "computer_"];
    const NAMES: [&str; 3] = ["computer", "local_shell", "apply_patch"];
    NAMES.contains(&kind) || BEGINNINGS.iter().any(|beginning| kind.starts_with(beginning))
}
