//! WebSocket by tokio-tungstenite.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio_app::{BoxError, ws};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::within;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_come_back_in_order() -> Result<(), BoxError> {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("ws://{}", listener.local_addr()?);
        let server = tokio::spawn(ws::serve(listener));
        let (socket, response) = connect_async(&url).await?;
        assert_eq!(response.status(), 101);
        let (mut sender, mut receiver) = socket.split();
        let message = |n: usize| match n % 2 {
            0 => Message::text(n.to_string()),
            _ => Message::binary(vec![n as u8; n * 5000]),
        };
        // Sent by another task, so that neither side waits for the other to read.
        let sending = tokio::spawn(async move {
            for n in 0..200 {
                sender.send(message(n)).await?;
            }
            sender.send(Message::Close(None)).await
        });
        for n in 0..200 {
            let got = receiver.next().await.ok_or("the server closed the connection")??;
            assert!(got == message(n), "message {n}");
        }
        assert!(receiver.next().await.ok_or("no answer to the close")??.is_close());
        assert!(receiver.next().await.is_none());
        sending.await??;
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
        Ok(())
    })
    .await
}
