//! The peers, and how each serves a program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::options::{App, BoxError, Options};
use crate::process::{Server, free_port};
use crate::{pages, tls, tools};

/// A peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Netpoll,
    Tokio,
    Go,
    Nginx,
    Haproxy,
    Redis,
}

/// The folder of nginx's modules in Debian.
const MODULES: &str = "/usr/lib/nginx/modules";

impl Peer {
    /// All peers in the order of the columns.
    pub const ALL: &[Self] = &[Self::Netpoll, Self::Tokio, Self::Go, Self::Nginx, Self::Haproxy, Self::Redis];

    /// Returns the name in the arguments and the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Netpoll => "netpoll",
            Self::Tokio => "tokio",
            Self::Go => "go",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Redis => "redis",
        }
    }

    /// Returns whether the peer has a program of this kind.
    pub fn serves(self, app: App) -> bool {
        match self {
            Self::Netpoll | Self::Tokio => true,
            // Go has no batches of datagrams in its standard library.
            Self::Go => app != App::DnsMany,
            Self::Nginx => matches!(app, App::Http { .. } | App::Relay),
            Self::Haproxy => app == App::Relay,
            Self::Redis => app == App::Resp,
        }
    }
}

/// The peers that take part.
pub struct Peers {
    pub all: Vec<Peer>,
    go: PathBuf,
}

impl Peers {
    /// Finds the peers with the names in the options, or all if there are none. Says which are not there.
    pub fn find(options: &Options) -> Result<Self, BoxError> {
        if let Some(name) =
            options.peers.iter().find(|name| !Peer::ALL.iter().any(|peer| peer.name() == **name))
        {
            return Err(format!("no peer `{name}`").into());
        }
        let (mut all, go) = (Vec::new(), options.folder.join("go_apps"));
        let is_wanted =
            |peer: &&Peer| options.peers.is_empty() || options.peers.iter().any(|name| name == peer.name());
        for &peer in Peer::ALL.iter().filter(is_wanted) {
            let missing = match peer {
                Peer::Netpoll | Peer::Tokio => None,
                Peer::Go => build_go(&go).err(),
                Peer::Redis => lacks("redis-server"),
                Peer::Nginx | Peer::Haproxy => lacks(peer.name()),
            };
            match missing {
                None => all.push(peer),
                Some(reason) => println!("{} takes no part: {reason}", peer.name()),
            }
        }
        fs::write(options.folder.join("large"), pages::large())?;
        Ok(Self { all, go })
    }

    /// Starts a server.
    pub fn start(&self, peer: Peer, app: App, options: &Options) -> Result<Server, BoxError> {
        let port = free_port()?;
        let folder = options.folder.as_path();
        let command = match peer {
            Peer::Netpoll | Peer::Tokio => {
                return start_ours(Command::new(std::env::current_exe()?), peer, app, options);
            }
            Peer::Go => return start_ours(Command::new(&self.go), peer, app, options),
            Peer::Nginx => {
                let file = folder.join("nginx.conf");
                fs::write(&file, nginx(app, port, options)?)?;
                let mut command = Command::new("nginx");
                command.arg("-p").arg(folder).arg("-c").arg(file);
                command
            }
            Peer::Haproxy => {
                let file = folder.join("haproxy.cfg");
                fs::write(&file, haproxy(port, options))?;
                let mut command = Command::new("haproxy");
                command.args(["-db", "-f"]).arg(file);
                command
            }
            Peer::Redis => {
                let mut command = Command::new("redis-server");
                command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
                command.arg(port.to_string());
                command
            }
        };
        Server::on_port(command, port)
    }
}

/// Starts a program that takes our arguments, by a command to which they are added.
pub fn start_ours(mut command: Command, peer: Peer, app: App, options: &Options) -> Result<Server, BoxError> {
    command.args(["serve", peer.name(), app.name(), "--workers", &options.workers.to_string()]);
    command.args(["--target", &options.target.to_string(), "--folder"]).arg(&options.folder);
    Ok(Server::telling(command)?.0)
}

fn lacks(program: &str) -> Option<BoxError> {
    (!tools::exists(program)).then(|| format!("{program} is not installed").into())
}

/// Builds Go's servers with the `go` of the search path, or with the program that the variable `GO` names.
fn build_go(program: &Path) -> Result<(), BoxError> {
    let go = std::env::var_os("GO").unwrap_or_else(|| "go".into());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
    let mut command = Command::new(&go);
    command.current_dir(folder).env("GOTOOLCHAIN", "local").args(["build", "-o"]).arg(program).arg(".");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("go build: {status}").into()),
        Err(error) => Err(format!("{}: {error}", go.display()).into()),
    }
}

/// Returns the configuration of nginx. It runs as one process, so that its CPU time is that of one process.
fn nginx(app: App, port: u16, options: &Options) -> Result<String, BoxError> {
    let folder = options.folder.display();
    let head = format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log crit;\n"
    );
    let events = "events { worker_connections 4096; }\n";
    let App::Http { tls: is_tls, h2 } = app else {
        let module = Path::new(MODULES).join("ngx_stream_module.so");
        if !module.exists() {
            return Err(format!("nginx has no {}: install libnginx-mod-stream", module.display()).into());
        }
        return Ok(format!(
            "{head}load_module {};\n{events}stream {{ server {{ listen 127.0.0.1:{port}; tcp_nodelay on; proxy_pass {}; }} }}\n",
            module.display(),
            options.target
        ));
    };
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/temp;\n"))
        .concat();
    let certificate = if is_tls {
        format!("ssl_certificate {folder}/{}; ssl_certificate_key {folder}/{};", tls::CERTIFICATE, tls::KEY)
    } else {
        String::new()
    };
    let listen =
        format!("127.0.0.1:{port}{}{}", if is_tls { " ssl" } else { "" }, if h2 { " http2" } else { "" });
    Ok(format!(
        "{head}{events}http {{ {temp} access_log off; sendfile on; keepalive_requests 1000000000; \
         open_file_cache max=10;\nserver {{ listen {listen} backlog=4096; {certificate}\n\
         location = / {{ return 200 \"{}\"; }}\nlocation = /large {{ alias {folder}/large; }} }} }}\n",
        String::from_utf8_lossy(pages::SMALL)
    ))
}

/// Returns the configuration of haproxy, which may splice.
fn haproxy(port: u16, options: &Options) -> String {
    format!(
        "global\n  nbthread {}\n  maxconn 4000\ndefaults\n  mode tcp\n  option splice-auto\n  timeout connect 5s\n  \
         timeout client 60s\n  timeout server 60s\nlisten relay\n  bind 127.0.0.1:{port}\n  server target {}\n",
        options.workers, options.target
    )
}
