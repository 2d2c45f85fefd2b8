//! From resources as they are declared to what each part works with.

use std::path::Path;

use anyhow::Context;
use http::HeaderValue;
use tollgate_codec as codec;
use tollgate_controller as controller;
use tollgate_controller::access::{AccessControl, AccessMode};
use tollgate_controller::exporter::{Destination, Signal};
use tollgate_controller::gateway;
use tollgate_controller::ledger::{Durability, Memory};
use tollgate_controller::table::{self, Table};
use tollgate_controller::template::{self, Dialect};
use tollgate_controller::upstream::Auth;
use tollgate_controller::{ApiKey, LlmProvider, LlmProviderTemplate, LlmProxy, Resources};
use tollgate_proxy as proxy;
use tollgate_query_api::memory_bytes;
use tollgate_record::Name;
use tollgate_usage_store as store;

/// Providers, proxies and keys for the request path.
pub(crate) fn snapshot(resources: &Resources) -> anyhow::Result<proxy::Snapshot> {
    let providers = resources
        .providers
        .iter()
        .map(|declared| provider(declared, &resources.templates))
        .collect::<Result<Vec<_>, _>>()?;
    let keys = resources.keys.iter().map(key).collect();
    let snapshot = proxy::Snapshot::new(providers, keys, resources.gateway.default_provider.as_ref())?
        .with_traced_attempts(resources.exporters.iter().any(sends_traces));
    Ok(snapshot.with_proxies(resources.proxies.iter().map(llm_proxy).collect())?)
}

/// Whether an exporter sends spans of calls.
fn sends_traces(exporter: &controller::Exporter) -> bool {
    matches!(&exporter.destination, Destination::Otlp(otlp) if otlp.signals.contains(&Signal::Traces))
}

/// Listeners and limits of the request path.
pub(crate) fn proxy(gateway: &controller::Gateway) -> proxy::Config {
    let limits = gateway.limits.clone();
    proxy::Config {
        http: gateway.listen.http,
        tls: gateway.listen.https.zip(gateway.tls.as_ref()).map(|(addr, tls)| proxy::Tls {
            addr,
            certificates: tls.certificate.path().to_owned(),
            key: tls.key.path().to_owned(),
        }),
        limits: proxy::Limits {
            connections_max: limits.connections_max,
            tls_handshake: limits.tls_handshake,
            header_read: limits.header_read,
            header_bytes_max: limits.header_bytes_max,
            header_count_max: limits.header_count_max,
            request_body_bytes_max: limits.request_body_bytes_max,
            request_body_read: limits.request_body_read,
            keep_alive_idle: limits.keep_alive_idle,
            client_stall: limits.client_stall,
            http2_streams_max: limits.http2_streams_max,
            http2_ping_interval: limits.http2_ping_interval,
            http2_ping_timeout: limits.http2_ping_timeout,
            abandoned_read: limits.abandoned_read,
            abandoned_bytes_max: limits.abandoned_bytes_max,
            shutdown: limits.shutdown,
        },
    }
}

/// The ledger in a data directory.
pub(crate) fn ledger(gateway: &controller::Gateway, data: &Path) -> anyhow::Result<store::Config> {
    let declared = &gateway.ledger;
    let mut config = store::Config::new(data, gateway.name.clone())?;
    config.table = location(gateway, data)?;
    config.durability = match declared.durability {
        Durability::Process => store::Durability::Process,
        Durability::Power => store::Durability::Power,
    };
    config.sync_interval = declared.sync_interval;
    config.log_bytes_max = declared.log_bytes;
    config.flush_rows = declared.flush.rows;
    config.flush_bytes = declared.flush.bytes;
    config.flush_interval = declared.flush.interval;
    config.upkeep = store::Upkeep {
        target_bytes: declared.compaction.target,
        interval: declared.compaction.interval,
        retention_days: declared.retention_days,
        history: declared.history,
    };
    Ok(config)
}

/// Where the table lies: in the data directory, if nothing else is declared.
pub(crate) fn location(gateway: &controller::Gateway, data: &Path) -> anyhow::Result<store::Location> {
    let file = |path: &Path| store::Location::parse(&format!("file:{}", path.display()));
    Ok(match &gateway.ledger.table {
        None => file(&data.join("usage"))?,
        Some(Table::Folder(path)) => file(path)?,
        Some(Table::Bucket(_, location)) => store::Location::open(location, &store_access(&gateway.ledger.store))?,
    })
}

