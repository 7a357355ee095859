//! Copies while the kernel refuses calls, moves less than asked or runs out of descriptors: each byte arrives once.

use std::io::SeekFrom;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Wake, Waker};

use crate::common::*;
use netpoll_core::Modes;
use netpoll_rt::fs::File;
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::sys::Call;
use netpoll_rt::internal::sys::inject::{self, Errno, Rule, Table};
use netpoll_rt::io::{CopyError, CopyFrom, Side, copy};
use netpoll_rt::spawn;

const LENGTH: usize = 3_000_000;

/// The refusals of a kernel, and `EPERM`, the refusal of a filter of system calls.
const REFUSALS: [Errno; 4] = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM];

fn noise() -> &'static [u8] {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    NOISE.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(7);
        (0..LENGTH).map(|_| random.u8(..)).collect()
    })
}

/// Copies from a source that has the noise to a connection whose other end checks it.
async fn arrives(from: &impl CopyFrom) {
    let (to, sink) = pair().await;
    let checking = spawn(async move {
        let mut all = vec![0; LENGTH];
        sink.read_exact(&mut all).await.unwrap();
        assert!(all == noise());
        assert_eq!(sink.read(&mut [0]).await.unwrap(), 0, "and nothing more");
    });
    assert_eq!(copy(from, &to).await.unwrap(), LENGTH as u64);
    drop(to);
    checking.await.unwrap();
}

/// Copies from one connection to another under the rules, each of which must have been hit.
async fn spliced(rules: impl IntoIterator<Item = Rule>) {
    let (from, feeder) = pair().await;
    let feeding = spawn(async move { feeder.write_all(noise()).await.unwrap() });
    let installed = rules.into_iter().fold(Table::new(7), Table::rule).install();
    arrives(&from).await;
    drop(installed);
    feeding.await.unwrap();
}

#[test]
fn splicing_is_refused_before_or_on_the_way() {
    each(async || {
        for errno in REFUSALS {
            for call in [Call::SpliceIn, Call::SpliceOut] {
                for n in 1..=3 {
                    spliced([Rule::error(call, errno).nth(n)]).await;
                }
            }
        }
    });
}

#[test]
fn the_rest_in_the_pipe_is_written_by_hand() {
    each(async || {
        // A short splice leaves some in the pipe, and then the sink refuses.
        spliced([
            Rule::short_to(Call::SpliceOut, 1000).first(3),
            Rule::error(Call::SpliceOut, Errno::INVAL).nth(3),
        ])
        .await;
        // Reading it back is cut short too.
        spliced([Rule::error(Call::SpliceOut, Errno::INVAL).nth(2), Rule::short(Call::Read)]).await;
    });
}

#[test]
fn no_descriptors_for_a_pipe() {
    each(async || {
        for errno in [Errno::MFILE, Errno::NFILE] {
            spliced([Rule::error(Call::Pipe, errno)]).await;
            let netpoll = Netpoll::current().unwrap();
            assert_eq!((netpoll.pipes().made.get(), netpoll.pipes().spliced.get()), (0, 0));
        }
    });
}

#[test]
fn short_splices_and_none() {
    each(async || {
        spliced([Call::SpliceIn, Call::SpliceOut, Call::Send].map(Rule::short)).await;
        // So little comes at a time that nothing is spliced.
        spliced([Call::Recv, Call::Send].map(Rule::short)).await;
        spliced([Call::SpliceIn, Call::SpliceOut].map(|call| Rule::error(call, Errno::AGAIN).repeat(2)))
            .await;
        spliced([Call::SpliceIn, Call::SpliceOut].map(|call| Rule::error(call, Errno::INTR).before_each()))
            .await;
    });
}

struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("netpoll-{}-door", std::process::id()));
        std::fs::write(&path, noise()).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn sending_a_file_is_refused_before_or_on_the_way() {
    each(async || {
        let file = Temporary::new();
        for errno in REFUSALS {
            for n in 1..=3 {
                let installed = Table::new(7)
                    .rule(Rule::short_to(Call::SendFile, 10_000))
                    .rule(Rule::error(Call::SendFile, errno).nth(n))
                    .install();
                arrives(&File::open(&file.0).await.unwrap()).await;
                drop(installed);
            }
        }
        for rule in [
            Rule::short(Call::SendFile),
            Rule::error(Call::SendFile, Errno::AGAIN).repeat(2),
            Rule::error(Call::SendFile, Errno::INTR).before_each(),
        ] {
            let installed = Table::new(7).rule(rule).install();
            arrives(&File::open(&file.0).await.unwrap()).await;
            drop(installed);
        }
    });
}

#[test]
fn the_disk_fails() {
    each(async || {
        let file = Temporary::new();
        let (to, _sink) = pair().await;
        let source = File::open(&file.0).await.unwrap();
        let installed = Table::new(7)
            .rule(Rule::short_to(Call::SendFile, 10_000))
            .rule(Rule::error(Call::SendFile, Errno::IO).nth(3))
            .install();
        let error = copy(&source, &to).await.unwrap_err();
        drop(installed);
        let copy = CopyError::of(&error).unwrap();
        assert_eq!((copy.copied(), copy.side()), (20_000, Side::First), "{error}");
    });
}

#[test]
fn no_descriptor_for_the_copy_of_a_file() {
    each(async || {
        let file = Temporary::new();
        for errno in [Errno::MFILE, Errno::NFILE, Errno::PERM] {
            let source = File::open(&file.0).await.unwrap();
            let installed = Table::new(7).rule(Rule::error(Call::Pipe, errno)).install();
            arrives(&source).await;
            assert_eq!(installed.calls(Call::Duplicate), 0, "the sink keeps its one number");
            drop(installed);
        }
    });
}

#[test]
fn a_source_whose_read_fails_is_named() {
    each(async || {
        let file = Temporary::new();
        for errno in [Errno::IO, Errno::BADF, Errno::STALE] {
            let (to, _sink) = pair().await;
            let source = File::open(&file.0).await.unwrap();
            let installed = Table::new(7).rule(Rule::error(Call::SendFile, errno)).install();
            let error = copy(&source, &to).await.unwrap_err();
            drop(installed);
            let copy = CopyError::of(&error).unwrap();
            assert_eq!((copy.copied(), copy.side()), (0, Side::First), "{error}");
        }
    });
}

#[test]
fn a_handshake_on_its_way_is_waited_for() {
    each(async || {
        // The result of the first write of a fast open with a forgotten cookie: nothing was written, and the socket becomes
        // writable when the connection stands.
        let file = Temporary::new();
        for call in [Call::Send, Call::SpliceOut] {
            let (from, feeder) = pair().await;
            let (to, sink) = pair().await;
            let feeding = spawn(async move { feeder.write_all(noise()).await.unwrap() });
            let number = to.as_fd().as_raw_fd();
            let installed =
                Table::new(7).rule(Rule::error(call, Errno::INPROGRESS).on(number).nth(1)).install();
            let path = file.0.clone();
            let copying = spawn(async move {
                match call {
                    Call::Send => copy(&from, &to).await,
                    _ => copy(&File::open(&path).await.unwrap(), &to).await,
                }
            });
            until("the first write was made", || installed.hits(0) == 1).await;
            inject::send(number, Modes::WRITE);
            let mut all = vec![0; LENGTH];
            sink.read_exact(&mut all).await.unwrap();
            assert!(all == noise());
            assert_eq!(copying.await.unwrap().unwrap(), LENGTH as u64);
            drop(installed);
            feeding.abort();
        }
    });
}

#[test]
fn a_file_s_cursor_stands_behind_what_a_buffered_copy_has_sent() {
    each(async || {
        let file = Temporary::new();
        let (to, _sink) = pair().await;
        to.set_send_buffer_size(50_000).unwrap();
        let source = File::open(&file.0).await.unwrap();
        let installed = Table::new(7).rule(Rule::error(Call::SendFile, Errno::PERM)).install();
        to.set_write_deadline(in_ms(100)).unwrap();
        let error = copy(&source, &to).await.unwrap_err();
        drop(installed);
        let copied = CopyError::of(&error).unwrap().copied();
        assert!(0 < copied && copied < LENGTH as u64, "{error}");
        assert_eq!(source.seek(SeekFrom::Current(0)).await.unwrap(), copied);
    });
}

