//! The client with its pool.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{Method, Request, StatusCode, Version};
use hyper_util::client::legacy::Client;
use netpoll_web::client::{Connector, client};
use netpoll_web::server::Limits;
use netpoll_web::{BoxError, app};

use crate::{PATIENCE, Site, each};

/// The size of an upload.
const UPLOAD: usize = 24 << 20;

/// Returns the version and the body of a page.
async fn get(
    client: &Client<Connector, Empty<Bytes>>,
    url: hyper::Uri,
) -> Result<(Version, Bytes), BoxError> {
    let response = client.get(url).await?;
    assert_eq!(response.status(), StatusCode::OK);
    let version = response.version();
    Ok((version, response.into_body().collect().await?.to_bytes()))
}

#[test]
fn pool_keeps_connections_for_later_requests() {
    each(async || {
        // The pool opens a second connection if a request begins before the first one is back. A third one would wait for
        // the end of another, for longer than the test may take.
        let site = Site::start(false, Limits { connections: 2, head: PATIENCE, ..Limits::default() }).await?;
        let client = client(site.trust(&[]), false);
        for n in [0, 1, 13, 8192, 100_000, 1 << 20] {
            let (version, body) = get(&client, site.url("http", &format!("/bytes/{n}"))).await?;
            assert_eq!((version, body), (Version::HTTP_11, app::pattern(n)));
        }
        drop(client);
        assert!(site.stop().await?);
        Ok(())
    });
}

#[test]
fn server_chooses_http_2_within_tls() {
    each(async || {
        let site = Site::start(true, Limits { connections: 1, ..Limits::default() }).await?;
        let client = client(site.trust(&["h2", "http/1.1"]), false);
        // The first request opens the connection that the others share.
        get(&client, site.url("https", "/")).await?;
        let requests = (0..100).map(|n| {
            let (client, url) = (client.clone(), site.url("https", &format!("/bytes/{}", n * 1000)));
            netpoll_rt::spawn(async move { get(&client, url).await })
        });
        for (n, request) in requests.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(request.await??, (Version::HTTP_2, app::pattern(n * 1000)));
        }
        assert!(site.stop().await?);
        Ok(())
    });
}

#[test]
fn client_without_http_2_gets_http_1_within_tls() {
    each(async || {
        let site = Site::start(true, Limits::default()).await?;
        let client = client(site.trust(&["http/1.1"]), false);
        for n in [13, 100_000] {
            let got = get(&client, site.url("https", &format!("/bytes/{n}"))).await?;
            assert_eq!(got, (Version::HTTP_11, app::pattern(n)));
        }
        Ok(())
    });
}

#[test]
fn client_refuses_an_unknown_certificate() {
    each(async || {
        let (site, other) =
            (Site::start(true, Limits::default()).await?, Site::start(true, Limits::default()).await?);
        let client = client(other.trust(&["h2"]), false);
        let error = get(&client, site.url("https", "/")).await.unwrap_err();
        assert!(
            format!("{error:?}").contains("UnknownIssuer") || format!("{error:?}").contains("BadSignature"),
            "{error:?}"
        );
        Ok(())
    });
}

#[test]
fn upload_arrives_whole() {
    each(async || {
        for tls in [false, true] {
            let site = Site::start(tls, Limits::default()).await?;
            let client = client(site.trust(&["http/1.1"]), false);
            let body = app::pattern(UPLOAD);
            let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
            let url = site.url(if tls { "https" } else { "http" }, "/count");
            let request = Request::builder().method(Method::POST).uri(url).body(Full::new(body))?;
            let answer = client.request(request).await?.into_body().collect().await?.to_bytes();
            assert_eq!(answer, format!("{UPLOAD} {sum}"));
        }
        Ok(())
    });
}

#[test]
fn body_comes_back_while_it_is_sent() {
    each(async || {
        let site = Site::start(true, Limits::default()).await?;
        for protocol in ["http/1.1", "h2"] {
            let client = client(site.trust(&[protocol]), false);
            let body = app::pattern(3_000_000);
            let request = Request::post(site.url("https", "/echo")).body(Full::new(body.clone()))?;
            let answer = client.request(request).await?.into_body().collect().await?.to_bytes();
            assert_eq!(answer, body);
        }
        Ok(())
    });
}