/// How an object store is reached.
pub(crate) fn store_access(declared: &table::Store) -> store::Access {
    let hidden = |secret: &controller::Secret| store::Hidden::new(secret.expose());
    store::Access {
        endpoint: declared
            .endpoint
            .as_ref()
            .map(|url| url.as_str().trim_end_matches('/').to_owned()),
        allow_http: declared.allow_http,
        ca: declared.ca.as_ref().map(|pem| pem.bytes().to_vec()),
        region: declared.region.clone(),
        virtual_hosted: declared.addressing == table::Addressing::VirtualHosted,
        account: declared.account.clone(),
        credentials: match &declared.credentials {
            table::Credentials::Environment => store::Credentials::Environment,
            table::Credentials::Aws {
                access_key_id,
                secret_access_key,
                session_token,
            } => store::Credentials::Aws {
                access_key_id: access_key_id.clone(),
                secret_access_key: hidden(secret_access_key),
                session_token: session_token.as_ref().map(hidden),
            },
            table::Credentials::GoogleServiceAccount(key) => store::Credentials::GoogleServiceAccount(hidden(key)),
            table::Credentials::AzureKey(key) => store::Credentials::AzureKey(hidden(key)),
            table::Credentials::AzureSas(token) => store::Credentials::AzureSas(hidden(token)),
            table::Credentials::AzureClient {
                tenant_id,
                client_id,
                client_secret,
            } => store::Credentials::AzureClient {
                tenant_id: tenant_id.clone(),
                client_id: client_id.clone(),
                client_secret: hidden(client_secret),
            },
        },
        connect_timeout: declared.connect_timeout,
        request_timeout: declared.request_timeout,
        retry_timeout: declared.retry_timeout,
    }
}