#[test]
fn a_copy_of_a_file_that_was_dropped_on_its_way_sends_nothing() {
    each(async || {
        let file = Temporary::new();
        let (to, sink) = pair().await;
        let source = Arc::new(File::open(&file.0).await.unwrap());
        // The thread that reads the file is held up before its call until the copy has been dropped.
        let (begun, begins) = mpsc::channel();
        let (goes_on, holds) = mpsc::channel::<()>();
        let holds = Mutex::new(holds);
        let installed = Table::new(7)
            .watch(move |entry| {
                if entry.call == Call::SendFile {
                    begun.send(()).unwrap();
                    // Later calls find the other end gone.
                    let _ = holds.lock().unwrap().recv();
                }
            })
            .install();
        let copying = spawn({
            let (source, to) = (source.clone(), to.clone());
            async move { copy(&source, &to).await }
        });
        until("a thread is at it", || begins.try_recv().is_ok()).await;
        copying.abort();
        assert!(copying.await.unwrap_err().is_cancelled());
        to.write_all(b"written after the drop").await.unwrap();
        drop(goes_on);
        assert_eq!(
            source.seek(SeekFrom::Current(0)).await.unwrap(),
            0,
            "the next copy begins where this one did"
        );
        drop(installed);
        to.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        while sink.read_buf(&mut all).await.unwrap() > 0 {}
        assert_eq!(String::from_utf8_lossy(&all), "written after the drop");
    });
}

type Polled = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Polls a future once, on the thread that wakes it.
struct PollsOnWake(Mutex<Option<Polled>>, mpsc::Sender<()>);

impl Wake for PollsOnWake {
    fn wake(self: Arc<Self>) {
        let future = self.0.lock().unwrap().take();
        if let Some(mut future) = future {
            let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            self.1.send(()).unwrap();
        }
    }
}

/// Another task queues for the same direction while the copy makes its write; the waker of that task polls a second copy
/// when it is given the turn, which is within the first copy's call.
#[test]
fn a_waker_may_poll_a_copy_while_another_copy_writes() {
    each(async || {
        let ((from, feeder), (to, sink)) = (pair().await, pair().await);
        let ((second_from, second_feeder), (second_to, second_sink)) = (pair().await, pair().await);
        second_feeder.write_all(b"second").await.unwrap();
        assert_eq!(second_from.peek(&mut [0]).await.unwrap(), 1);
        let (told, polled) = mpsc::channel();
        let second: Polled = Box::pin(async move { drop(copy(&second_from, &second_to).await) });
        let waker = Waker::from(Arc::new(PollsOnWake(Mutex::new(Some(second)), told)));
        let fd = to.as_fd().as_raw_fd();
        let writer = to.clone();
        let queued: Polled = Box::pin(async move { writer.write_all(b" queued").await.unwrap() });
        let places = Arc::new((Mutex::new(Some(queued)), Mutex::new(None)));
        let installed = {
            let places = places.clone();
            Table::new(0).watch(move |entry| {
                let due =
                    (entry.call == Call::Send && entry.fd == fd).then(|| places.0.lock().unwrap().take());
                if let Some(mut queued) = due.flatten() {
                    assert!(queued.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                    *places.1.lock().unwrap() = Some(queued);
                }
            })
        }
        .install();
        feeder.write_all(b"first").await.unwrap();
        feeder.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(copy(&from, &to).await.unwrap(), 5);
        polled.try_recv().expect("the second copy has been polled, and has not panicked");
        drop(installed);
        let queued = places.1.lock().unwrap().take().expect("it queued");
        queued.await;
        let mut bytes = [0; 12];
        sink.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"first queued");
        let mut bytes = [0; 6];
        second_sink.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"second");
    });
}
