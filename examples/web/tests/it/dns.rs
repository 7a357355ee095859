//! hickory's resolver against dnsmasq of Debian, and against a server that never answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use hickory_resolver::Resolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::proto::rr::RData;
use netpoll_rt::Handle;
use netpoll_rt::process::{Child, Command, Stdio};
use netpoll_rt::time::sleep;
use netpoll_web::BoxError;
use netpoll_web::dns::{Netpoll, resolver};

use crate::each;
use crate::tools::find;

/// The time in which the server must answer for the first time.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The texts of one name, which are more than a datagram of DNS holds.
const TEXTS: usize = 40;

/// A server that is killed when this is dropped.
struct Dnsmasq {
    child: Child,
    port: u16,
}

impl Dnsmasq {
    /// Starts a server on a port that was free a moment ago, and waits for its first answer.
    async fn start(program: &Path) -> Result<Self, BoxError> {
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new(program);
        // Nothing of this machine: no file, no other server, no change of the user.
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-hosts",
            "--no-resolv",
            "--user=",
        ]);
        command.args(["--pid-file=", "--listen-address=127.0.0.1", "--bind-interfaces", "--local=/test/"]);
        command.args([&format!("--port={port}"), "--host-record=one.test,192.0.2.1,2001:db8::1"]);
        command.args(["--address=/many.test/192.0.2.7", "--cname=alias.test,one.test"]);
        command.args((0..TEXTS).map(|n| format!("--txt-record=long.test,{}", text(n))));
        let child = command.stdout(Stdio::null()).kill_on_drop(true).spawn()?;
        let server = Self { child, port };
        let end = Instant::now() + START_LIMIT;
        loop {
            match server.resolver()?.lookup_ip("one.test.").await {
                Ok(_) => return Ok(server),
                Err(error) if Instant::now() > end => return Err(error.into()),
                // It does not tell its parent when it is ready.
                // A foreign server makes no event for this process when it listens.
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    fn resolver(&self) -> Result<Resolver<Netpoll>, BoxError> {
        ask(self.port, Duration::from_secs(10))
    }
}

fn text(n: usize) -> String {
    format!("{n:02}").repeat(100)
}

/// Creates a resolver that asks a server of this machine, first by UDP.
fn ask(port: u16, limit: Duration) -> Result<Resolver<Netpoll>, BoxError> {
    let connection = |protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = port;
        connection
    };
    let connections = vec![connection(ProtocolConfig::Udp), connection(ProtocolConfig::Tcp)];
    let server = NameServerConfig::new(IpAddr::V4(Ipv4Addr::LOCALHOST), true, connections);
    let mut options = ResolverOpts::default();
    options.timeout = limit;
    options.attempts = 1;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    Ok(resolver(ResolverConfig::from_parts(None, vec![], vec![server]), options)?)
}

#[test]
fn names_are_resolved_by_udp_and_long_answers_by_tcp() {
    let Some(program) = find("dnsmasq") else { return };
    each(async || {
        let server = Dnsmasq::start(&program).await?;
        let resolver = server.resolver()?;
        for name in ["one.test.", "alias.test."] {
            let found: Vec<IpAddr> = resolver.lookup_ip(name).await?.iter().collect();
            assert!(found.contains(&"192.0.2.1".parse()?), "{name}: {found:?}");
        }
        let v6 = resolver.ipv6_lookup("one.test.").await?;
        assert_eq!(v6.answers().len(), 1);
        let error = resolver.lookup_ip("none.test.").await.unwrap_err();
        assert!(error.is_no_records_found(), "{error}");
        // Truncated by UDP, so the resolver asks again by TCP.
        let answer = resolver.txt_lookup("long.test.").await?;
        let mut texts: Vec<String> = Vec::new();
        for record in answer.answers() {
            if let RData::TXT(txt) = &record.data {
                texts.push(txt.to_string());
            }
        }
        texts.sort();
        assert_eq!(texts, (0..TEXTS).map(text).collect::<Vec<_>>());
        // Many at once.
        let lookups = (0..500).map(|n| resolver.lookup_ip(format!("n{n}.many.test.")));
        for lookup in try_join_all(lookups).await? {
            assert_eq!(lookup.iter().collect::<Vec<_>>(), [IpAddr::from([192, 0, 2, 7])]);
        }
        drop(resolver);
        // That of the server.
        only(1).await?;
        Ok(server.child.kill().await?)
    });
}

#[test]
fn a_server_that_never_answers_is_an_error_in_time() {
    each(async || {
        // Datagrams lie in it unread, and no socket listens by TCP.
        let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address: SocketAddr = silent.local_addr()?;
        let limit = Duration::from_millis(200);
        let resolver = ask(address.port(), limit)?;
        let start = Instant::now();
        let error = resolver.lookup_ip("one.test.").await.unwrap_err();
        assert!(!error.is_no_records_found(), "{error}");
        assert!(start.elapsed() >= limit, "{:?}", start.elapsed());
        drop(resolver);
        only(0).await
    });
}

/// Waits until the tasks of a resolver are gone, and all descriptors of the runtime but a number of them.
async fn only(descriptors: usize) -> Result<(), BoxError> {
    let handle = Handle::current();
    loop {
        let metrics = handle.metrics();
        if (metrics.descriptors, metrics.tasks) == (descriptors, 0) {
            return Ok(());
        }
        netpoll_rt::yield_now().await;
    }
}
