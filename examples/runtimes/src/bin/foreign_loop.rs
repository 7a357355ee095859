//! A single-threaded runtime of futures inside a loop that is not ours, as a desktop program or a game has one: the loop of
//! `calloop` draws frames, and polls the descriptor of netpoll's poller beside its own.
//!
//! The program serves echoes in that thread. A second thread is the client, which compares every byte and then ends the loop.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Interest, PostAction};
use netpoll_rt::poll::{Buffer, Mode, Modes, Poller, Registration};

/// The time between two frames.
const FRAME: Duration = Duration::from_millis(16);
/// The time for which a connection may be silent.
const IDLE: Duration = Duration::from_millis(300);
const CONNECTIONS: usize = 20;
const MESSAGES: usize = 200;

type Task = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// The numbers of the tasks that can go on.
#[derive(Default)]
struct Ready(Mutex<VecDeque<usize>>);

impl Ready {
    fn lock(&self) -> MutexGuard<'_, VecDeque<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waker of a task.
struct TaskWaker {
    number: usize,
    poller: Arc<Poller>,
    thread: ThreadId,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.lock().push_back(self.number);
        // A wake by another thread has to end the sleep of the loop.
        if thread::current().id() != self.thread {
            self.poller.wake();
        }
    }
}

/// The tasks of this thread, by their numbers.
struct Tasks {
    poller: Arc<Poller>,
    tasks: RefCell<BTreeMap<usize, Task>>,
    spawned: Cell<usize>,
    ready: Arc<Ready>,
}

impl Tasks {
    fn new(poller: Arc<Poller>) -> Rc<Self> {
        Rc::new(Self { poller, tasks: RefCell::default(), spawned: Cell::new(0), ready: Arc::default() })
    }

    fn spawn(&self, task: impl Future<Output = io::Result<()>> + 'static) {
        let number = self.spawned.replace(self.spawned.get() + 1);
        self.tasks.borrow_mut().insert(number, Box::pin(task));
        self.ready.lock().push_back(number);
    }

    /// Polls the tasks that can go on.
    fn run(&self) {
        loop {
            let next = self.ready.lock().pop_front();
            let Some(number) = next else { return };
            // A task that has ended may still be woken. It is taken out, because it may spawn others.
            let Some(mut task) = self.tasks.borrow_mut().remove(&number) else { continue };
            let (poller, ready) = (self.poller.clone(), self.ready.clone());
            let waker =
                Waker::from(Arc::new(TaskWaker { number, poller, thread: thread::current().id(), ready }));
            match task.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => drop(self.tasks.borrow_mut().insert(number, task)),
                Poll::Ready(result) => result.unwrap_or_else(|error| eprintln!("task {number}: {error}")),
            }
        }
    }
}

async fn serve(tasks: Rc<Tasks>, listener: Registration<TcpListener>) -> io::Result<()> {
    loop {
        let accept = poll_fn(|cx| listener.poll_io(Mode::Read, cx.waker(), TcpListener::accept));
        let (stream, _) = accept.await?;
        stream.set_nonblocking(true)?;
        let stream = tasks.poller.register(stream)?;
        // The client judges the end of a connection.
        tasks.spawn(async move {
            let _ = echo(&stream).await;
            Ok(())
        });
    }
}

async fn echo(stream: &Registration<TcpStream>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        stream.set_deadline(Modes::READ, Some(Instant::now() + IDLE))?;
        let read =
            poll_fn(|cx| stream.poll_io(Mode::Read, cx.waker(), |mut stream| stream.read(&mut buffer)));
        let mut left = match read.await? {
            0 => return Ok(()),
            n => &buffer[..n],
        };
        while !left.is_empty() {
            let write =
                poll_fn(|cx| stream.poll_io(Mode::Write, cx.waker(), |mut stream| stream.write(left)));
            left = &left[write.await?..];
        }
    }
}

/// Compares the answers to its messages, on connections that are then silent until the server cuts them off.
fn client(address: SocketAddr) -> io::Result<()> {
    let connect = |_| TcpStream::connect(address);
    let mut streams = (0..CONNECTIONS).map(connect).collect::<io::Result<Vec<_>>>()?;
    for message in 0..MESSAGES {
        let sent: Vec<u8> = (0..=message * 7).map(|at| (at ^ message) as u8).collect();
        streams.iter_mut().try_for_each(|stream| stream.write_all(&sent))?;
        for stream in &mut streams {
            let mut answer = vec![0; sent.len()];
            stream.read_exact(&mut answer)?;
            if answer != sent {
                return Err(io::Error::other(format!("message {message} came back changed")));
            }
        }
    }
    let rest = streams.iter_mut().map(|stream| stream.read(&mut [0; 1]));
    if rest.sum::<io::Result<usize>>()? == 0 { Ok(()) } else { Err(io::Error::other("an answer to nothing")) }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let poller = Arc::new(Poller::new()?);
    let tasks = Tasks::new(poller.clone());
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    tasks.spawn(serve(tasks.clone(), poller.register(listener)?));

    let (done, result) = async_channel::bounded(1);
    thread::spawn(move || done.send_blocking(client(address)));
    let checked = Rc::new(Cell::new(None));
    tasks.spawn({
        let checked = checked.clone();
        async move {
            checked.set(Some(result.recv().await.map_err(io::Error::other)?));
            Ok(())
        }
    });

    // The loop of the program. Its data is the number of frames.
    let mut outer = EventLoop::<u32>::try_new()?;
    outer.handle().insert_source(Timer::from_duration(FRAME), |_, _, frames| {
        *frames += 1;
        TimeoutAction::ToDuration(FRAME)
    })?;
    // The descriptor only ends the sleep.
    let descriptor = Generic::new(poller.descriptor()?, Interest::READ, calloop::Mode::Level);
    let watched = outer.handle().insert_source(descriptor, |_, _, _| Ok(PostAction::Continue));
    watched.map_err(|refused| refused.error)?;

    let (mut frames, mut buffer) = (0, Buffer::new());
    loop {
        tasks.run();
        if checked.take().transpose()?.is_some() {
            break;
        }
        outer.dispatch(poller.prepare_wait(), &mut frames)?;
        poller.poll(Some(Duration::ZERO), &mut buffer)?;
        buffer.drain().for_each(Waker::wake);
    }
    println!(
        "{} messages compared, {CONNECTIONS} silent connections cut off, {frames} frames drawn",
        CONNECTIONS * MESSAGES
    );
    if frames > 0 { Ok(()) } else { Err("no frame was drawn".into()) }
}
