// 2:31: error: `paused` takes no value
#[netpoll_macros::main(paused = true)]
async fn main() {}
