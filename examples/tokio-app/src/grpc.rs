//! A service of gRPC and its client, by tonic's server and channel.
//!
//! The messages and methods are those of this file. `tonic-prost-build` generates the same from it, with protobuf's compiler.
//!
//! ```proto
//! package netpoll;
//! message Text { string text = 1; uint32 pause = 2; }
//! message Times { string text = 1; uint32 count = 2; }
//! service Echo {
//!   rpc Say(Text) returns (Text);
//!   rpc Repeat(Times) returns (stream Text);
//! }
//! ```

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::iter::repeat_n;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http;
use axum::http::uri::PathAndQuery;
use futures_util::stream::{self, Stream};
use tokio::time::sleep;
use tonic::body::Body;
use tonic::client::Grpc as GrpcClient;
use tonic::server::{Grpc as GrpcServer, NamedService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower_service::Service;

/// A text.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Text {
    /// The text.
    #[prost(string, tag = "1")]
    pub text: String,
    /// The time that the server waits before it answers, in milliseconds.
    #[prost(uint32, tag = "2")]
    pub pause: u32,
}

/// A text that is to be repeated.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Times {
    /// The text.
    #[prost(string, tag = "1")]
    pub text: String,
    /// The number of repetitions.
    #[prost(uint32, tag = "2")]
    pub count: u32,
}

/// The service.
#[derive(Clone, Copy, Debug)]
pub struct EchoServer;

impl NamedService for EchoServer {
    const NAME: &'static str = "netpoll.Echo";
}

impl Service<http::Request<Body>> for EchoServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/netpoll.Echo/Say" => GrpcServer::new(ProstCodec::new()).unary(Say, request).await,
                "/netpoll.Echo/Repeat" => {
                    GrpcServer::new(ProstCodec::new()).server_streaming(Repeat, request).await
                }
                path => Status::unimplemented(path.to_owned()).into_http(),
            })
        })
    }
}

struct Say;

impl Service<Request<Text>> for Say {
    type Response = Response<Text>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        Box::pin(async move {
            let text = request.into_inner();
            if text.pause > 0 {
                sleep(Duration::from_millis(text.pause.into())).await;
            }
            if text.text.is_empty() {
                Err(Status::invalid_argument("the text is empty"))
            } else {
                Ok(Response::new(text))
            }
        })
    }
}

struct Repeat;

impl Service<Request<Times>> for Repeat {
    type Response = Response<Pin<Box<dyn Stream<Item = Result<Text, Status>> + Send>>>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Times>) -> Self::Future {
        let Times { text, count } = request.into_inner();
        let texts = repeat_n(Ok(Text { text, pause: 0 }), count as usize);
        ready(Ok(Response::new(Box::pin(stream::iter(texts)))))
    }
}

/// The client of the service.
#[derive(Clone, Debug)]
pub struct EchoClient {
    inner: GrpcClient<Channel>,
}

impl EchoClient {
    /// Returns a client of the service behind a channel.
    pub fn new(channel: Channel) -> Self {
        Self { inner: GrpcClient::new(channel) }
    }

    /// Returns the text of the server, which answers after a pause. `deadline` is sent to the server with the call.
    ///
    /// # Errors
    ///
    /// Returns the status `InvalidArgument` if the text is empty, `DeadlineExceeded` or `Cancelled` after the deadline, and
    /// that of a connection that fails.
    pub async fn say(&mut self, text: Text, deadline: Option<Duration>) -> Result<String, Status> {
        self.inner.ready().await.map_err(unavailable)?;
        let mut request = Request::new(text);
        if let Some(deadline) = deadline {
            request.set_timeout(deadline);
        }
        let path = PathAndQuery::from_static("/netpoll.Echo/Say");
        let codec: ProstCodec<Text, Text> = ProstCodec::new();
        Ok(self.inner.unary(request, path, codec).await?.into_inner().text)
    }

    /// Returns a stream of `count` times the text.
    ///
    /// # Errors
    ///
    /// Returns the status of a connection that fails.
    pub async fn repeat(&mut self, text: String, count: u32) -> Result<Streaming<Text>, Status> {
        self.inner.ready().await.map_err(unavailable)?;
        let path = PathAndQuery::from_static("/netpoll.Echo/Repeat");
        let codec: ProstCodec<Times, Text> = ProstCodec::new();
        Ok(self.inner.server_streaming(Request::new(Times { text, count }), path, codec).await?.into_inner())
    }
}

fn unavailable(error: tonic::transport::Error) -> Status {
    Status::unavailable(error.to_string())
}
