//! Listeners and clients with TLS and a token, over real sockets: who is let in, and who is not.

// Helpers of tests may panic like tests; clippy exempts only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use runtime::net::{TlsConfig, routes};
use runtime::{Net, NetConfig, Secret, Shutdown};
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{FILE_DESCRIPTOR_SET, HealthCheckRequest};

const TOKEN: &str = "open sesame";

/// Somebody who signs certificates, in a folder of their own.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
        Self { folder: folder.to_owned(), issuer: Issuer::new(params, key) }
    }

    fn ca(&self) -> Option<PathBuf> {
        Some(self.folder.join("ca.pem"))
    }

    /// A certificate for `name` and its key.
    fn signed(&self, name: &str) -> (Option<PathBuf>, Option<PathBuf>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |what: &str| self.folder.join(format!("{name}.{what}.pem"));
        std::fs::write(path("cert"), certificate.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        (Some(path("cert")), Some(path("key")))
    }
}

fn net(tls: Option<TlsConfig>, token: Option<&str>) -> Net {
    let token = token.map(|token| Secret::new(token.to_owned()));
    Net::new(NetConfig { tls, token, connect_timeout_s: 2, ..NetConfig::default() }).unwrap()
}

async fn serve(tls: TlsConfig) -> (SocketAddr, Shutdown) {
    let net = net(Some(tls), Some(TOKEN));
    let listener = net.bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::immediate());
    let until = shutdown.clone();
    tokio::spawn(async move { net.serve_grpc(listener, routes(), FILE_DESCRIPTOR_SET, &until).await });
    (address, shutdown)
}

async fn ask(net: &Net, scheme: &str, address: SocketAddr) -> Result<i32, Status> {
    let link = net.channel(&format!("{scheme}://localhost:{}", address.port())).unwrap();
    HealthClient::new(link).check(HealthCheckRequest::default()).await.map(|reply| reply.into_inner().status)
}

fn code(answer: Result<i32, Status>) -> Code {
    answer.expect_err("it should be turned away").code()
}

#[tokio::test]
async fn only_who_trusts_the_right_authority_and_shows_the_token_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(&dir.path().join("ours"));
    let others = Authority::new(&dir.path().join("others"));
    let (cert, key) = ours.signed("localhost");
    let (address, _serving) = serve(TlsConfig { cert, key, ..TlsConfig::default() }).await;

    let trusting = |ca: Option<PathBuf>| Some(TlsConfig { ca, ..TlsConfig::default() });
    let friend = net(trusting(ours.ca()), Some(TOKEN));
    assert_eq!(ask(&friend, "https", address).await.unwrap(), i32::from(ServingStatus::Serving));

    for token in [None, Some("open"), Some("OPEN SESAME")] {
        let stranger = net(trusting(ours.ca()), token);
        assert_eq!(code(ask(&stranger, "https", address).await), Code::Unauthenticated, "{token:?}");
    }
    let plain = net(None, Some(TOKEN));
    assert_ne!(code(ask(&plain, "http", address).await), Code::Unauthenticated, "it is not even heard");
    let misled = net(trusting(others.ca()), Some(TOKEN));
    assert_ne!(code(ask(&misled, "https", address).await), Code::Unauthenticated, "no handshake");
    let elsewhere = TlsConfig { ca: ours.ca(), domain: Some("elsewhere".to_owned()), ..TlsConfig::default() };
    code(ask(&net(Some(elsewhere), Some(TOKEN)), "https", address).await);
}

#[tokio::test]
async fn where_clients_need_a_certificate_one_without_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(&dir.path().join("ours"));
    let others = Authority::new(&dir.path().join("others"));
    let (cert, key) = ours.signed("localhost");
    let tls = TlsConfig { cert, key, client_ca: ours.ca(), ..TlsConfig::default() };
    let (address, _serving) = serve(tls).await;
    let with = |(cert, key): (Option<PathBuf>, Option<PathBuf>)| {
        net(Some(TlsConfig { cert, key, ca: ours.ca(), ..TlsConfig::default() }), Some(TOKEN))
    };
    let friend = with(ours.signed("alert"));
    assert_eq!(ask(&friend, "https", address).await.unwrap(), i32::from(ServingStatus::Serving));
    code(ask(&with((None, None)), "https", address).await);
    code(ask(&with(others.signed("alert")), "https", address).await);
}

#[test]
fn a_certificate_that_cannot_be_read_is_named() {
    let tls = TlsConfig { ca: Some("nowhere/ca.pem".into()), ..TlsConfig::default() };
    let error = net(Some(tls), None).channel("https://localhost:1").unwrap_err();
    assert!(format!("{error:#}").contains("nowhere/ca.pem"), "{error:#}");
}
