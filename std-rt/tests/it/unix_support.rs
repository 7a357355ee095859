//! The support of the tests of Unix sockets: unique names, and pairs.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use netpoll_rt::net::unix::abstract_address;
use netpoll_rt::net::{UnixListener, UnixStream};

fn number() -> usize {
    static NEXT: Mutex<usize> = Mutex::new(0);
    let mut next = NEXT.lock().unwrap();
    *next += 1;
    *next
}

/// A folder of its own, removed in the end with its content.
pub struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("netpoll-unix-{}-{}", std::process::id(), number()));
        fs::create_dir(&folder).unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// Returns a name of this process's own: an abstract one, where there are such.
pub fn own_name() -> SocketAddr {
    let name = format!("netpoll-unix-{}-{}", std::process::id(), number());
    abstract_address(&name).unwrap_or_else(|_| address(&std::env::temp_dir().join(name)))
}

pub fn address(path: &Path) -> SocketAddr {
    SocketAddr::from_pathname(path).unwrap()
}

/// Returns two ends, to be shared by tasks.
pub fn ends() -> (Arc<UnixStream>, Arc<UnixStream>) {
    let (one, other) = UnixStream::pair().unwrap();
    (Arc::new(one), Arc::new(other))
}

/// Returns a connection through a listener: the client, the server.
pub async fn through(listener: &UnixListener) -> (UnixStream, UnixStream) {
    let client = UnixStream::connect_addr(&listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

/// Reads once, at most 64 bytes.
pub async fn read(stream: &UnixStream) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 64];
    let n = stream.read(&mut buffer).await?;
    Ok(buffer[..n].to_vec())
}

/// Sends all of the bytes, and the descriptors with the first.
pub async fn send_all(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let sent = stream.send_fds(bytes, fds).await.unwrap();
    stream.write_all(&bytes[sent..]).await.unwrap();
}
