//! The socket calls and the shared descriptor against the real kernel.

#![expect(unsafe_code, reason = "closes a descriptor as the layer of descriptors does")]

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::common::{alone, kernel};
use netpoll_core::{Event, PollKey};
use netpoll_rt::internal::sys::socket::{self, Connect, Domain, SocketKind};
use netpoll_rt::internal::sys::{Events, FdOwner, Poller, SharedFd, Watch, sockopt};

const KEY: PollKey = PollKey { slot: 0, fdseq: 1 };

/// Longer than any test may take: a wait that runs into it has failed.
const LONG: Duration = Duration::from_secs(30);

/// Makes a call of std, and repeats it after a signal.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn loopback() -> [SocketAddr; 2] {
    ["127.0.0.1:0", "[::1]:0"].map(|address| address.parse().unwrap())
}

/// Returns a non-blocking TCP socket, listening on `address`.
fn listen(address: &SocketAddr) -> OwnedFd {
    let fd = socket::socket(Domain::of(address), SocketKind::Stream).unwrap();
    sockopt::set_reuseaddr(fd.as_fd(), true).unwrap();
    socket::bind(fd.as_fd(), address).unwrap();
    socket::listen(fd.as_fd(), socket::somaxconn()).unwrap();
    fd
}

/// Waits until `fd` is ready in the sense of `ready`, or finds that it is already.
fn wait_ready(fd: BorrowedFd<'_>, ready: impl Fn(&Event) -> bool) {
    let poller = Poller::init(true).unwrap();
    let mut events = Events::with_capacity(4);
    poller.open(fd, KEY, Watch::Both).unwrap();
    let start = Instant::now();
    while !events.iter().any(|event| ready(&event)) {
        // Empty-handed if a signal has ended it.
        poller.wait(&mut events, Some(LONG)).unwrap();
        assert!(start.elapsed() < LONG, "nothing came");
    }
}

/// Returns both ends of a TCP connection: ours through `sys`, the other from std.
fn connection() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ours = socket::socket(Domain::V4, SocketKind::Stream).unwrap();
    socket::connect(ours.as_fd(), &address).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    wait_ready(ours.as_fd(), |event| event.modes.write);
    (ours, theirs)
}

