//! A service of gRPC and its client by tonic, without tonic's transport: the service is one of tower, which goes into any
//! router or server, and the client takes any client of HTTP.
//!
//! The messages and methods are those of this file. `tonic-prost-build` generates the same from it, with protobuf's compiler.
//!
//! ```proto
//! package netpoll;
//! message Text { string text = 1; }
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

use axum::http::uri::PathAndQuery;
use axum::http::{self, Uri};
use futures_util::stream::{self, Stream};
use hyper_util::client::legacy::Client;
use tonic::body::Body;
use tonic::client::Grpc as GrpcClient;
use tonic::server::Grpc as GrpcServer;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::client::Connector;

/// A text.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Text {
    /// The text.
    #[prost(string, tag = "1")]
    pub text: String,
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

impl Service<http::Request<axum::body::Body>> for EchoServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<axum::body::Body>) -> Self::Future {
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
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        ready(match request.into_inner() {
            Text { text } if text.is_empty() => Err(Status::invalid_argument("the text is empty")),
            text => Ok(Response::new(text)),
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
        let texts = repeat_n(Ok(Text { text }), count as usize);
        ready(Ok(Response::new(Box::pin(stream::iter(texts)))))
    }
}

/// The client of the service.
#[derive(Clone)]
pub struct EchoClient {
    inner: GrpcClient<Client<Connector, Body>>,
}

impl EchoClient {
    /// Returns a client of the service at `origin`, for example `http://localhost:8080`. `client` must speak HTTP/2.
    pub fn new(client: Client<Connector, Body>, origin: Uri) -> Self {
        Self { inner: GrpcClient::with_origin(client, origin) }
    }

    /// Returns the text of the server.
    ///
    /// # Errors
    ///
    /// Returns the status `InvalidArgument` if the text is empty, and that of a connection that fails.
    pub async fn say(&mut self, text: String) -> Result<String, Status> {
        self.inner.ready().await.map_err(unavailable)?;
        let path = PathAndQuery::from_static("/netpoll.Echo/Say");
        let codec: ProstCodec<Text, Text> = ProstCodec::new();
        Ok(self.inner.unary(Request::new(Text { text }), path, codec).await?.into_inner().text)
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

fn unavailable(error: hyper_util::client::legacy::Error) -> Status {
    Status::unavailable(error.to_string())
}
