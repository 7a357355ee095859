//! The descriptors other than sockets and pipes that Linux can poll, each inside an [`AsyncFd`].

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_rt::internal::sys::Poller;
use netpoll_rt::net::{AsyncFd, Interest};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, WaitIdOptions, pidfd_open};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};

/// Reads eight bytes: the number of times that the event has happened.
async fn count<T: AsFd>(fd: &AsyncFd<T>) -> io::Result<u64> {
    let mut count = [0; 8];
    let read = |fd: &T| Ok(rustix::io::read(fd, &mut count)?);
    assert_eq!(fd.with_io(Interest::Read, read).await?, 8);
    Ok(u64::from_ne_bytes(count))
}

fn add(fd: BorrowedFd<'_>, n: u64) {
    assert_eq!(uninterrupted(|| Ok(rustix::io::write(fd, &n.to_ne_bytes())?)).unwrap(), 8);
}

#[test]
fn an_eventfd() {
    each(async || {
        let events = AsyncFd::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap()).unwrap();
        for n in 1..100 {
            let (probe, mut counting) = (Probe::new(), Box::pin(count(&events)));
            assert!(probe.poll(counting.as_mut()).is_pending());
            add(events.as_fd(), n);
            assert_eq!(counting.await.unwrap(), n);
        }
        // Full: it has room again once it has been read.
        add(events.as_fd(), u64::MAX - 1);
        let adding = events.with_io(Interest::Write, |fd| Ok(rustix::io::write(fd, &1_u64.to_ne_bytes())?));
        let (probe, mut adding) = (Probe::new(), Box::pin(adding));
        assert!(probe.poll(adding.as_mut()).is_pending(), "it would overflow");
        assert_eq!(count(&events).await.unwrap(), u64::MAX - 1);
        assert_eq!(adding.await.unwrap(), 8);
        assert_eq!(count(&events).await.unwrap(), 1);
        events.set_read_deadline(past()).unwrap();
        assert_timed_out(count(&events).await);
    });
}

#[test]
fn a_timerfd() {
    each(async || {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).unwrap();
        let timer = AsyncFd::new(timer).unwrap();
        let (probe, mut counting) = (Probe::new(), Box::pin(count(&timer)));
        assert!(probe.poll(counting.as_mut()).is_pending(), "it is not set");
        let start = Instant::now();
        let two_ms = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
        let every = Itimerspec { it_interval: two_ms, it_value: two_ms };
        timerfd_settime(timer.as_fd(), TimerfdTimerFlags::empty(), &every).unwrap();
        let mut fired = counting.await.unwrap();
        while fired < 5 {
            fired += count(&timer).await.unwrap();
        }
        assert!(start.elapsed() >= Duration::from_millis(2) * u32::try_from(fired).unwrap());
    });
}

#[test]
fn inotify_tells_of_a_new_file() {
    let folder = std::env::temp_dir().join(format!("netpoll-inotify-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    each(async || {
        let watch = AsyncFd::new(inotify::init(inotify::CreateFlags::CLOEXEC).unwrap()).unwrap();
        inotify::add_watch(watch.as_fd(), &folder, inotify::WatchFlags::CREATE).unwrap();
        for name in ["one", "two", "three"] {
            let mut told = [0; 512];
            let read = |fd: &_| Ok(rustix::io::read(fd, &mut told)?);
            let (probe, mut reading) = (Probe::new(), Box::pin(watch.with_io(Interest::Read, read)));
            assert!(probe.poll(reading.as_mut()).is_pending());
            File::create(folder.join(name)).unwrap();
            let n = reading.await.unwrap();
            assert!(told[..n].windows(name.len()).any(|part| part == name.as_bytes()), "{name}");
        }
        ["one", "two", "three"].iter().for_each(|name| std::fs::remove_file(folder.join(name)).unwrap());
    });
    std::fs::remove_dir(&folder).unwrap();
}

