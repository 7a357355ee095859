// 4:41: error[E0308]: mismatched types
use std::future::Future;
#[netpoll_macros::main(crate = "crate")]
async fn main() -> Result<(), String> { 5 }

fn block_on<F: Future>(_: F) -> F::Output {
    std::process::abort()
}
