//! Logs, traces and metrics: to standard error and `/metrics` always, over OTLP where an endpoint is set.
//!
//! Trace context travels as W3C `traceparent` and `tracestate`, in record headers and gRPC metadata alike:
//! [`inject`] and [`extract`] take closures, so they know neither.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context as TraceContext, global};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use prometheus::{Encoder as _, TextEncoder};
use serde::{Deserialize, Serialize};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// Crates whose own logs would feed the exporter that writes them.
const NOT_EXPORTED: &str = "info,h2=off,hyper=off,hyper_util=off,tonic=off,tower=off,reqwest=off,opentelemetry=off,rdkafka=off,librdkafka=off";
/// The longest the exporters may take to empty their queues at the end.
const FLUSH: Duration = Duration::from_secs(5);

/// Causes a batch's span is linked to, at most.
const LINKS_MAX: usize = 16;

/// Where telemetry goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// An OTLP collector over gRPC, for example `http://collector:4317`; absent: nothing is sent.
    pub otlp_endpoint: Option<String>,
    /// How log lines look.
    pub format: LogFormat,
    /// What is logged, for example `info` or `warn,alert=debug`.
    pub level: String,
    /// The share of traces started here that is kept, 0..1; callers' decisions are followed.
    pub trace_ratio: f64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { otlp_endpoint: None, format: LogFormat::Text, level: "info".into(), trace_ratio: 0.01 }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The numbers behind `/metrics`. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics(prometheus::Registry);

impl Metrics {
    /// The page in Prometheus's text format.
    ///
    /// # Errors
    /// When a metric cannot be written.
    pub fn render(&self) -> anyhow::Result<String> {
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.0.gather(), &mut page).context("cannot write metrics")?;
        String::from_utf8(page).context("metrics are no UTF-8")
    }
}

/// Keeps telemetry running; call [`Telemetry::close`] last.
#[derive(Debug, Clone)]
pub struct Telemetry {
    metrics: Metrics,
    providers: Arc<Providers>,
}

#[derive(Debug)]
struct Providers {
    meter: SdkMeterProvider,
    tracer: Option<SdkTracerProvider>,
    logger: Option<SdkLoggerProvider>,
}

impl Telemetry {
    /// What `/metrics` shows.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Sends what is still queued, waiting a few seconds at most.
    pub async fn close(self) {
        let providers = self.providers;
        let closing = tokio::task::spawn_blocking(move || {
            // A collector that is away is no reason to end badly; there is nobody left to tell.
            let _ = providers.tracer.as_ref().map(SdkTracerProvider::shutdown);
            let _ = providers.logger.as_ref().map(SdkLoggerProvider::shutdown);
            let _ = providers.meter.shutdown();
        });
        let _ = tokio::time::timeout(FLUSH, closing).await;
    }
}

/// Sets up telemetry for the process, once, as `service`; a second call returns what the first set up.
/// Needs a Tokio runtime when an OTLP endpoint is set.
///
/// # Errors
/// When the log level cannot be read or the endpoint is no address.
pub fn init(service: &str, config: &TelemetryConfig) -> anyhow::Result<Telemetry> {
    static INSTALLED: OnceLock<Telemetry> = OnceLock::new();
    if let Some(installed) = INSTALLED.get() {
        return Ok(installed.clone());
    }
    let telemetry = install(service, config)?;
    Ok(INSTALLED.get_or_init(|| telemetry).clone())
}

