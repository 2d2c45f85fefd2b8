//! `/v1/files`: what is uploaded, and what batches leave behind.

use bytes::Bytes;
use http::HeaderMap;

use crate::directive::Directives;
use crate::multipart::Form;
use crate::out::{CREATED, Out, Seed, id};
use crate::refusal::Refusal;
use crate::store::{File, Store};

/// Keeps an uploaded file.
///
/// # Errors
/// A refusal where it is no form or misses a field.
pub(crate) fn create(store: &Store, headers: &HeaderMap, body: &[u8], asked: &Directives, out: &mut Out) -> Result<(), Refusal> {
    let form = Form::of(headers, body)?;
    let sent = form.required("file")?;
    let purpose = form.text("purpose").ok_or(Refusal::FieldMissing { name: "purpose" })?;
    let file = File {
        name: sent.filename.unwrap_or("file").to_owned(),
        purpose: purpose.to_owned(),
        content: Bytes::copy_from_slice(sent.value),
    };
    let id = identifier(&file, asked.id.as_deref());
    write(&id, &file, out);
    store.kept().files.put(id, file);
    Ok(())
}

/// The identifier of a file; files of different requests are told apart by the `id` of their directives.
pub(super) fn identifier(file: &File, directive: Option<&str>) -> String {
    let mut seed = Seed::new();
    for part in [&*file.name, &file.purpose, directive.unwrap_or("")] {
        seed.add(part.as_bytes());
    }
    seed.add(&file.content);
    id("file-", seed.0, 22)
}

/// Writes the list, which has one page.
pub(crate) fn list(store: &Store, out: &mut Out) {
    out.raw(r#"{"object":"list","data":["#);
    for (index, (id, file)) in store.kept().files.all().enumerate() {
        write(id, file, out.raw(if index == 0 { "" } else { "," }));
    }
    out.raw(r#"],"has_more":false}"#);
}

/// Writes one file's description.
///
/// # Errors
/// `Unknown` where it is not kept.
pub(crate) fn one(store: &Store, id: &str, out: &mut Out) -> Result<(), Refusal> {
    write(id, &get(store, id)?, out);
    Ok(())
}

/// Forgets a file.
///
/// # Errors
/// `Unknown` where it is not kept.
pub(crate) fn delete(store: &Store, id: &str, out: &mut Out) -> Result<(), Refusal> {
    store.kept().files.remove(id).ok_or_else(|| unknown(id))?;
    out.raw(r#"{"id":"#).string(id).raw(r#","object":"file","deleted":true}"#);
    Ok(())
}

/// A file.
///
/// # Errors
/// `Unknown` where it is not kept.
pub(crate) fn get(store: &Store, id: &str) -> Result<File, Refusal> {
    store.kept().files.get(id).cloned().ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Refusal {
    let id = id.to_owned();
    Refusal::Unknown { kind: "file", id }
}

fn write(id: &str, file: &File, out: &mut Out) {
    out.raw(r#"{"id":"#).string(id);
    out.raw(r#","object":"file","bytes":"#).number(file.content.len() as u64);
    out.raw(r#","created_at":"#).number(CREATED);
    out.raw(r#","expires_at":null,"filename":"#).string(&file.name);
    out.raw(r#","purpose":"#).string(&file.purpose);
    out.raw(r#","status":"processed","status_details":null}"#);
}
