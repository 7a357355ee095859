// 2:34: error: `workers` takes a number from 1 to 256
#[netpoll_macros::main(workers = 257)]
async fn main() {}