#[test]
fn a_pidfd_is_readable_when_the_process_has_ended() {
    each(async || {
        // It ends when its input does.
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let process = AsyncFd::new(process).unwrap();
        let (probe, mut ended) = (Probe::new(), Box::pin(process.readable()));
        assert!(probe.poll(ended.as_mut()).is_pending());
        drop(child.stdin.take());
        ended.await.unwrap();
        let status = rustix::process::waitid(
            rustix::process::WaitId::PidFd(process.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG,
        );
        assert!(status.unwrap().unwrap().exited());
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn a_terminal() {
    each(async || {
        // The master's side. The other side is not open: its line discipline still answers with an echo.
        let master = OpenOptions::new().read(true).write(true).open("/dev/ptmx").unwrap();
        let terminal = AsyncFd::new(master).unwrap();
        for line in ["one", "two"] {
            let mut echo = Vec::new();
            while echo.len() < line.len() + 2 {
                let mut buffer = [0; 64];
                let read = |mut fd: &File| fd.read(&mut buffer);
                let (probe, mut reading) = (Probe::new(), Box::pin(terminal.with_io(Interest::Read, read)));
                if echo.is_empty() {
                    assert!(probe.poll(reading.as_mut()).is_pending());
                    let write = |mut fd: &File| fd.write(format!("{line}\n").as_bytes());
                    assert_eq!(terminal.with_io(Interest::Write, write).await.unwrap(), 4);
                }
                let n = reading.await.unwrap();
                echo.extend_from_slice(&buffer[..n]);
            }
            assert_eq!(echo, format!("{line}\r\n").as_bytes());
        }
    });
}

/// Returns a TCP stream and a descriptor that watches it for an exceptional condition.
async fn watched_for(interest: Interest) -> (AsyncFd<std::net::TcpStream>, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    (AsyncFd::with_interest(ours, interest).unwrap(), theirs)
}

fn urgent(peer: &std::net::TcpStream) {
    rustix::io::retry_on_intr(|| rustix::net::send(peer, b"!", rustix::net::SendFlags::OOB)).unwrap();
}

#[test]
fn an_urgent_byte_is_told_and_ordinary_ones_are_not() {
    each(async || {
        let (watch, mut peer) = watched_for(Interest::Priority).await;
        let probe = Probe::new();
        let mut ready = Box::pin(watch.ready(Interest::Priority));
        assert!(probe.poll(ready.as_mut()).is_pending());
        peer.write_all(b"ordinary").unwrap();
        while watch.get_ref().peek(&mut [0; 8]).unwrap_or(0) < 8 {
            netpoll_rt::yield_now().await;
        }
        assert!(probe.poll(ready.as_mut()).is_pending(), "nothing out of the ordinary");
        urgent(&peer);
        ready.await.unwrap();
        let read = |fd: &std::net::TcpStream| {
            let mut byte = [0];
            match rustix::io::retry_on_intr(|| rustix::net::recv(fd, &mut byte, rustix::net::RecvFlags::OOB))
            {
                Ok((_, 1)) => Ok(byte[0]),
                // There is none.
                Err(rustix::io::Errno::INVAL) => Err(io::ErrorKind::WouldBlock.into()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(watch.with_io(Interest::Priority, read).await.unwrap(), b'!');
        let mut next = Box::pin(watch.with_io(Interest::Priority, read));
        assert!(probe.poll(next.as_mut()).is_pending());
        urgent(&peer);
        assert_eq!(next.await.unwrap(), b'!');
        watch.set_read_deadline(in_ms(5)).unwrap();
        assert_timed_out(watch.with_io(Interest::Priority, read).await);
    });
}

/// Reads of it are always ready.
#[test]
fn a_change_of_the_mounts_is_waited_for() {
    each(async || {
        let open = || File::open("/proc/self/mountinfo").unwrap();
        if Poller::NAME == "epoll" {
            // The other backend refuses what is always ready.
            let always = AsyncFd::new(open()).unwrap();
            always.readable().await.unwrap();
            always.ready(Interest::Read).await.unwrap();
        }
        let mounts = AsyncFd::with_interest(open(), Interest::Priority).unwrap();
        let mut changed = Box::pin(mounts.ready(Interest::Priority));
        assert!(Probe::new().poll(changed.as_mut()).is_pending());
        // Changing them needs a privilege. The deadline shows that there was no change.
        mounts.set_read_deadline(in_ms(5)).unwrap();
        assert_timed_out(changed.await);
    });
}

#[test]
fn an_error_is_told_by_itself() {
    each(async || {
        let (reader, writer) = io::pipe().unwrap();
        let writer = AsyncFd::with_interest(writer, Interest::Error).unwrap();
        let mut error = Box::pin(writer.ready(Interest::Error));
        assert!(Probe::new().poll(error.as_mut()).is_pending(), "there is room to write, which is not asked");
        drop(reader);
        error.await.unwrap();
        writer.ready(Interest::Error).await.unwrap();
    });
}

#[test]
fn an_interest_that_is_not_watched_for_is_refused() {
    each(async || {
        let (special, _peer) = watched_for(Interest::Error).await;
        let ordinary = AsyncFd::new(io::pipe().unwrap().0).unwrap();
        let (stream, _other) = netpoll_rt::net::UnixStream::pair().unwrap();
        let refused = [
            special.readable().await,
            special.writable().await,
            special.ready(Interest::Priority).await,
            special.with_io(Interest::Write, |_| Ok(())).await,
            ordinary.ready(Interest::Priority).await,
            ordinary.with_io(Interest::Error, |_| Ok(())).await,
            stream.with_io(Interest::Priority, |_| Ok(())).await,
        ];
        for error in refused.map(Result::unwrap_err) {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains("duplicate"), "{error}");
        }
    });
}
