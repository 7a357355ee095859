//! Requests and answers over a Unix socket. Each is a frame: its length, then that many bytes. If an answer is longer than
//! a frame may be, the frame carries the reading end of a pipe.
//!
//! `cargo run -p netpoll-examples --bin unix_rpc -- /tmp/rpc.sock` serves at that path, else itself.

use std::{io, os::fd::AsFd, os::fd::BorrowedFd, os::fd::OwnedFd, path::Path};

use futures_lite::{future::or, io::AsyncReadExt};
use netpoll_rt::{net::UnixListener, net::UnixStream, net::pipe, spawn};

async fn send(stream: &UnixStream, body: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let length = u16::try_from(body.len()).map_err(io::Error::other)?;
    let frame = [&length.to_be_bytes(), body.as_bytes()].concat();
    let sent = stream.send_fds(&frame, fds).await?;
    stream.write_all(&frame[sent..]).await
}

/// Receives a frame. Returns `None` at the end of the stream.
async fn receive(stream: &UnixStream) -> io::Result<Option<(String, Vec<OwnedFd>)>> {
    let mut length = [0; 2];
    let (n, fds) = stream.recv_fds(&mut length, 1).await?;
    if n == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[n..]).await?;
    let mut body = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut body).await?;
    Ok(Some((String::from_utf8_lossy(&body).into_owned(), fds)))
}

async fn answer(stream: UnixStream) -> io::Result<()> {
    while let Some((request, _)) = receive(&stream).await? {
        match request.split_once(' ') {
            Some(("upper", text)) => send(&stream, &text.to_uppercase(), &[]).await?,
            Some(("repeat", text)) => {
                let (reader, writer) = pipe::pipe()?;
                send(&stream, "from the pipe", &[reader.as_fd()]).await?;
                let text = text.repeat(100_000);
                spawn(async move { writer.write_all(text.as_bytes()).await });
            }
            _ => send(&stream, "upper TEXT or repeat TEXT", &[]).await?,
        }
    }
    Ok(())
}

async fn serve(path: &Path) -> io::Result<()> {
    let listener = UnixListener::bind(path)?.unlink_on_drop(true);
    let mut incoming = listener.incoming();
    loop {
        spawn(answer(incoming.next().await?.0));
    }
}

async fn visit(path: &Path) -> io::Result<()> {
    let stream = UnixStream::connect(path).await?;
    let call = async |request| {
        send(&stream, request, &[]).await?;
        receive(&stream).await?.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))
    };
    assert_eq!(call("upper shout").await?.0, "SHOUT");
    let (told, mut fds) = call("repeat echo").await?;
    let mut reader = pipe::PipeReader::from_owned(fds.pop().ok_or(io::ErrorKind::NotFound)?)?;
    let mut streamed = String::new();
    reader.read_to_string(&mut streamed).await?;
    assert_eq!(streamed, "echo".repeat(100_000));
    println!("repeat echo: {told} came {} bytes", streamed.len());
    Ok(())
}

fn main() -> io::Result<()> {
    netpoll_rt::block_on(async {
        let own = std::env::temp_dir().join(format!("netpoll-rpc-{}", std::process::id()));
        match std::env::args_os().nth(1) {
            Some(path) => serve(Path::new(&path)).await,
            None => or(serve(&own), visit(&own)).await,
        }
    })
}
