//! Every listener and every client goes through here: the one place for TLS, identity and limits.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::interceptor::{InterceptedService, InterceptorLayer};
use tonic::service::{Interceptor, Routes, RoutesBuilder};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Request, Status};

use crate::{Phase, Secret, Shutdown, telemetry};

/// How listeners and clients behave; one for the whole process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetConfig {
    /// TLS on every listener and towards every peer; absent: plain text.
    pub tls: Option<TlsConfig>,
    /// The token that callers must show (`authorization: Bearer ...`) and that clients send; absent: none.
    pub token: Option<Secret<String>>,
    /// Calls one connection may have open at once.
    pub calls_per_connection_max: usize,
    /// Seconds a call may take unless it is a stream or brings its own deadline.
    pub call_timeout_s: u64,
    /// Seconds to wait for a connection to a peer.
    pub connect_timeout_s: u64,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            tls: None,
            token: None,
            calls_per_connection_max: 256,
            call_timeout_s: 30,
            connect_timeout_s: 5,
        }
    }
}

/// Certificates, as PEM files.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Our certificate chain; needed by listeners, and shown to peers that ask.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Who signs the peers we call.
    pub ca: Option<PathBuf>,
    /// Who signs the clients that call us; absent: clients need no certificate.
    pub client_ca: Option<PathBuf>,
    /// The name to expect in peers' certificates, where it is not the host we dial.
    pub domain: Option<String>,
}

/// A connection to another service: carries the token and the trace context of the caller.
pub type Link = InterceptedService<Channel, Credentials>;

/// How this process listens and calls. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Net {
    config: NetConfig,
}

impl Net {
    /// Checks the settings.
    ///
    /// # Errors
    /// When a certificate comes without its key, or the token cannot travel in a header.
    pub fn new(config: NetConfig) -> anyhow::Result<Self> {
        install_crypto();
        if let Some(tls) = &config.tls {
            anyhow::ensure!(tls.cert.is_some() == tls.key.is_some(), "net.tls: 'cert' and 'key' go together");
        }
        if let Some(token) = &config.token {
            bearer(token).context("net.token")?;
        }
        Ok(Self { config })
    }

    /// The settings in force.
    pub const fn config(&self) -> &NetConfig {
        &self.config
    }

