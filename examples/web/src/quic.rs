//! The runtime of quinn: timers, tasks and sockets of netpoll behind its trait. Copy this file into a program.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use netpoll_rt::Handle;
use netpoll_rt::net::{Interest, UdpSocket};
use netpoll_rt::time::{Sleep, sleep_until};
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, UdpPoller};

/// A runtime for [`Endpoint::new`](quinn::Endpoint::new), which puts its tasks on one runtime of netpoll, from any thread.
#[derive(Clone, Debug)]
pub struct NetpollRuntime(Handle);

impl NetpollRuntime {
    /// Returns the runtime of a handle.
    pub fn new(handle: Handle) -> Self {
        Self(handle)
    }
}

impl Runtime for NetpollRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer(sleep_until(at)))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        // The task goes on without its handle.
        drop(self.0.spawn(future));
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let _guard = self.0.enter();
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Arc::new(Socket { state, io: UdpSocket::from_std(socket)? }))
    }
}

#[derive(Debug)]
struct Timer(Sleep);

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, at: Instant) {
        Pin::new(&mut self.0).reset(at);
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(Pin::new(&mut self.0), cx)
    }
}

/// A socket whose datagrams quinn sends and receives in batches, by system calls of its own.
#[derive(Debug)]
struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(WritePoller(self))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::Write, |fd| self.state.send((&fd).into(), transmit))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_readable(cx))?;
            match self.io.try_io(Interest::Read, |fd| self.state.recv((&fd).into(), buffers, metas)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return Poll::Ready(received),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Several connections share a socket, and each waits for space with a waker of its own, which `poll_writable` keeps apart.
#[derive(Debug)]
struct WritePoller(Arc<Socket>);

impl UdpPoller for WritePoller {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.io.poll_writable(cx)
    }
}
