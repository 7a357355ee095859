//! redis, fred and bb8 on a server of Redis.

use std::time::Duration;

use bb8::{ManageConnection, Pool, RunError};
use fred::interfaces::{ClientLike, KeysInterface};
use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;
use redis::{AsyncTypedCommands, Client, RedisError, cmd};
use tokio::task::JoinSet;
use tokio_app::BoxError;

use crate::{servers, within};

async fn commands() -> Result<(), BoxError> {
    let Some(server) = servers::redis().await? else { return Ok(()) };
    let client = Client::open(server.url("redis://"))?;
    let connection = client.get_multiplexed_async_connection().await?;
    let value = "v".repeat(100_000);
    let mut tasks = JoinSet::new();
    for n in 0..100 {
        let (mut connection, value) = (connection.clone(), value.clone());
        tasks.spawn(async move {
            let key = format!("key {n}");
            connection.set(&key, &value).await.unwrap();
            connection.get(&key).await.unwrap() == Some(value)
        });
    }
    assert_eq!(tasks.join_all().await, vec![true; 100]);
    let mut listener = client.get_async_pubsub().await?;
    listener.subscribe("news").await?;
    assert_eq!(connection.clone().publish("news", "one").await?, 1);
    let message = listener.on_message().next().await.ok_or("no message")?;
    assert_eq!(message.get_payload::<String>()?, "one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_answers_commands_on_four_workers() -> Result<(), BoxError> {
    within(commands()).await
}

#[tokio::test]
async fn redis_answers_commands_on_the_current_thread() -> Result<(), BoxError> {
    within(commands()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fred_answers_commands_of_its_pool() -> Result<(), BoxError> {
    within(async {
        let Some(server) = servers::redis().await? else { return Ok(()) };
        let config = fred::types::config::Config::from_url(&server.url("redis://"))?;
        let pool = fred::types::Builder::from_config(config).build_pool(4)?;
        pool.init().await?;
        let mut tasks = JoinSet::new();
        for n in 0..200i64 {
            let pool = pool.clone();
            tasks.spawn(async move {
                let key = format!("key {n}");
                let () = pool.set(&key, n, None, None, false).await.unwrap();
                pool.get::<i64, _>(&key).await.unwrap()
            });
        }
        assert_eq!(tasks.join_all().await.iter().sum::<i64>(), 19_900);
        Ok(pool.quit().await?)
    })
    .await
}

/// Opens and checks the connections of bb8's pool.
struct Manager(Client);

impl ManageConnection for Manager {
    type Connection = MultiplexedConnection;
    type Error = RedisError;

    async fn connect(&self) -> Result<Self::Connection, RedisError> {
        self.0.get_multiplexed_async_connection().await
    }

    async fn is_valid(&self, connection: &mut Self::Connection) -> Result<(), RedisError> {
        cmd("PING").exec_async(connection).await
    }

    fn has_broken(&self, _: &mut Self::Connection) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bb8_shares_connections() -> Result<(), BoxError> {
    within(async {
        let Some(server) = servers::redis().await? else { return Ok(()) };
        let manager = Manager(Client::open(server.url("redis://"))?);
        let builder = Pool::builder().max_size(2).connection_timeout(Duration::from_secs(20));
        let pool = builder.build(manager).await?;
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            let pool = pool.clone();
            tasks.spawn(async move { pool.get().await.unwrap().incr("count", 1).await.unwrap() });
        }
        assert_eq!(tasks.join_all().await.into_iter().max(), Some(100));
        assert!(pool.state().connections <= 2);
        let manager = Manager(Client::open(server.url("redis://"))?);
        let pool =
            Pool::builder().max_size(1).connection_timeout(Duration::from_millis(300)).build(manager).await?;
        let held = pool.get().await?;
        assert!(matches!(pool.get().await, Err(RunError::TimedOut)));
        drop(held);
        pool.get().await?.incr("count", 1).await?;
        Ok(())
    })
    .await
}
