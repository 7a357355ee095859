//! sqlx, tokio-postgres and deadpool on PostgreSQL.

use std::time::Duration;

use deadpool_postgres::{Config, PoolError, Runtime, Timeouts};
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_app::{BoxError, web};
use tokio_postgres::NoTls;

use crate::{servers, within};

const USER: &str = "postgres://postgres@";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlx_queries_through_its_pool() -> Result<(), BoxError> {
    within(async {
        let Some(server) = servers::postgres().await? else { return Ok(()) };
        let options = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(30));
        let pool = options.connect(&server.url(USER)).await?;
        sqlx::query("CREATE TABLE words (n INT PRIMARY KEY, word TEXT NOT NULL)").execute(&pool).await?;
        let mut inserts = JoinSet::new();
        for n in 0..200 {
            let pool = pool.clone();
            inserts.spawn(async move {
                let insert =
                    sqlx::query("INSERT INTO words VALUES ($1, $2)").bind(n).bind("w".repeat(n as usize));
                insert.execute(&pool).await.unwrap().rows_affected()
            });
        }
        assert_eq!(inserts.join_all().await.iter().sum::<u64>(), 200);
        let mut transaction = pool.begin().await?;
        sqlx::query("DELETE FROM words").execute(&mut *transaction).await?;
        transaction.rollback().await?;
        let rows: Vec<(i32, String)> =
            sqlx::query_as("SELECT n, word FROM words ORDER BY n").fetch_all(&pool).await?;
        assert_eq!(rows, (0..200).map(|n| (n, "w".repeat(n as usize))).collect::<Vec<_>>());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen("news").await?;
        sqlx::query("SELECT pg_notify('news', 'one')").execute(&pool).await?;
        assert_eq!(listener.recv().await?.payload(), "one");
        drop(listener);
        let error = sqlx::query("SELECT nothing").execute(&pool).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), "42703");
        pool.close().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn sqlx_gives_up_on_a_pool_that_is_in_use() -> Result<(), BoxError> {
    within(async {
        let Some(server) = servers::postgres().await? else { return Ok(()) };
        let options = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_millis(500));
        let pool = options.connect(&server.url(USER)).await?;
        let held = pool.acquire().await?;
        let error = pool.acquire().await.unwrap_err();
        assert!(matches!(error, sqlx::Error::PoolTimedOut), "{error:?}");
        drop(held);
        // The pages of axum, with the only connection.
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/query", listener.local_addr()?);
        let site = tokio::spawn(axum::serve(listener, web::router(Some(pool.clone()))).into_future());
        let page = reqwest::get(&url).await?.error_for_status()?.text().await?;
        assert_eq!(page.lines().last(), Some("row 10"));
        site.abort();
        pool.close().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn tokio_postgres_pipelines_and_cancels() -> Result<(), BoxError> {
    within(async {
        let Some(server) = servers::postgres().await? else { return Ok(()) };
        let (client, connection) = tokio_postgres::connect(&server.url(USER), NoTls).await?;
        let connection = tokio::spawn(connection);
        let statement = client.prepare("SELECT $1 + 1").await?;
        // Pipelined: all are sent before the first answer is read.
        let queries = (0..1000).map(|n: i32| {
            let (client, statement) = (&client, &statement);
            async move { Ok::<i32, tokio_postgres::Error>(client.query_one(statement, &[&n]).await?.get(0)) }
        });
        let answers = futures_util::future::try_join_all(queries).await?;
        assert_eq!(answers, (1..=1000).collect::<Vec<_>>());
        let cancel = client.cancel_token();
        let (slept, cancelled) = tokio::join!(client.batch_execute("SELECT pg_sleep(3600)"), async {
            // The server forgets a cancel that comes before the query has begun.
            let (watcher, connection) = tokio_postgres::connect(&server.url(USER), NoTls).await?;
            let connection = tokio::spawn(connection);
            let asleep = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            while watcher.query_opt(asleep, &[]).await?.is_none() {
                tokio::task::yield_now().await;
            }
            drop(watcher);
            connection.await??;
            Ok::<_, BoxError>(cancel.cancel_query(NoTls).await?)
        });
        cancelled?;
        assert_eq!(slept.unwrap_err().code().unwrap().code(), "57014");
        drop(client);
        Ok(connection.await??)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deadpool_shares_connections() -> Result<(), BoxError> {
    within(async {
        let Some(server) = servers::postgres().await? else { return Ok(()) };
        let mut config = Config { url: Some(server.url(USER) + "/postgres"), ..Config::default() };
        config.pool = Some(deadpool_postgres::PoolConfig::new(2));
        let pool = config.create_pool(Some(Runtime::Tokio1), NoTls)?;
        let mut queries = JoinSet::new();
        for n in 0..100i32 {
            let pool = pool.clone();
            queries.spawn(async move {
                let client = pool.get().await.unwrap();
                let statement = client.prepare_cached("SELECT $1 * 2").await.unwrap();
                client.query_one(&statement, &[&n]).await.unwrap().get::<_, i32>(0)
            });
        }
        assert_eq!(queries.join_all().await.iter().sum::<i32>(), 9900);
        assert!(pool.status().size <= 2);
        let held = (pool.get().await?, pool.get().await?);
        let timeouts = Timeouts { wait: Some(Duration::from_millis(50)), ..Timeouts::default() };
        let error = pool.timeout_get(&timeouts).await.err().unwrap();
        assert!(matches!(error, PoolError::Timeout(_)), "{error:?}");
        drop(held);
        Ok(())
    })
    .await
}
