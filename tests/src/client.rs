//! Connections to a node or to PostgreSQL.

use std::process::{Command, Output, Stdio};

use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// Where to connect and as whom. Always on the loopback address.
#[derive(Debug, Clone)]
pub struct Server {
    /// Port.
    pub port: u16,
    /// Role.
    pub user: String,
    /// Database.
    pub database: String,
    /// Password, when one is asked for.
    pub password: Option<String>,
}

impl Server {
    /// The same server with another database.
    pub fn database(&self, name: &str) -> Server {
        Server { database: name.to_owned(), ..self.clone() }
    }

    /// For tokio-postgres.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user(&self.user).dbname(&self.database);
        config.connect_timeout(std::time::Duration::from_secs(30));
        if let Some(password) = &self.password {
            config.password(password);
        }
        config
    }

    /// For libpq and JDBC-like clients.
    pub fn uri(&self) -> String {
        format!("postgresql://{}@127.0.0.1:{}/{}", self.user, self.port, self.database)
    }

    /// Connects.
    ///
    /// # Errors
    /// As tokio-postgres reports them.
    pub async fn try_connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config().connect(NoTls).await?;
        tokio::spawn(async move {
            // What ends the connection also fails the client's next call.
            let _ = connection.await;
        });
        Ok(client)
    }

    /// Connects, or fails the test.
    pub async fn connect(&self) -> Client {
        self.try_connect().await.unwrap_or_else(|why| panic!("cannot connect to {}: {why}", self.uri()))
    }

    /// Runs psql with the arguments.
    pub fn psql(&self, args: &[&str]) -> Output {
        let mut command = Command::new("psql");
        command.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", &self.uri()]).args(args).stdin(Stdio::null());
        command.env("PGPASSWORD", self.password.as_deref().unwrap_or_default()).env("PGCONNECT_TIMEOUT", "30");
        command.output().expect("psql is installed: run scripts/setup.sh test")
    }

    /// Runs SQL by psql, unaligned and without headings; its output, or the test fails.
    pub fn sql(&self, sql: &str) -> String {
        let output = self.psql(&["-qAtc", sql]);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{sql}\n{err}");
        out.trim_end().to_owned()
    }
}

/// SQLSTATE of an error, or what it says when it has none.
pub fn sqlstate(error: &tokio_postgres::Error) -> String {
    error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned())
}

/// Rows of the last statement of a simple query as text, `NULL` for null; an error gives its SQLSTATE.
///
/// # Errors
/// The SQLSTATE of what failed.
pub async fn rows(client: &Client, sql: &str) -> Result<Vec<Vec<String>>, String> {
    let messages = client.simple_query(sql).await.map_err(|error| sqlstate(&error))?;
    let mut rows = Vec::new();
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(_) => rows.clear(),
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned()).collect());
            }
            _ => {}
        }
    }
    Ok(rows)
}