fn would_block<T: std::fmt::Debug>(result: io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

fn is_nonblocking_and_cloexec(fd: &OwnedFd) -> bool {
    kernel::is_nonblocking(fd) && kernel::is_cloexec(fd)
}

#[test]
fn connect_accept_and_the_names_of_both_ends() {
    let _alone = alone();
    for address in loopback() {
        let listener = listen(&address);
        let address = socket::sock_name(listener.as_fd()).unwrap();
        assert_ne!(address.port(), 0);
        would_block(socket::accept(listener.as_fd()));

        let client = socket::socket(Domain::of(&address), SocketKind::Stream).unwrap();
        socket::connect(client.as_fd(), &address).unwrap();
        wait_ready(listener.as_fd(), |event| event.modes.read);
        let (server, peer) = socket::accept(listener.as_fd()).unwrap();
        wait_ready(client.as_fd(), |event| event.modes.write);

        assert!(socket::socket_error(client.as_fd()).unwrap().is_none());
        // One that is interrupted goes on, and the next finds it done.
        let again = [(); 2].map(|()| socket::connect(client.as_fd(), &address).unwrap());
        assert_eq!(again[1], Connect::Done, "EISCONN is done");
        assert_eq!(socket::peer_name(client.as_fd()).unwrap(), address);
        assert_eq!(socket::sock_name(client.as_fd()).unwrap(), peer);
        assert_eq!(socket::peer_name(server.as_fd()).unwrap(), peer);
        for fd in [&listener, &client, &server] {
            assert!(is_nonblocking_and_cloexec(fd));
        }
        would_block(socket::accept(listener.as_fd()));
    }
}

#[test]
fn a_refused_connect_is_in_the_socket_error() {
    let _alone = alone();
    for address in loopback() {
        // Bound and not listening: no other socket can take the port and accept.
        let closed = socket::socket(Domain::of(&address), SocketKind::Stream).unwrap();
        socket::bind(closed.as_fd(), &address).unwrap();
        let address = socket::sock_name(closed.as_fd()).unwrap();

        let client = socket::socket(Domain::of(&address), SocketKind::Stream).unwrap();
        let error = match socket::connect(client.as_fd(), &address) {
            Ok(progress) => {
                assert_eq!(progress, Connect::InProgress);
                wait_ready(client.as_fd(), |event| event.flags.err || event.flags.hup);
                socket::socket_error(client.as_fd()).unwrap().expect("an error is queued")
            }
            Err(error) => error,
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(socket::socket_error(client.as_fd()).unwrap().is_none(), "taken by the first look");
        let name = socket::peer_name(client.as_fd()).unwrap_err();
        assert_eq!(name.kind(), io::ErrorKind::NotConnected);
    }
}

#[test]
fn drained_says_that_the_read_was_short() {
    let _alone = alone();
    let (ours, mut theirs) = connection();
    let ours = ours.as_fd();
    would_block(socket::recv(ours, &mut [0; 8]));
    let mut buffer = [0; 8];
    type Call = fn(BorrowedFd<'_>, &mut [u8]) -> io::Result<socket::Read>;
    for (name, call) in [("recv", socket::recv as Call), ("read", socket::read as Call)] {
        for (sent, drained) in [(3, true), (8, false)] {
            theirs.write_all(&b"12345678"[..sent]).unwrap();
            wait_ready(ours, |event| event.modes.read);
            let peeked = socket::peek(ours, &mut buffer).unwrap();
            assert_eq!((peeked.n, peeked.drained), (sent, drained), "peek");
            let read = call(ours, &mut buffer).unwrap();
            assert_eq!((read.n, read.drained), (sent, drained), "{name}");
            assert_eq!(buffer[..sent], b"12345678"[..sent]);
        }
        let empty = call(ours, &mut []);
        // Linux looks at the queue first where nothing is asked for; either answer is no short read.
        assert!(empty.map_or_else(|e| e.kind() == io::ErrorKind::WouldBlock, |r| r.n == 0 && !r.drained));
    }
    theirs.shutdown(Shutdown::Write).unwrap();
    wait_ready(ours, |event| event.flags.read_hup);
    let end = socket::recv(ours, &mut buffer).unwrap();
    assert_eq!((end.n, end.drained), (0, false), "the end of the stream is not a short read");
}

#[test]
fn vectored_calls_pass_all_that_fits() {
    let _alone = alone();
    let (ours, mut theirs) = connection();
    let ours = ours.as_fd();
    let empty: &[u8] = &[];
    let out = [empty, b"ab", empty, b"cde"].map(IoSlice::new);
    assert_eq!(socket::sendv(ours, &out).unwrap(), 5);
    let mut echo = [0; 5];
    theirs.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"abcde");

    theirs.write_all(b"abcde").unwrap();
    wait_ready(ours, |event| event.modes.read);
    let (mut none, mut first, mut second) = ([], [0; 2], [0; 4]);
    let mut buffers = [&mut none[..], &mut first[..], &mut second[..]].map(IoSliceMut::new);
    let read = socket::recvv(ours, &mut buffers).unwrap();
    assert_eq!((read.n, read.drained), (5, true));
    assert_eq!((first, &second[..3]), (*b"ab", &b"cde"[..]));

    theirs.write_all(b"abc").unwrap();
    wait_ready(ours, |event| event.modes.read);
    let (mut first, mut second) = ([0; 2], [0; 1]);
    let read = socket::recvv(ours, &mut [&mut first[..], &mut second[..]].map(IoSliceMut::new)).unwrap();
    assert_eq!((read.n, read.drained), (3, false));
}

#[test]
fn a_vectored_send_is_the_same_whether_it_is_gathered_or_not() {
    let _alone = alone();
    let (ours, mut theirs) = connection();
    for length in [2, 1023, 1024, 1025, 4096] {
        let bytes: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
        for cut in [1, length / 2, length - 1] {
            let (head, body) = bytes.split_at(cut);
            let slices = [head, &[], body].map(IoSlice::new);
            assert_eq!(socket::sendv(ours.as_fd(), &slices).unwrap(), length);
            let mut back = vec![0; length];
            theirs.read_exact(&mut back).unwrap();
            assert!(back == bytes, "{length} bytes cut at {cut}");
        }
    }
}

#[test]
fn vectored_calls_stop_at_the_kernels_count_and_skip_empty_slices() {
    let _alone = alone();
    let (ours, mut theirs) = connection();
    let ours = ours.as_fd();
    let mut many: Vec<&[u8]> = vec![b""; 2 * socket::MAX_SLICES];
    assert_eq!(socket::sendv(ours, &many.iter().map(|s| IoSlice::new(s)).collect::<Vec<_>>()).unwrap(), 0);
    many.extend(vec![&b"x"[..]; 2 * socket::MAX_SLICES]);
    let slices: Vec<_> = many.iter().map(|slice| IoSlice::new(slice)).collect();
    assert_eq!(socket::sendv(ours, &slices).unwrap(), socket::MAX_SLICES);
    theirs.read_exact(&mut [0; socket::MAX_SLICES]).unwrap();

    theirs.write_all(&[7; socket::MAX_SLICES]).unwrap();
    wait_ready(ours, |event| event.modes.read);
    let mut bytes = [0; socket::MAX_SLICES + 1];
    let mut buffers: Vec<_> = bytes.chunks_mut(1).map(IoSliceMut::new).collect();
    let read = socket::recvv(ours, &mut buffers).unwrap();
    assert_eq!((read.n, read.drained), (socket::MAX_SLICES, false), "judged by what was passed");
    assert!(bytes[..socket::MAX_SLICES].iter().all(|byte| *byte == 7));
    let nothing = socket::recvv(ours, &mut []).unwrap();
    assert_eq!((nothing.n, nothing.drained), (0, false));
}

#[test]
fn a_peer_that_is_gone_is_an_error_and_no_signal() {
    let _alone = alone();
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let broken = socket::send(ours.as_fd(), b"x").unwrap_err();
    assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
    let slices = [b"x", b"y"].map(|byte| IoSlice::new(byte));
    assert_eq!(socket::sendv(ours.as_fd(), &slices).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn write_and_read_serve_what_is_no_socket() {
    let _alone = alone();
    let (reader, writer) = io::pipe().unwrap();
    socket::set_nonblocking(reader.as_fd(), true).unwrap();
    would_block(socket::read(reader.as_fd(), &mut [0; 4]));
    assert_eq!(socket::write(writer.as_fd(), b"abc").unwrap(), 3);
    let read = socket::read(reader.as_fd(), &mut [0; 4]).unwrap();
    assert_eq!((read.n, read.drained), (3, true));
    assert!(socket::recv(reader.as_fd(), &mut [0; 4]).is_err(), "recv is for sockets");
}

#[test]
fn shutdown_ends_the_direction_that_is_named() {
    let _alone = alone();
    let (ours, mut theirs) = connection();
    socket::shutdown(ours.as_fd(), Shutdown::Write).unwrap();
    assert_eq!(theirs.read(&mut [0; 4]).unwrap(), 0);
    theirs.write_all(b"still").unwrap();
    let mut back = [0; 5];
    wait_ready(ours.as_fd(), |event| event.modes.read);
    assert_eq!(socket::recv(ours.as_fd(), &mut back).unwrap().n, 5);
    assert_eq!(socket::send(ours.as_fd(), b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn options_are_what_they_were_set_to() {
    let _alone = alone();
    let fd = socket::socket(Domain::V6, SocketKind::Stream).unwrap();
    let fd = fd.as_fd();
    for on in [true, false] {
        sockopt::set_nodelay(fd, on).unwrap();
        assert_eq!(sockopt::nodelay(fd).unwrap(), on);
        sockopt::set_reuseaddr(fd, on).unwrap();
        assert_eq!(sockopt::reuseaddr(fd).unwrap(), on);
        sockopt::set_reuseport(fd, on).unwrap();
        assert_eq!(sockopt::reuseport(fd).unwrap(), on);
        sockopt::set_v6only(fd, on).unwrap();
        assert_eq!(sockopt::v6only(fd).unwrap(), on);
    }
    for time in [Some(Duration::from_secs(3)), Some(Duration::ZERO), None] {
        sockopt::set_linger(fd, time).unwrap();
        assert_eq!(sockopt::linger(fd).unwrap(), time);
    }
    let second = Duration::from_secs(1);
    assert_eq!(sockopt::keepalive(fd).unwrap(), None);
    sockopt::set_keepalive(fd, Duration::from_millis(1), 15 * second, 9).unwrap();
    assert_eq!(sockopt::keepalive(fd).unwrap(), Some((second, 15 * second, 9)), "rounded up to a second");
    sockopt::clear_keepalive(fd).unwrap();
    assert_eq!(sockopt::keepalive(fd).unwrap(), None);
    assert!(sockopt::set_keepalive(fd, Duration::ZERO, second, 9).is_err());
    assert!(sockopt::set_keepalive(fd, Duration::MAX, second, 9).is_err());

    sockopt::set_recv_buffer_size(fd, 32 << 10).unwrap();
    assert!(sockopt::recv_buffer_size(fd).unwrap() >= 32 << 10);
    sockopt::set_send_buffer_size(fd, 32 << 10).unwrap();
    assert!(sockopt::send_buffer_size(fd).unwrap() >= 32 << 10);
    assert!((1..=65535).contains(&socket::somaxconn()));
}

#[test]
fn a_shared_descriptor_is_closed_once_and_only_when_told() {
    let _alone = alone();
    // The peer sees the end of the stream only when the last descriptor of ours is gone, so no number that another
    // test may have taken meanwhile is looked at.
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let number = ours.as_raw_fd();
    let shared = SharedFd::new(ours.into());
    assert_eq!(shared.as_fd().as_raw_fd(), number);
    would_block(uninterrupted(|| theirs.read(&mut [0; 1])));
    let shared = SharedFd::new(shared.into_owned());
    would_block(uninterrupted(|| theirs.read(&mut [0; 1])));
    // SAFETY: INV-7: the only user is this thread, which touches `shared` no more.
    unsafe { shared.close() }.unwrap();
    assert_eq!(uninterrupted(|| theirs.read(&mut [0; 1])).unwrap(), 0);
    let owned = SharedFd::new(File::open("/dev/null").unwrap().into()).into_owned();
    let mut file = File::from(owned);
    assert_eq!(uninterrupted(|| file.read(&mut [0; 1])).unwrap(), 0, "still open");
}
