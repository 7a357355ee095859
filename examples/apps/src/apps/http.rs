//! hyper's server, with TLS by rustls if asked for.

use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::rt::{Read, Write, bounds::Http2ServerConnExec};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsAcceptor;

use super::rt::{self, *};
use crate::pages;

pub async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, h2: bool) -> io::Result<()> {
    let pages = Pages { small: Bytes::from_static(pages::SMALL), large: pages::large().into() };
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (tls, pages, executor) = (tls.clone(), pages.clone(), h2.then(rt::executor));
        let answer = move |request| answer(request, pages.clone());
        rt::spawn(async move {
            // The load judges how a connection ends.
            match tls {
                None => drop(connection(rt::for_hyper(stream), answer, executor).await),
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        drop(connection(TokioIo::new(stream), answer, executor).await);
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

/// Serves one connection. The answer is a parameter, so that the executor can name its future.
async fn connection<I, E, F>(
    stream: I,
    answer: impl Fn(Request<Incoming>) -> F,
    h2: Option<E>,
) -> hyper::Result<()>
where
    I: Read + Write + Unpin,
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
