//! What Linux lets one wait for besides sockets and pipes, each inside an [`AsyncFd`].

#![cfg(any(target_os = "linux", target_os = "android"))]

mod common;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use netpoll_rt::net::{AsyncFd, Interest};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, WaitIdOptions, pidfd_open};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};

/// Eight bytes: how often it has happened.
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
        // The master's side. Nobody has the other open: its line discipline answers all the same, with an echo.
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
