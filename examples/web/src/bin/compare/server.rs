//! The server that is measured: hyper on the sockets of either runtime.

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::rt::{Read as HttpRead, Write as HttpWrite, bounds::Http2ServerConnExec};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use netpoll_web::tls::Identity;
use netpoll_web::{BoxError, app};
use tokio_rustls::TlsAcceptor;

use crate::{Options, Peer};

/// Serves until the standard input ends. Prints the port, and the certificate in hexadecimal digits.
pub fn run(peer: Peer, options: &Options) -> Result<(), BoxError> {
    let identity = Identity::generate()?;
    let tls = if options.tls {
        Some(TlsAcceptor::from(identity.server(&[if options.h2 { "h2" } else { "http/1.1" }])?))
    } else {
        None
    };
    // The socket is the same for both, with the same backlog.
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let trust: String = identity.certificate.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{} {trust}", listener.local_addr()?.port());
    io::stdout().flush()?;
    std::thread::spawn(|| {
        let ended = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(i32::from(ended.is_err()));
    });
    match peer {
        Peer::Netpoll => {
            let runtime = netpoll_rt::Runtime::builder().workers(options.workers).build()?;
            runtime.block_on(serve_netpoll(listener, tls, options.h2))
        }
        Peer::Tokio => {
            let mut builder = match options.workers {
                1 => tokio::runtime::Builder::new_current_thread(),
                _ => tokio::runtime::Builder::new_multi_thread(),
            };
            let runtime = builder.worker_threads(options.workers).enable_all().build()?;
            runtime.block_on(serve_tokio(listener, tls, options.h2))
        }
    }
}

async fn serve_netpoll(
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    h2: bool,
) -> Result<(), BoxError> {
    let pages = Pages::new();
    let executor = h2.then(|| netpoll_rt::Handle::current());
    let listener = netpoll_rt::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (tls, pages, executor) = (tls.clone(), pages.clone(), executor.clone());
        let answer = move |request| answer(request, pages.clone());
        netpoll_rt::spawn(async move {
            match tls {
                None => drop(http(stream, answer, executor).await),
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        drop(http(TokioIo::new(stream), answer, executor).await);
                    }
                }
            }
        });
    }
}

async fn serve_tokio(
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    h2: bool,
) -> Result<(), BoxError> {
    let pages = Pages::new();
    let executor = h2.then(TokioExecutor::new);
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (tls, pages, executor) = (tls.clone(), pages.clone(), executor.clone());
        let answer = move |request| answer(request, pages.clone());
        tokio::spawn(async move {
            match tls {
                None => drop(http(TokioIo::new(stream), answer, executor).await),
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        drop(http(TokioIo::new(stream), answer, executor).await);
                    }
                }
            }
        });
    }
}

/// The pages, made once, so that a request copies none of them.
#[derive(Clone)]
struct Pages {
    small: Bytes,
    large: Bytes,
}

impl Pages {
    fn new() -> Self {
        Self { small: Bytes::from_static(b"Hello, world!"), large: app::pattern(100 << 10) }
    }
}

/// Serves one connection. The answer is a parameter, so that the executor can name its future.
async fn http<I, E, F>(stream: I, answer: impl Fn(Request<Incoming>) -> F, h2: Option<E>) -> hyper::Result<()>
where
    I: HttpRead + HttpWrite + Unpin,
    F: Future<Output = hyper::Result<Response<Full<Bytes>>>>,
    E: Http2ServerConnExec<F, Full<Bytes>>,
{
    match h2 {
        None => http1::Builder::new().serve_connection(stream, service_fn(answer)).await,
        Some(executor) => http2::Builder::new(executor).serve_connection(stream, service_fn(answer)).await,
    }
}

/// Reads an upload to its end; a request without a body has nothing to read. Then answers with a page.
async fn answer(request: Request<Incoming>, pages: Pages) -> hyper::Result<Response<Full<Bytes>>> {
    let page = if request.uri().path() == "/" { pages.small } else { pages.large };
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        drop(frame?);
    }
    Ok(Response::new(Full::new(page)))
}
