// 2:24: error: unknown argument `flavor`; the arguments are `workers`, `name`, `paused` and `crate`
#[netpoll_macros::main(flavor = "current_thread")]
async fn main() {}
