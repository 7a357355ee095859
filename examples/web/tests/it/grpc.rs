//! The service of gRPC.

use std::error::Error;
use std::io;

use netpoll_web::client::client;
use netpoll_web::grpc::EchoClient;
use netpoll_web::server::Limits;
use tonic::Code;

use crate::{Site, each};

#[test]
fn texts_come_back_with_and_without_tls() {
    each(async || {
        for (tls, scheme) in [(false, "http"), (true, "https")] {
            let site = Site::start(tls, Limits::default()).await?;
            let mut echo = EchoClient::new(client(site.trust(&["h2"]), true), site.url(scheme, ""));
            let text = "grüß ".repeat(10_000);
            assert_eq!(echo.say(text.clone()).await?, text);
            let mut stream = echo.repeat("again".to_owned(), 1000).await?;
            let mut count = 0;
            while let Some(message) = stream.message().await? {
                assert_eq!(message.text, "again");
                count += 1;
            }
            assert_eq!(count, 1000);
            drop((stream, echo));
            assert!(site.stop().await?);
        }
        Ok(())
    });
}

#[test]
fn statuses_arrive() {
    each(async || {
        let site = Site::start(false, Limits::default()).await?;
        let mut echo = EchoClient::new(client(site.trust(&[]), true), site.url("http", ""));
        let status = echo.say(String::new()).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "the text is empty"));
        Ok(())
    });
}

#[test]
fn refused_connection_is_the_source_of_a_status() {
    each(async || {
        let site = Site::start(false, Limits::default()).await?;
        let (url, trust) = (site.url("http", ""), site.trust(&[]));
        site.stop().await?;
        let status = EchoClient::new(client(trust, true), url).say("x".to_owned()).await.unwrap_err();
        assert!(is_refused(&status), "{status:?}");
        Ok(())
    });
}

/// Returns whether the chain of errors has the kernel's refusal.
fn is_refused(status: &(dyn Error + 'static)) -> bool {
    let refusal = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    status.downcast_ref().is_some_and(refusal) || status.source().is_some_and(is_refused)
}
