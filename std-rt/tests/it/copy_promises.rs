//! The promises of a copy beside its bytes: where it ends, which calls of other tasks it never splits, the state that it leaves when
//! it is dropped, which side its errors name, and that it raises no signal.

use std::io::{ErrorKind, SeekFrom, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use crate::common::*;
use futures_lite::future::poll_once;
use netpoll_rt::fs::File;
use netpoll_rt::io::{CopyError, Side, copy};
use netpoll_rt::net::pipe::pipe;
use netpoll_rt::net::{TcpStream, UnixStream};
use netpoll_rt::signal::{SignalKind, signal};
use netpoll_rt::{JoinHandle, spawn, yield_now};

struct Temporary(PathBuf);

impl Temporary {
    fn of(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("netpoll-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }

    async fn open(&self) -> File {
        File::open(&self.0).await.unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

/// Returns a task that reads to the end, and lets others run between two reads so that the sink is full now and then.
fn collecting(stream: Arc<TcpStream>) -> JoinHandle<Vec<u8>> {
    spawn(async move {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 30_000]);
        loop {
            match stream.read(&mut buffer).await.unwrap() {
                0 => return all,
                n => all.extend_from_slice(&buffer[..n]),
            }
            for _ in 0..3 {
                yield_now().await;
            }
        }
    })
}

#[test]
fn copy_with_urgent_data_and_the_end_queued_delivers_every_byte() {
    each(async || {
        // Where the mark stands: within the first read, at the end of it, where the copy splices.
        for before in [0, 100, 16 * 1024, 48 * 1024] {
            for behind in [0, 1, 4 * 1024, 20 * 1024] {
                let ((from, mut peer), (to, sink)) = (pair_with_std().await, pair().await);
                let seen = from.clone();
                peer.write_all(&vec![b'a'; before]).unwrap();
                kernel::send_urgent(peer.as_fd(), b'!').unwrap();
                peer.write_all(&vec![b'b'; behind]).unwrap();
                peer.shutdown(Shutdown::Write).unwrap();
                // Until the end of the stream is queued behind the bytes; a peek stops at the mark.
                until("the end has come", || {
                    netpoll_rt::internal::sys::unix::is_read_ended(seen.as_fd()).unwrap()
                })
                .await;
                let collected = collecting(sink);
                assert_eq!(copy(&from, &to).await.unwrap(), (before + behind) as u64);
                drop(to);
                let expected = [vec![b'a'; before], vec![b'b'; behind]].concat();
                assert!(
                    collected.await.unwrap() == expected,
                    "{before} bytes before the mark, {behind} behind"
                );
            }
        }
    });
}

/// Runs of equal bytes.
fn runs(bytes: &[u8]) -> Vec<(u8, usize)> {
    bytes.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}

#[test]
fn copy_of_a_file_never_comes_into_the_middle_of_a_write_all() {
    each(async || {
        const LONG: usize = 1_000_000;
        const SHORT: usize = 1000;
        const TIMES: usize = 3;
        let path = Temporary::of("short", &[b'F'; SHORT]);
        let (to, sink) = pair().await;
        let collected = collecting(sink);
        let mut writing = Vec::new();
        for name in *b"ABC" {
            let to = to.clone();
            writing.push(spawn(async move {
                for _ in 0..TIMES {
                    to.write_all(&vec![name; LONG]).await.unwrap();
                }
            }));
        }
        let copying = {
            let (to, file) = (to.clone(), path.open().await);
            spawn(async move {
                let mut copies = 0;
                while !writing.iter().all(JoinHandle::is_finished) {
                    file.seek(SeekFrom::Start(0)).await.unwrap();
                    assert_eq!(copy(&file, &to).await.unwrap(), SHORT as u64);
                    copies += 1;
                }
                copies
            })
        };
        let copies: usize = copying.await.unwrap();
        to.shutdown(Shutdown::Write).unwrap();
        let all = collected.await.unwrap();
        assert_eq!(all.len(), TIMES * 3 * LONG + copies * SHORT);
        for (byte, length) in runs(&all) {
            let piece = if byte == b'F' { SHORT } else { LONG };
            assert_eq!(length % piece, 0, "{length} times {}", char::from(byte));
        }
    });
}

#[test]
fn a_dropped_copy_of_a_file_sends_nothing_more_and_loses_nothing() {
    each(async || {
        const MARK: usize = 100_000;
        let random = &mut fastrand::Rng::with_seed(11);
        let bytes: Vec<u8> = (0..5_000_000).map(|_| random.u8(..255)).collect();
        let path = Temporary::of("dropped", &bytes);
        let file = path.open().await;
        let (to, sink) = pair().await;
        let collected = collecting(sink);
        let (mut ended, mut drops) = (false, 0);
        while !ended {
            let mut copying = Box::pin(copy(&file, &to));
            // The first one is dropped before its first poll; in time each gets further than the one before.
            for _ in 0..random.usize(0..=drops) {
                if let Some(copied) = poll_once(copying.as_mut()).await {
                    copied.unwrap();
                    ended = true;
                    break;
                }
                yield_now().await;
                std::thread::yield_now();
            }
            if !ended {
                drops += 1;
            }
            // Dropped here, whichever way it is: in the hands of a thread, in the pipe, in the queue of the sink.
            drop(copying);
            to.write_all(&[255; MARK]).await.unwrap();
        }
        to.shutdown(Shutdown::Write).unwrap();
        let all = collected.await.unwrap();
        let marks = runs(&all).into_iter().filter(|(byte, _)| *byte == 255);
        let marks: Vec<usize> = marks.map(|(_, length)| length).collect();
        assert!(marks.iter().all(|length| length % MARK == 0), "{marks:?}");
        let copied: Vec<u8> = all.into_iter().filter(|byte| *byte != 255).collect();
        assert!(copied == bytes, "{} bytes of {} after {drops} drops", copied.len(), bytes.len());
        assert_eq!(file.seek(SeekFrom::Current(0)).await.unwrap(), bytes.len() as u64);
    });
}

#[test]
fn a_copy_from_a_file_that_cannot_be_read_names_the_source() {
    each(async || {
        let path = Temporary::of("write-only", b"bytes");
        let (tcp, _peer) = pair().await;
        let (unix, _other) = UnixStream::pair().unwrap();
        let (_reader, writer) = pipe().unwrap();
        let sink = Temporary::of("sink", b"");
        let into = File::create(&sink.0).await.unwrap();
        for to in 0..4 {
            let from = File::open_with(std::fs::OpenOptions::new().write(true), &path.0).await.unwrap();
            let copied = match to {
                0 => copy(&from, &tcp).await,
                1 => copy(&from, &unix).await,
                2 => copy(&from, &writer).await,
                _ => copy(&from, &into).await,
            };
            let error = copied.unwrap_err();
            let told = CopyError::of(&error).unwrap();
            assert_eq!((told.side(), told.copied()), (Side::First, 0), "{error}");
        }
    });
}

#[test]
fn a_copy_to_a_socket_that_is_gone_raises_no_sigpipe() {
    let kind = SignalKind::from_raw(13);
    each(async || {
        let file = Temporary::of("to-nobody", &[7; 100_000]);
        let told = signal(kind).unwrap();
        let mut told = pin!(told.recv());
        assert!(poll_once(told.as_mut()).await.is_none());
        for from_file in [true, false] {
            let (to, peer) = UnixStream::pair().unwrap();
            let (from, feeder) = UnixStream::pair().unwrap();
            let (gone, tcp_peer) = pair().await;
            feeder.write_all(&[7; 100_000]).await.unwrap();
            drop((peer, tcp_peer));
            gone.shutdown(Shutdown::Write).unwrap();
            let copies = if from_file {
                [copy(&file.open().await, &to).await, copy(&file.open().await, &gone).await]
            } else {
                [copy(&from, &to).await, copy(&from, &gone).await]
            };
            for copied in copies {
                assert_eq!(copied.unwrap_err().kind(), ErrorKind::BrokenPipe);
            }
        }
        // A handler runs before the call returns, so it would have been told by now.
        assert!(poll_once(told.as_mut()).await.is_none(), "no SIGPIPE came");
        // A pipe raises it, as every write to one does.
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        assert_eq!(copy(&file.open().await, &writer).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        told.await.unwrap();
    });
}