    /// Opens a listener; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(&self, address: SocketAddr) -> anyhow::Result<TcpListener> {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
    }

    /// Serves gRPC with reflection over `descriptors` until [`Phase::StopIntake`]; calls under way are
    /// finished within the drain time.
    ///
    /// # Errors
    /// When TLS is misconfigured or the listener breaks.
    pub async fn serve_grpc(
        &self,
        listener: TcpListener,
        mut routes: RoutesBuilder,
        descriptors: &'static [u8],
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .context("cannot set up reflection")?;
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
        routes.add_service(reflection).add_service(health);
        let guard = shutdown.guard(Phase::StopIntake);
        let leaving = {
            let leaving = shutdown.on(Phase::Leaving);
            let reporter = reporter.clone();
            async move {
                leaving.await;
                reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
            }
        };
        let serving =
            self.server()?.layer(InterceptorLayer::new(self.guardian()?)).add_routes(routes.routes());
        let serving = serving
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown.on(Phase::StopIntake));
        // A connection that never finishes its handshake, or a stream that never ends, must not hold the
        // process: once intake is over, the server is given the drain time by `Shutdown` and then dropped.
        let outcome = tokio::select! {
            served = serving => served.context("gRPC listener failed"),
            () = shutdown.reached(Phase::StopPolling) => Ok(()),
            () = async { leaving.await; std::future::pending().await } => Ok(()),
        };
        drop(guard);
        outcome
    }

    /// Serves HTTP until [`Phase::StopIntake`].
    ///
    /// # Errors
    /// When TLS is asked for (not offered on plain HTTP yet) or the listener breaks.
    pub async fn serve_http(
        &self,
        listener: TcpListener,
        app: axum::Router,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.config.tls.is_none(),
            "net.tls: HTTP listeners have no TLS yet; put a terminating proxy before them"
        );
        let _guard = shutdown.guard(Phase::StopIntake);
        let serving =
            axum::serve(listener, app).with_graceful_shutdown(shutdown.on(Phase::StopIntake)).into_future();
        tokio::select! {
            served = serving => served.context("HTTP listener failed"),
            () = shutdown.reached(Phase::StopPolling) => Ok(()),
        }
    }

    /// A connection to `uri` (`http://host:port`, or `https` with TLS), made when first used and again
    /// when lost.
    ///
    /// # Errors
    /// When the address or the TLS settings are no good.
    pub fn channel(&self, uri: &str) -> anyhow::Result<Link> {
        let mut endpoint = Endpoint::from_shared(uri.to_owned())
            .with_context(|| format!("not an address to call: '{uri}'"))?
            .connect_timeout(Duration::from_secs(self.config.connect_timeout_s))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10));
        if let Some(tls) = &self.config.tls {
            endpoint = endpoint.tls_config(client_tls(tls)?).context("net.tls")?;
        }
        let token = self.config.token.as_ref().map(bearer).transpose()?;
        Ok(InterceptedService::new(endpoint.connect_lazy(), Credentials { token }))
    }

    /// A client for HTTP: no redirects, a time limit for each call.
    ///
    /// # Errors
    /// When the machine's trusted certificates cannot be read.
    pub fn http_client(&self, timeout: Duration) -> anyhow::Result<reqwest::Client> {
        install_crypto();
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout)
            .connect_timeout(Duration::from_secs(self.config.connect_timeout_s))
            .user_agent(concat!("redress/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("cannot set up the HTTP client")
    }

    /// Does an `authorization` header show the token that callers must show? For HTTP; gRPC is guarded by
    /// [`Net::serve_grpc`] itself.
    pub fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let Some(token) = &self.config.token else { return true };
        let expected = format!("Bearer {}", token.expose());
        authorization.is_some_and(|shown| bool::from(shown.ct_eq(expected.as_bytes())))
    }

    fn server(&self) -> anyhow::Result<Server> {
        let mut server = Server::builder()
            .concurrency_limit_per_connection(self.config.calls_per_connection_max)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(Duration::from_secs(60)))
            .http2_keepalive_interval(Some(Duration::from_secs(60)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            .trace_fn(|request| call_span(request.uri().path(), request.headers()));
        if let Some(tls) = &self.config.tls {
            server = server.tls_config(server_tls(tls)?).context("net.tls")?;
        }
        Ok(server)
    }

    fn guardian(&self) -> anyhow::Result<Guardian> {
        Ok(Guardian { expected: self.config.token.as_ref().map(bearer).transpose()? })
    }
}

/// The span of one call, below its caller's.
fn call_span(method: &str, headers: &http::HeaderMap) -> tracing::Span {
    let span = tracing::info_span!("rpc", otel.kind = "server", rpc.method = method.trim_start_matches('/'));
    telemetry::set_parent(&span, telemetry::extract(|name| headers.get(name)?.to_str().ok()));
    span
}

/// Makes ring the process's one cryptography provider; harmless when done before.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that somebody installed a provider before us, which then counts.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// An empty set of gRPC services to add to.
pub fn routes() -> RoutesBuilder {
    Routes::builder()
}

type Bearer = tonic::metadata::AsciiMetadataValue;

fn bearer(token: &Secret<String>) -> anyhow::Result<Bearer> {
    let mut value: Bearer = format!("Bearer {}", token.expose())
        .parse()
        .ok()
        .context("the token holds characters that cannot travel in a header")?;
    value.set_sensitive(true);
    Ok(value)
}

/// Adds the token and the trace context to every call.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    token: Option<Bearer>,
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        telemetry::inject(|name, value| {
            if let (Ok(name), Ok(value)) = (name.parse::<tonic::metadata::AsciiMetadataKey>(), value.parse())
            {
                request.metadata_mut().insert(name, value);
            }
        });
        Ok(request)
    }
}