/// What SQL may use; its spill files lie in the data directory.
pub(crate) fn query(gateway: &controller::Gateway, data: &Path) -> tollgate_query_api::Limits {
    let query = &gateway.query;
    let defaults = tollgate_query_api::Limits::default();
    tollgate_query_api::Limits {
        timeout: query.timeout,
        client_wait: query.client_wait,
        memory_bytes: match query.memory {
            // `memory_bytes` is a quarter of the machine's memory.
            Memory::Percent(percent) => memory_bytes() / 25 * usize::from(percent),
            Memory::Bytes(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
        },
        spill_bytes: query.spill_bytes,
        spill_dir: data.join("spill"),
        rows_max: query.rows_max,
        concurrency: query.concurrency,
        queue_max: query.queue_max,
        queue_wait: query.queue_wait,
        ..defaults
    }
}

fn provider(declared: &LlmProvider, templates: &[LlmProviderTemplate]) -> anyhow::Result<proxy::Provider> {
    let template = templates.iter().find(|template| template.name == declared.template);
    let template = template.with_context(|| format!("provider {} has no template {}", declared.name, declared.template))?;
    let (codec, speaks) = (template.codec(), template::Codec::speaks_openai);
    Ok(proxy::Provider {
        name: declared.name.clone(),
        codec: codec_of(template)?,
        openai_compatible: codec.is_some_and(speaks),
        context: declared.context.clone(),
        upstreams: declared
            .upstream
            .urls
            .iter()
            .map(|weighted| (weighted.url.clone(), weighted.weight))
            .collect(),
        region: region(declared),
        credential: credential(declared)?,
        key_in_query: codec == Some(template::Codec::Gemini),
        access: access(&declared.access),
        timeouts: proxy::Timeouts {
            connect: declared.timeouts.connect,
            first_byte: declared.timeouts.first_byte,
            idle: declared.timeouts.idle,
        },
        extra_roots: declared.upstream.ca.as_ref().map(|pem| pem.path().to_owned()),
    })
}

fn credential(declared: &LlmProvider) -> anyhow::Result<Option<proxy::Credential>> {
    match &declared.upstream.auth {
        Auth::None => Ok(None),
        Auth::Header { name, value } => {
            let value = HeaderValue::from_str(value.expose())
                .ok()
                .with_context(|| format!("the credential of provider {} is no header value", declared.name))?;
            Ok(Some(proxy::Credential::header(name.clone(), value)))
        }
        Auth::Sigv4 {
            region,
            service,
            access_key_id,
            secret_access_key,
            session_token,
        } => Ok(Some(proxy::Credential::Signature(proxy::Signer::new(
            region.clone(),
            service.clone(),
            access_key_id.expose(),
            secret_access_key.expose(),
            session_token.as_ref().map(controller::Secret::expose),
        )))),
    }
}

/// The region that is declared, else the one that requests are signed for.
pub(crate) fn region(declared: &LlmProvider) -> Option<Name> {
    match (&declared.region, &declared.upstream.auth) {
        (None, Auth::Sigv4 { region, .. }) => Some(region.clone()),
        (region, _) => region.clone(),
    }
}

fn llm_proxy(declared: &LlmProxy) -> proxy::LlmProxy {
    proxy::LlmProxy {
        name: declared.name.clone(),
        provider: declared.provider.clone(),
        context: declared.context.clone(),
        models: declared.models.clone(),
        access: access(&declared.access),
        defaults: codec::Defaults {
            model: declared.defaults.model.clone(),
            max_tokens: declared.defaults.max_tokens,
        },
    }
}

fn access(declared: &AccessControl) -> proxy::Access {
    proxy::Access {
        mode: match declared.mode {
            AccessMode::AllowAll => proxy::AccessMode::AllowAll,
            AccessMode::DenyAll => proxy::AccessMode::DenyAll,
        },
        exceptions: declared
            .exceptions
            .iter()
            .map(|exception| proxy::Exception {
                path: exception.path.clone(),
                methods: exception.methods.clone(),
            })
            .collect(),
    }
}

fn codec_of(template: &LlmProviderTemplate) -> anyhow::Result<codec::Codec> {
    let abort = template.on_client_abort.map(|rule| match rule {
        template::OnClientAbort::Cancel => codec::AbortRule::Cancel,
        template::OnClientAbort::Drain => codec::AbortRule::Drain,
    });
    let built_in = match &template.dialect {
        Dialect::Codec(template::Codec::OpenAi) => codec::Codec::openai(),
        Dialect::Codec(template::Codec::Anthropic) => codec::Codec::anthropic(),
        Dialect::Codec(template::Codec::AzureOpenAi) => codec::Codec::azure_openai(),
        Dialect::Codec(template::Codec::AzureFoundry) => codec::Codec::azure_foundry(),
        Dialect::Codec(template::Codec::Bedrock) => codec::Codec::bedrock(),
        Dialect::Codec(template::Codec::Gemini) => codec::Codec::gemini(),
        Dialect::Codec(template::Codec::Mistral) => codec::Codec::mistral(),
        Dialect::Described {
            fields: described,
            resources,
        } => {
            let resources = resources
                .iter()
                .map(|resource| codec::Resource {
                    path: resource.resource.clone(),
                    fields: fields(&resource.fields),
                })
                .collect();
            let abort = abort.unwrap_or(codec::AbortRule::Drain);
            let template = codec::Template::new(template.name.clone(), fields(described), resources, abort)
                .with_context(|| format!("template {}", template.name))?;
            return Ok(codec::Codec::template(template));
        }
    };
    if built_in.name() == &template.name {
        return Ok(built_in);
    }
    Ok(built_in.lent_to(template.name.clone(), abort.unwrap_or(codec::AbortRule::Drain)))
}

fn fields(declared: &template::TemplateFields) -> codec::Fields {
    let place = |locator: &Option<template::Locator>| {
        locator.as_ref().map(|locator| codec::Locator {
            location: match locator.location {
                template::Location::Payload => codec::Location::Payload,
                template::Location::Header => codec::Location::Header,
                template::Location::QueryParam => codec::Location::QueryParam,
                template::Location::PathParam => codec::Location::PathParam,
            },
            identifier: locator.identifier.clone(),
        })
    };
    codec::Fields {
        prompt_tokens: place(&declared.prompt_tokens),
        completion_tokens: place(&declared.completion_tokens),
        total_tokens: place(&declared.total_tokens),
        remaining_tokens: place(&declared.remaining_tokens),
        request_model: place(&declared.request_model),
        response_model: place(&declared.response_model),
    }
}

fn key(declared: &ApiKey) -> proxy::Key {
    let may = declared.callers_may;
    proxy::Key {
        hash: declared.hash.map(|hash| *hash.bytes()),
        aws: declared
            .aws
            .as_ref()
            .map(|aws| proxy::AwsKey::new(&aws.access_key_id, aws.secret_access_key.expose())),
        identity: declared.identity.clone(),
        tags: declared.tags.clone(),
        disabled: declared.disabled,
        expires: declared.expires,
        callers_may: proxy::CallersMay {
            user: may.user,
            agent: may.agent,
            session: may.session,
            tags: may.tags,
        },
        access: declared.access.clone(),
    }
}

/// Whether a change needs a restart: listeners, limits and the ledger are set up once.
pub(crate) fn needs_restart(old: &gateway::Gateway, new: &gateway::Gateway) -> bool {
    let without_default = |gateway: &gateway::Gateway| gateway::Gateway {
        default_provider: None,
        ..gateway.clone()
    };
    without_default(old) != without_default(new)
}
