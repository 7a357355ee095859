//! `axum::serve` and reqwest.

use std::future::ready;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use reqwest::{Client, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio_app::{BoxError, web};

use crate::within;

/// A server in this process.
struct Site {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Site {
    async fn start(router: Router) -> Result<Self, BoxError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let server = axum::serve(listener, router).with_graceful_shutdown(async {
            // A sender that was dropped stops it too.
            stopped.await.unwrap_or_default();
        });
        Ok(Self { address, stop, task: tokio::spawn(server.into_future()) })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn stop(self) -> Result<(), BoxError> {
        drop(self.stop);
        Ok(self.task.await??)
    }
}

async fn pages(client: Client) -> Result<(), BoxError> {
    let site = Site::start(web::router(None)).await?;
    assert_eq!(client.get(site.url("/")).send().await?.text().await?, "Hello, world!");
    assert_eq!(client.get(site.url("/none")).send().await?.status(), StatusCode::NOT_FOUND);
    assert_eq!(client.get(site.url("/bytes/x")).send().await?.status(), StatusCode::BAD_REQUEST);
    let mut calls = JoinSet::new();
    for size in (0..64).map(|n| n * 10_000) {
        let call = client.get(site.url(&format!("/bytes/{size}"))).send();
        calls.spawn(async move { (size, call.await.unwrap().bytes().await.unwrap()) });
    }
    for (size, body) in calls.join_all().await {
        assert_eq!(body, vec![b'x'; size]);
    }
    let sent = client.post(site.url("/count")).body(vec![0; 1 << 20]).send().await?;
    assert_eq!(sent.text().await?, (1 << 20).to_string());
    drop(client);
    site.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn client_gets_the_pages_on_four_workers() -> Result<(), BoxError> {
    within(pages(Client::new())).await
}

#[tokio::test]
async fn client_gets_the_pages_on_the_current_thread() -> Result<(), BoxError> {
    within(pages(Client::new())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn client_gets_the_pages_over_http2() -> Result<(), BoxError> {
    within(pages(Client::builder().http2_prior_knowledge().build()?)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn shutdown_waits_for_a_request_and_refuses_the_next() -> Result<(), BoxError> {
    within(async {
        let (arrived, arrival) = oneshot::channel();
        let (release, released) = oneshot::channel::<()>();
        let once = Arc::new(Mutex::new(Some((arrived, released))));
        let router = Router::new().route(
            "/",
            get(move || {
                let (arrived, released) = once.lock().unwrap().take().unwrap();
                arrived.send(()).unwrap();
                async move { released.await.map_or("dropped", |()| "done") }
            }),
        );
        let site = Site::start(router).await?;
        let request = tokio::spawn(reqwest::get(site.url("/")));
        arrival.await?;
        drop(site.stop);
        // The listener is closed at once, while the request is under way.
        while TcpStream::connect(site.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(TcpStream::connect(site.address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(!site.task.is_finished());
        release.send(()).unwrap();
        assert_eq!(request.await??.text().await?, "done");
        Ok(site.task.await??)
    })
    .await
}

#[tokio::test]
async fn request_without_an_answer_times_out() -> Result<(), BoxError> {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let client = Client::builder().timeout(Duration::from_millis(50)).build()?;
        let error = client.get(&url).send().await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        drop(listener);
        let error = client.get(&url).send().await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn server_that_is_aborted_closes_its_listener() -> Result<(), BoxError> {
    within(async {
        let site = Site::start(Router::new().route("/", get(|| ready("up")))).await?;
        assert_eq!(reqwest::get(site.url("/")).await?.text().await?, "up");
        site.task.abort();
        assert!(site.task.await.unwrap_err().is_cancelled());
        assert_eq!(TcpStream::connect(site.address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        Ok(())
    })
    .await
}