/// Lets in only callers with the token.
#[derive(Debug, Clone)]
struct Guardian {
    expected: Option<Bearer>,
}

impl Interceptor for Guardian {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(expected) = &self.expected else { return Ok(request) };
        let mut shown = request.metadata().get_all("authorization").iter();
        match (shown.next(), shown.next()) {
            (Some(one), None) if bool::from(one.as_encoded_bytes().ct_eq(expected.as_encoded_bytes())) => {
                Ok(request)
            }
            _ => Err(Status::unauthenticated("a valid token is needed")),
        }
    }
}

fn pem(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("net.tls: cannot read {}", path.display()))
}

fn identity(tls: &TlsConfig) -> anyhow::Result<Option<Identity>> {
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => Ok(Some(Identity::from_pem(pem(cert)?, pem(key)?))),
        _ => Ok(None),
    }
}

fn server_tls(tls: &TlsConfig) -> anyhow::Result<ServerTlsConfig> {
    let identity = identity(tls)?.context("net.tls: a listener needs 'cert' and 'key'")?;
    let mut config = ServerTlsConfig::new().identity(identity).timeout(Duration::from_secs(10));
    if let Some(ca) = &tls.client_ca {
        config = config.client_ca_root(Certificate::from_pem(pem(ca)?));
    }
    Ok(config)
}

fn client_tls(tls: &TlsConfig) -> anyhow::Result<ClientTlsConfig> {
    let mut config = ClientTlsConfig::new();
    if let Some(ca) = &tls.ca {
        config = config.ca_certificate(Certificate::from_pem(pem(ca)?));
    }
    if let Some(identity) = identity(tls)? {
        config = config.identity(identity);
    }
    if let Some(domain) = &tls.domain {
        config = config.domain_name(domain.clone());
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

    async fn ask(net: &Net, address: SocketAddr) -> Result<i32, Status> {
        let mut client = HealthClient::new(net.channel(&format!("http://{address}")).unwrap());
        client.check(HealthCheckRequest::default()).await.map(|r| r.into_inner().status)
    }

    fn with_token(token: Option<&str>) -> Net {
        Net::new(NetConfig { token: token.map(|t| Secret::new(t.to_owned())), ..NetConfig::default() })
            .unwrap()
    }

    #[tokio::test]
    async fn callers_without_the_token_are_turned_away_and_the_server_ends_when_told() {
        let net = with_token(Some("open sesame"));
        let listener = net.bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::immediate();
        let serving = tokio::spawn({
            let (net, shutdown) = (net.clone(), shutdown.clone());
            async move {
                net.serve_grpc(listener, routes(), tonic_health::pb::FILE_DESCRIPTOR_SET, &shutdown).await
            }
        });
        assert_eq!(ask(&net, address).await.unwrap(), i32::from(ServingStatus::Serving));
        for stranger in [with_token(None), with_token(Some("open")), with_token(Some("open sesame "))] {
            assert_eq!(ask(&stranger, address).await.unwrap_err().code(), tonic::Code::Unauthenticated);
        }
        shutdown.begin("test");
        assert!(shutdown.drive().await);
        serving.await.unwrap().unwrap();
    }

    #[test]
    fn half_a_certificate_is_refused() {
        let tls = TlsConfig { cert: Some("a.pem".into()), ..TlsConfig::default() };
        let error = Net::new(NetConfig { tls: Some(tls), ..NetConfig::default() }).unwrap_err();
        assert!(error.to_string().contains("go together"));
        assert!(with_token(Some("a")).admits(Some(b"Bearer a")) && with_token(None).admits(None));
        assert!(!with_token(Some("a")).admits(Some(b"Bearer b")) && !with_token(Some("a")).admits(None));
        let bad = NetConfig { token: Some(Secret::new("a\nb".into())), ..NetConfig::default() };
        assert!(Net::new(bad).is_err());
    }
}