fn install(service: &str, config: &TelemetryConfig) -> anyhow::Result<Telemetry> {
    let filter = EnvFilter::try_new(&config.level)
        .with_context(|| format!("telemetry.level: cannot read '{}'", config.level))?;
    let resource = Resource::builder().with_service_name(format!("redress-{service}")).build();
    let registry = prometheus::Registry::new();
    let prometheus = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_target_info()
        .build()
        .context("cannot set up metrics")?;
    let mut meter = SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(prometheus);
    let (mut tracer, mut logger) = (None, None);
    if let Some(endpoint) = &config.otlp_endpoint {
        let named = |what: &str| format!("telemetry.otlp_endpoint: cannot export {what} to '{endpoint}'");
        let metrics = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()
            .with_context(|| named("metrics"))?;
        meter = meter.with_periodic_exporter(metrics);
        let spans = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()
            .with_context(|| named("traces"))?;
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.trace_ratio)));
        tracer = Some(
            SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_sampler(sampler)
                .with_batch_exporter(spans)
                .build(),
        );
        let logs = LogExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()
            .with_context(|| named("logs"))?;
        logger = Some(SdkLoggerProvider::builder().with_resource(resource).with_batch_exporter(logs).build());
    }
    let meter = meter.build();
    global::set_meter_provider(meter.clone());
    global::set_text_map_propagator(TraceContextPropagator::new());
    if let Some(tracer) = &tracer {
        global::set_tracer_provider(tracer.clone());
    }
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match config.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let spans = tracer.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("redress"))
            .with_filter(EnvFilter::new(NOT_EXPORTED))
    });
    let bridge = logger
        .as_ref()
        .map(|provider| OpenTelemetryTracingBridge::new(provider).with_filter(EnvFilter::new(NOT_EXPORTED)));
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(spans)
        .with(bridge)
        .try_init()
        .context("cannot set up logs: something else did already")?;
    Ok(Telemetry { metrics: Metrics(registry), providers: Arc::new(Providers { meter, tracer, logger }) })
}

/// Gives the current span's trace context, name by name; nothing when there is none.
pub fn inject(mut set: impl FnMut(&str, String)) {
    struct Into<'a>(&'a mut dyn FnMut(&str, String));
    impl Injector for Into<'_> {
        fn set(&mut self, key: &str, value: String) {
            // An empty `tracestate` says nothing.
            if !value.is_empty() {
                (self.0)(key, value);
            }
        }
    }
    let context = tracing::Span::current().context();
    if context.span().span_context().is_valid() {
        TraceContextPropagator::new().inject_context(&context, &mut Into(&mut set));
    }
}

/// Reads the trace context a sender gave; `get` looks a name up. An invalid one reads as none.
pub fn extract<'a>(get: impl Fn(&str) -> Option<&'a str>) -> TraceContext {
    struct Given<'a>([(&'static str, Option<&'a str>); 2]);
    impl Extractor for Given<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.iter().find(|(name, _)| *name == key).and_then(|(_, value)| *value)
        }
        fn keys(&self) -> Vec<&str> {
            self.0.iter().map(|(name, _)| *name).collect()
        }
    }
    let given = Given(["traceparent", "tracestate"].map(|name| (name, get(name))));
    TraceContextPropagator::new().extract(&given)
}

/// Ties `span` to what caused it: as its parent, for work on one record.
pub fn set_parent(span: &tracing::Span, cause: TraceContext) {
    if cause.span().span_context().is_valid() {
        // Without a tracer there is nothing to tie.
        let _ = span.set_parent(cause);
    }
}

/// Links `span` to what caused the first records of a batch that were traced, 16 at most. Each of `headers`
/// reads one record's.
pub fn link_causes<'a, G>(span: &tracing::Span, headers: impl IntoIterator<Item = G>)
where
    G: Fn(&str) -> Option<&'a str>,
{
    if span.is_disabled() {
        return;
    }
    let traced = headers.into_iter().filter(|get| get("traceparent").is_some());
    for get in traced.take(LINKS_MAX) {
        let context = extract(get).span().span_context().clone();
        if context.is_valid() {
            span.add_link(context);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::instrument::WithSubscriber as _;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[tokio::test]
    async fn context_given_by_a_sender_reaches_the_next_receiver() {
        let provider = SdkTracerProvider::builder().build();
        let subscriber = tracing_subscriber::registry()
            .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")));
        async {
            let span = tracing::info_span!("work");
            set_parent(&span, extract(|name| (name == "traceparent").then_some(PARENT)));
            let mut sent = Vec::new();
            span.in_scope(|| inject(|name, value| sent.push((name.to_owned(), value))));
            assert_eq!(sent.len(), 1, "{sent:?}");
            assert!(sent[0].1.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{sent:?}");
        }
        .with_subscriber(subscriber)
        .await;
    }

    #[test]
    fn nonsense_is_no_context() {
        for text in ["", "00-zz", "\u{0}"] {
            let context = extract(|_| Some(text));
            assert!(!context.span().span_context().is_valid());
        }
        inject(|name, _| panic!("nothing to give, yet gave {name}"));
    }
}
