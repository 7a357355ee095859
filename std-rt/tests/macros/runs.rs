//! Functions under the attributes run, on the runtime that the arguments describe.

use std::io;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::{Handle, time};

/// Returns the name of the thread that runs a spawned task.
async fn worker_name() -> Option<String> {
    let name = || thread::current().name().map(str::to_owned);
    netpoll_rt::spawn(async move { name() }).await.expect("the task does not panic")
}

fn workers() -> usize {
    Handle::try_current().map_or(0, |handle| handle.metrics().workers)
}

#[netpoll_rt::test]
async fn test_has_one_worker_on_its_own_thread() {
    assert_eq!(workers(), 1);
    assert_eq!(worker_name().await, thread::current().name().map(str::to_owned));
}

#[netpoll_rt::test(workers = 3, name = "threads")]
async fn test_has_the_workers_and_the_name_that_it_asks_for() {
    assert_eq!(workers(), 3);
    let name = worker_name().await.expect("a worker's thread has a name");
    assert!(name.starts_with("threads-"), "{name}");
}

#[netpoll_rt::test]
async fn test_may_return_a_result() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    client.write_all(b"hello").await?;
    let mut buffer = [0; 5];
    server.read_exact(&mut buffer).await?;
    assert_eq!(&buffer, b"hello");
    Ok(())
}

#[netpoll_rt::test(paused, name = "still")]
async fn test_may_have_a_paused_clock() {
    let start = time::now();
    time::sleep(Duration::from_secs(3600)).await; // time is tested
    assert_eq!((workers(), time::now() - start), (1, Duration::from_secs(3600)));
}

#[netpoll_rt::test(workers = 2, paused)]
#[should_panic(expected = "needs a runtime of workers(1)")]
async fn test_with_workers_has_no_paused_clock() {}

#[netpoll_rt::test]
#[should_panic(expected = "of the test")]
async fn test_may_be_one_that_panics() {
    panic!("of the test");
}

/// The documentation stays on the function.
#[netpoll_rt::main]
pub(crate) async fn on_the_default_runtime() -> Result<usize, String> {
    if worker_name().await.is_none_or(|name| !name.starts_with("netpoll-worker-")) {
        return Err("the worker is not one of the default runtime".into());
    }
    Ok(workers())
}

#[netpoll_rt::main(workers = 1)]
async fn on_this_thread() -> Option<String> {
    worker_name().await
}

#[netpoll_rt::main(workers = 2, name = "own", crate = "self::elsewhere::renamed")]
async fn on_a_runtime_with_a_name() -> impl Into<Option<String>> {
    worker_name().await
}

#[netpoll_rt::main(crate = elsewhere::renamed)]
async fn by_a_path() -> usize {
    workers()
}

mod elsewhere {
    pub use netpoll_rt as renamed;
}

#[test]
fn main_without_arguments_runs_on_the_default_runtime() {
    let workers = netpoll_rt::block_on(async { workers() });
    assert_eq!(on_the_default_runtime(), Ok(workers));
    assert_eq!(by_a_path(), workers);
}

#[test]
fn main_with_arguments_has_a_runtime_of_its_own() {
    assert_eq!(on_this_thread(), thread::current().name().map(str::to_owned));
    let name: Option<String> = on_a_runtime_with_a_name().into();
    assert!(name.is_some_and(|name| name.starts_with("own-")));
}

macro_rules! generated {
    ($visible:vis $name:ident -> $value:ty $body:block) => {
        #[netpoll_rt::main(workers = 1)]
        $visible async fn $name() -> $value $body
    };
}

generated!(pub generated -> usize { workers() });

#[test]
fn main_may_come_from_a_macro() {
    assert_eq!(generated(), 1);
}
