// 2:37: error: `workers` is given twice
#[netpoll_macros::main(workers = 1, workers = 2)]
async fn main() {}
